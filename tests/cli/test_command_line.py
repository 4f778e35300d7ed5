# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The `fgaseg` command, called as a person calls it, on a tiny random model."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clips import save_tiny_clip
from tiny_models import tiny_model, tiny_processor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig
from typer.testing import CliRunner, Result

from fgaseg_hf import (
    FGASegConfig,
    FGASegForSemanticSegmentation,
    FGASegProcessor,
    FGASegVocabulary,
)
from fgaseg_hf.cli.main import app
from fgaseg_hf.conversion import model_loading, named_models
from fgaseg_hf.inference.output_marks import png_mark
from fgaseg_hf.inference.picture_search import find_pictures, free_name
from fgaseg_hf.inference.word_lists import read_words

LABELS = "red car, blue house, sky"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, size in (("a.png", (50, 40)), ("b.jpg", (30, 60)), ("c.png", (33, 33))):
        pixels = np.random.randint(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def visible(folder: Path) -> list[str]:
    """Names of the files, without what the command notes for itself."""
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: str | Path) -> str:
    """Runs a command that must be refused: exit code 2 and one sentence on stderr; returns the sentence."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    sentence = result.stderr.strip()
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    return sentence


def test_one_picture(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    result = run(
        "segment", pictures / "a.png", "--labels", LABELS, "--model", model_folder, "--output", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert visible(tmp_path / "out") == [
        "a_labels.json",
        "a_labels.png",
        "a_overlay.png",
    ]
    ids = np.asarray(Image.open(tmp_path / "out" / "a_labels.png"))
    assert ids.shape == (40, 50)
    assert ids.max() <= 2
    meaning = json.loads((tmp_path / "out" / "a_labels.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in meaning["classes"]] == ["red car", "blue house", "sky"]
    overlay = Image.open(tmp_path / "out" / "a_overlay.png")
    assert overlay.height > 40

    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'out' / 'a_overlay.png'}: ")
    printed = {name: float(share) for name, share in re.findall(r"([a-z ]+) ([\d.]+)%", line.split(": ", 1)[1])}
    for index, name in enumerate(["red car", "blue house", "sky"]):
        share = next(share for printed_name, share in printed.items() if printed_name.strip() == name)
        assert share == pytest.approx(100 * (ids == index).mean(), abs=0.06)


def test_the_command_gives_what_model_and_processor_give(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    run("segment", pictures / "b.jpg", "--labels", LABELS, "--model", model_folder, "--output", tmp_path)
    torch.manual_seed(0)
    model, processor = tiny_model().eval(), tiny_processor()
    picture = Image.open(pictures / "b.jpg")
    inputs = processor(images=picture, text=read_words(LABELS), return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (label_map,) = processor.post_process_semantic_segmentation(outputs, [picture.size[::-1]])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b_labels.png")), label_map)


def test_a_folder_shows_progress_and_encodes_text_once(
    model_folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    encode = FGASegForSemanticSegmentation.get_text_embeddings
    monkeypatch.setattr(
        FGASegForSemanticSegmentation,
        "get_text_embeddings",
        lambda *arguments, **kwargs: calls.append(1) or encode(*arguments, **kwargs),
    )
    result = run("segment", pictures, "--labels", LABELS, "--model", model_folder, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 3
    assert len(visible(tmp_path / "out")) == 9
    assert "Segmenting" in result.stderr
    assert len(calls) == 1


def test_patterns_and_repeated_pictures(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    arguments = [pictures / "*.png", pictures / "a.png", "--labels", LABELS, "--model", model_folder]
    result = run("segment", *arguments, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(file.stem for file in (tmp_path / "out").glob("*_overlay.png")) == ["a_overlay", "c_overlay"]


def test_a_folder_that_is_its_own_output_can_be_run_again(model_folder: Path, pictures: Path) -> None:
    for _ in range(2):
        result = run("segment", pictures, "--labels", LABELS, "--model", model_folder, "--output", pictures)
        assert result.exit_code == 0, result.output
    assert len(list(pictures.glob("*_overlay.png"))) == 3


def test_pictures_of_one_name_do_not_overwrite_each_other() -> None:
    taken: set[str] = set()
    assert [free_name(name, taken) for name in ("cat", "cat", "Cat_2", "dog")] == ["cat", "cat_2", "Cat_2_2", "dog"]


def test_options_change_the_result(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    def ids(*options: str) -> np.ndarray:
        names = ",".join(f"thing {letter}" for letter in "abcdefgh")
        result = run(
            "segment", pictures / "a.png", "--labels", names, "--model", model_folder, "--output", tmp_path, *options
        )
        assert result.exit_code == 0, result.output
        return np.array(Image.open(tmp_path / "a_labels.png"))

    plain = ids()
    assert (ids() == plain).all()
    assert (ids("--sliding-window") != plain).any()
    assert (ids("--template", "the {}", "--template", "{}") != plain).any()
    assert len(np.unique(ids("--topk", "1"))) == 1
    assert (ids("--topk", "8") == plain).all()
    assert (ids("--threshold", "1.0") == 255).all()
    assert (ids("--threshold", "1.0", "--sliding-window") == 255).all()
    assert (ids("--threshold", "0.0", "--device", "cpu") == plain).all()


def test_groups_and_background(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, processor = tiny_model(), tiny_processor()
    picture = Image.open(pictures / "a.png")
    words, thing = ["red car", "blue house", "sky", "tree"], {"thing": ["red car", "sky"]}
    pixel_values = processor(images=picture, return_tensors="pt")["pixel_values"]
    whole = processor(images=picture, do_resize=False, return_tensors="pt")["pixel_values"]
    for options, vocabulary in (
        (["--labels", ",".join(words), "--group", "thing=red car, SKY"], FGASegVocabulary(words, groups=thing)),
        (
            ["--group", "thing=red car,sky", "--group", "rest = blue house, tree"],
            FGASegVocabulary(["red car", "sky", "blue house", "tree"], groups=thing | {"rest": ["blue house", "tree"]}),
        ),
        (["--labels", ",".join(words), "--background", "none"], FGASegVocabulary(words, background="none")),
        (
            ["--labels", ",".join(words), "--group", "thing=red car,sky", "--background", "none", "--threshold", "0.6"],
            FGASegVocabulary(words, groups=thing, background="none", background_threshold=0.6),
        ),
    ):
        model.set_vocabulary(vocabulary.encode(model, processor))
        with torch.no_grad():
            outputs = model(pixel_values)
        (expected,) = processor.post_process_semantic_segmentation(outputs, [picture.size[::-1]])
        (probabilities,) = model.segment_with_sliding_window(whole)
        for view, label_map in ((), expected), (("--sliding-window",), probabilities.argmax(dim=0)):
            arguments = ["segment", pictures / "a.png", "--model", model_folder, "--output", tmp_path, *options, *view]
            result = run(*arguments)
            assert result.exit_code == 0, result.output
            meaning = json.loads((tmp_path / "a_labels.json").read_text(encoding="utf-8"))
            assert [entry["name"] for entry in meaning["classes"]] == vocabulary.labels
            np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a_labels.png")), label_map)
            assert len(label_map.unique()) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group", "vehicle"], '--group "vehicle=car, bus"'),
        (["--group", "vehicle="], "no members"),
        (["--group", "=car"], "no name"),
        (["--group", "vehicle=car,,bus"], "blank"),
        (["--group", "vehicle=car", "--group", "vehicle=bus"], "given twice"),
        (["--group", "a=car", "--group", "b=Car"], "choose one"),
        (["--group", "sky=car"], "rename it"),
        (["--background", "none", "--threshold", "0"], "between 0 and 1"),
        (["--background", " "], "at least one word"),
    ],
)
def test_unusable_groups_and_background(
    model_folder: Path, pictures: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    arguments = ["segment", pictures / "a.png", "--labels", LABELS, "--model", model_folder, "--output", tmp_path]
    assert message in refused(*arguments, *options)


def test_the_example_and_the_built_in_model(
    model_folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builtin = tmp_path / "builtin"
    tiny_model().save_pretrained(builtin)
    tiny_processor().save_pretrained(builtin)
    Image.open(pictures / "a.png").save(builtin / "example.png")
    (builtin / "example.json").write_text(json.dumps({"labels": ["tree", "lake"]}))
    for module in (named_models, model_loading):
        monkeypatch.setattr(module, "builtin_model_folder", lambda: builtin)

    result = run("segment", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    knows, line = result.stdout.splitlines()
    assert "drawn scenes" in knows
    assert "--model" in knows
    assert "example_overlay.png" in line
    assert "lake" in line

    result = run("segment", "--labels", "river", "--output", tmp_path / "out")
    assert "river 100.0%" in result.stdout
    assert "--labels" in refused("segment", pictures / "a.png", "--output", tmp_path / "out")


def test_an_installation_without_the_built_in_model(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (named_models, model_loading):
        monkeypatch.setattr(module, "builtin_model_folder", lambda: tmp_path / "nowhere")
    assert "example" in refused("segment")
    assert "example picture" in refused("segment", "--labels", LABELS)
    assert "nowhere" in refused("segment", pictures / "a.png", "--labels", LABELS, "--output", tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [("", "empty"), ("  ", "empty"), ("car,,sky", "2 of 3 is blank"), ("car, sky,", "blank"), ("car, Car", "twice")],
)
def test_unusable_labels(model_folder: Path, pictures: Path, labels: str, message: str) -> None:
    assert message in refused("segment", pictures, "--labels", labels, "--model", model_folder)


def test_too_long_labels(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    label = "a very " + "long " * 30 + "limousine"
    sentence = refused(
        "segment", pictures / "a.png", "--labels", f"car, {label}", "--model", model_folder, "--output", tmp_path
    )
    assert "limousine" in sentence
    assert "tokens" in sentence


def test_unusable_pictures(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    options = ["--labels", LABELS, "--model", model_folder, "--output", tmp_path / "out"]
    assert "no/such.png" in refused("segment", "no/such.png", *options)
    assert "*.webp" in refused("segment", pictures / "*.webp", *options)
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in refused("segment", tmp_path / "empty", *options)
    assert not (tmp_path / "out").exists()


def test_unusable_models(pictures: Path, tmp_path: Path, model_folder: Path) -> None:
    options = ["segment", pictures / "a.png", "--labels", LABELS, "--output", tmp_path / "out", "--model"]
    assert "no/such/model" in refused(*options, "no/such/model")
    assert "nobody/nothing" in refused(*options, "nobody/nothing")
    (tmp_path / "empty").mkdir()
    assert "config.json" in refused(*options, tmp_path / "empty")
    CLIPTextConfig().save_pretrained(tmp_path / "text")
    assert "'clip_text_model': give a FGASeg or CLIP checkpoint" in refused(*options, tmp_path / "text")
    CLIPConfig().save_pretrained(tmp_path / "clip")
    assert "cannot be loaded" in refused(*options, tmp_path / "clip")  # no weights
    (tmp_path / "nameless").mkdir()
    (tmp_path / "nameless" / "config.json").write_text("{}")
    assert "no Transformers checkpoint" in refused(*options, tmp_path / "nameless")
    (tmp_path / "garbled").mkdir()
    (tmp_path / "garbled" / "config.json").write_text("{")
    assert "garbled" in refused(*options, tmp_path / "garbled")

    model = tiny_model()
    model.save_pretrained(tmp_path / "broken")
    assert "cannot be loaded" in refused(*options, tmp_path / "broken")  # no processor
    tiny_processor().save_pretrained(tmp_path / "broken")
    weights = model.state_dict()
    lost = sorted(weights)[0]
    del weights[lost]
    model.save_pretrained(tmp_path / "broken", state_dict=weights)
    assert lost in refused(*options, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"no weights")
    assert "cannot be loaded" in refused(*options, tmp_path / "broken")


def test_a_plain_clip_segments_without_training(pictures: Path, tmp_path: Path) -> None:
    clip, out = tmp_path / "clip", tmp_path / "out"
    # Larger random weights, with which the patches of one picture differ.
    save_tiny_clip(clip, vision_config={"initializer_factor": 3.0})
    names = ",".join(f"thing {letter}" for letter in "abcdefgh")
    options = [pictures / "a.png", "--labels", names, "--output", out]

    def ids(model: Path, *more: str) -> np.ndarray:
        result = run("segment", *options, "--model", model, *more)
        assert result.exit_code == 0, result.output
        assert ("plain CLIP" in result.stdout) == (model == clip)
        return np.array(Image.open(out / "a_labels.png"))

    plain = ids(clip)
    assert plain.shape == (40, 50)
    assert (ids(clip, "--threshold", "1.0") == 255).all()
    assert len(np.unique(ids(clip, "--topk", "1"))) == 1
    assert (ids(clip, "--sliding-window") != plain).any()

    # the same as a checkpoint of its own
    result = run("training-free", clip, "--out", tmp_path / "segmenter")
    assert result.exit_code == 0, result.output
    assert (ids(tmp_path / "segmenter") == plain).all()
    options = ["--attention", "neighbour", "--residual", "none", "--affinity-layer", "1", "--image-size", "48"]
    result = run("training-free", clip, "--out", tmp_path / "refined", *options, "--template", "the {}")
    assert result.exit_code == 0, result.output
    config = FGASegConfig.from_pretrained(tmp_path / "refined")
    assert (config.dense_attention, config.dense_residual) == ("neighbour", "none")
    assert (config.affinity_layer, config.image_size) == (1, 48)
    processor = FGASegProcessor.from_pretrained(tmp_path / "refined")
    assert processor.prompt_templates == ["the {}"]
    assert dict(processor.image_processor.size) == {"height": 48, "width": 48}


def test_bad_input_of_training_free(model_folder: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    save_tiny_clip(clip)
    assert "already" in refused("training-free", clip, "--out", clip)
    assert "'fgaseg': give a CLIP checkpoint" in refused("training-free", model_folder, "--out", tmp_path / "new")
    assert "`affinity_layer` 9" in refused("training-free", clip, "--out", tmp_path / "new", "--affinity-layer", "9")
    assert "`image_size` 25" in refused("training-free", clip, "--out", tmp_path / "new", "--image-size", "25")
    (clip / "tokenizer.json").unlink()
    assert "tokenizer" in refused("training-free", clip, "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_export_clip(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    result = run("export-clip", model_folder, "--out", clip)
    assert result.exit_code == 0, result.output
    assert isinstance(CLIPModel.from_pretrained(clip), CLIPModel)
    result = run("segment", pictures / "a.png", "--labels", LABELS, "--model", clip, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "already" in refused("export-clip", model_folder, "--out", clip)
    assert "no model" in refused("export-clip", "no/such", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_other_unusable_options(model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    options = ["segment", pictures / "a.png", "--labels", LABELS, "--model", model_folder]
    (tmp_path / "file").write_text("in the way")
    assert "output folder" in refused(*options, "--output", tmp_path / "file")
    assert "output folder" in refused(*options, "--output", tmp_path / "file" / "below")
    options += ["--output", tmp_path / "out"]
    assert "template" in refused(*options, "--template", "no place for the name")
    assert "device" in refused(*options, "--device", "abacus")
    for option, value in (("--threshold", "2"), ("--topk", "0"), ("--no-such-option", "1")):
        assert run(*options, option, value).exit_code == 2
    assert run().exit_code == 2


def test_find_pictures_ignores_results_of_earlier_runs(pictures: Path) -> None:
    Image.new("RGB", (4, 4)).save(pictures / "a_overlay.png")
    Image.new("RGB", (4, 4)).save(pictures / "b_overlay.png", pnginfo=png_mark())
    search = find_pictures([str(pictures)])
    # By what wrote it, not by its name.
    assert [picture.name for picture in search.pictures] == ["a", "a_overlay", "b", "c"]
    assert search.left_out == {"no pictures": 1, "own results": 1}


def test_help_and_version_read_well() -> None:
    overview = run("--help")
    assert overview.exit_code == 0
    assert "segment" in overview.stdout
    details = run("segment", "--help")
    for word in ("--labels", "--model", "--output", "--topk", "folders", "example"):
        assert word in details.stdout
    assert re.match(r"fgaseg_hf \d", run("--version").stdout)


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "fgaseg_hf", "segment", "no/such.png", "--labels", "sky"]
    refusal = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert refusal.returncode == 2
    assert refusal.stdout == ""
    assert refusal.stderr.strip().startswith("fgaseg: There is no picture 'no/such.png'")

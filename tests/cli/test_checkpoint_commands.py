# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`fgaseg convert` on the command line: what it finds, and broken inputs, each of which is one sentence."""

import json
import pickle
import re
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from test_model_conversion import parity_settings, save_hub_clip
from test_parity import released_weights
from test_torchscript_archive import Touch, rewrite
from tiny_original_clips import SMALL_HEAD, save_torchscript, tiny_openai_clip
from tiny_tokenizer import tiny_tokenizer
from torch import nn
from typer.testing import CliRunner

from fgaseg_hf import FGASegForSemanticSegmentation
from fgaseg_hf.cli.checkpoint_commands import parse_settings
from fgaseg_hf.cli.main import app


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer().save_pretrained(folder)
    return folder


def settings(fields: dict) -> list[str]:
    return [part for name, value in fields.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert not result.stderr
    return result.stdout


def test_a_dry_run_says_what_there_is_and_writes_nothing(tmp_path):
    save_torchscript(tmp_path / "clip.pt")
    report = invoke(tmp_path / "clip.pt", "--dry-run", *settings(SMALL_HEAD))
    assert "OpenAI's CLIP (TorchScript archive, its code not run)" in report
    assert "image tower: 3 blocks of width 64, 1 heads, patches of 16, positions for 224 pixels, quick_gelu" in report
    assert "input_resolution" in report and "missing: none" in report and "unexpected: none" in report
    assert "decoder.head.convolution.weight" in report
    assert [path.name for path in tmp_path.iterdir()] == ["clip.pt"]


def test_a_dry_run_names_every_missing_and_unexpected_tensor(tmp_path):
    weights, _ = released_weights("catseg")
    gone = [name for name in weights if ".mlp.c_fc." in name and "resblocks.1" in name]
    for name in gone:
        weights[name + ".moved"] = weights.pop(name)
    torch.save(weights, tmp_path / "m.pth")
    arguments = ["convert", str(tmp_path / "m.pth"), "--dry-run", *settings(parity_settings("catseg"))]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert all(f"{name}.moved" in result.stdout for name in gone) and len(gone) == 4
    assert result.stdout.count("mlp.fc1.weight") == 2 and "missing: 4" in result.stdout


def test_there_and_back(tmp_path, tokenizer_folder):
    clip = save_hub_clip(tmp_path / "clip")
    fields = {**SMALL_HEAD, "p2tformer_num_layers": 2}
    report = invoke(clip, "--out", tmp_path / "folder", "--seed", 4, *settings(fields))
    assert f"{tmp_path / 'folder'} is ready" in report
    assert "would be written" in invoke(
        tmp_path / "folder", "--to", "fga-seg", "--out", tmp_path / "old.pth", "--dry-run"
    )
    assert not (tmp_path / "old.pth").exists()
    invoke(tmp_path / "folder", "--to", "fga-seg", "--out", tmp_path / "old.pth")
    invoke(
        tmp_path / "old.pth",
        *("--out", tmp_path / "again", "--tokenizer", tokenizer_folder),
        *("--set", "vision_config.num_attention_heads=2", "--set", "guidance_layers=[2, 4]"),
    )
    first, again = (
        FGASegForSemanticSegmentation.from_pretrained(tmp_path / name).state_dict() for name in ("folder", "again")
    )
    assert first.keys() == again.keys() and all(torch.equal(first[name], again[name]) for name in first)


def test_settings_are_json_or_words():
    fields = parse_settings(["guidance_layers=[4, 8]", "fusion=add", "text_config.eos_token_id=7", "class_limit=null"])
    expected = {"guidance_layers": [4, 8], "fusion": "add", "text_config": {"eos_token_id": 7}, "class_limit": None}
    assert fields == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "fusion"], "must read FIELD=VALUE"),
        (["--set", "a.b.c=1"], "must read FIELD=VALUE"),
        (["--to", "detectron"], "There is no --to 'detectron'"),
        (["--activation", "relu"], "There is no --activation 'relu'"),
        ([], "There is no --out"),
        (["--out", "{folder}/new", "--dtype", "int8"], "no float type 'int8'"),
        (["--out", "{folder}/new", "--set", "fusion=mean"], "fusion"),
        (["--out", "{folder}/new", "--set", "no_such_field.a=1"], "no field 'no_such_field'"),
        (["--out", "{folder}/back.pth", "--to", "catseg"], "is no FGASeg folder"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, message, tmp_path):
    save_torchscript(tmp_path / "clip.pt")
    filled = [argument.format(folder=tmp_path) for argument in arguments]
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "clip.pt"), *filled])
    assert result.exit_code == 2, result.output
    (sentence,) = result.stderr.splitlines()
    assert re.search(message, sentence), sentence
    assert [path.name for path in tmp_path.iterdir()] == ["clip.pt"]


# Broken inputs. Each makes a source in a folder and returns it, with the words that the sentence must hold.


def text_file(folder: Path) -> tuple[Path, str]:
    (folder / "model.pth").write_text("<html>404 Not Found</html>")
    return folder / "model.pth", "is no checkpoint"


def empty_file(folder: Path) -> tuple[Path, str]:
    (folder / "model.pth").touch()
    return folder / "model.pth", "is empty"


def lfs_pointer(folder: Path) -> tuple[Path, str]:
    (folder / "model.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    return folder / "model.pth", "Git LFS pointer"


def missing_file(folder: Path) -> tuple[Path, str]:
    return folder / "model.pth", "There is no file or folder"


def save_released(folder: Path, **changes: torch.Tensor | None) -> Path:
    """A CAT-Seg file with tensors replaced or, by None, dropped; `__` in a name stands for a dot."""
    weights, _ = released_weights("catseg")
    for name, tensor in changes.items():
        weights["sem_seg_head.predictor." + name.replace("__", ".")] = tensor
    torch.save({"model": {name: tensor for name, tensor in weights.items() if tensor is not None}}, folder / "m.pth")
    return folder / "m.pth"


def truncated_file(folder: Path) -> tuple[Path, str]:
    path = save_released(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path, "cut short"


def truncated_legacy_file(folder: Path) -> tuple[Path, str]:
    torch.save(released_weights("catseg")[0], folder / "m.pth", _use_new_zipfile_serialization=False)
    (folder / "m.pth").write_bytes((folder / "m.pth").read_bytes()[:200_000])
    return folder / "m.pth", "download it anew"


def pickle_with_code(folder: Path) -> tuple[Path, str]:
    (folder / "m.pth").write_bytes(pickle.dumps({"model": Touch(folder / "canary")}, protocol=2))
    return folder / "m.pth", "system would have to be run"


def newer_pickle_with_code(folder: Path) -> tuple[Path, str]:
    (folder / "m.pth").write_bytes(pickle.dumps({"model": Touch(folder / "canary")}, protocol=4))
    return folder / "m.pth", "holds more than tensors"


def zip_with_code(folder: Path) -> tuple[Path, str]:
    torch.save({"model": Touch(folder / "canary")}, folder / "m.pth")
    return folder / "m.pth", "system would have to be run"


def archive_with_code(folder: Path) -> tuple[Path, str]:
    save_torchscript(folder / "clip.pt")
    rewrite(folder / "clip.pt", data=pickle.dumps(Touch(folder / "canary")))
    return folder / "clip.pt", "it calls"


def truncated_archive(folder: Path) -> tuple[Path, str]:
    save_torchscript(folder / "clip.pt")
    rewrite(folder / "clip.pt", data=None)
    return folder / "clip.pt", "holds no data.pkl"


def folder_with_code(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip")
    (clip / "model.safetensors").unlink()
    torch.save({"logit_scale": Touch(folder / "canary")}, clip / "pytorch_model.bin")
    return clip, "system would have to be run"


def empty_zip(folder: Path) -> tuple[Path, str]:
    zipfile.ZipFile(folder / "m.pth", "w").close()
    return folder / "m.pth", "holds no checkpoint"


def zip_of_pictures(folder: Path) -> tuple[Path, str]:
    with zipfile.ZipFile(folder / "m.pth", "w") as archive:
        archive.writestr("picture.jpg", b"\xff\xd8")
    return folder / "m.pth", "holds no checkpoint"


def no_tensors(folder: Path) -> tuple[Path, str]:
    torch.save({"model": {"a": 1}}, folder / "m.pth")
    return folder / "m.pth", "holds no tensors"


def a_list(folder: Path) -> tuple[Path, str]:
    torch.save([torch.zeros(3)], folder / "m.pth")
    return folder / "m.pth", "holds a list"


def another_model(folder: Path) -> tuple[Path, str]:
    torch.save(nn.Linear(3, 3).state_dict(), folder / "m.pth")
    return folder / "m.pth", "of no known model"


def another_segmenter(folder: Path) -> tuple[Path, str]:
    torch.save({"sem_seg_head.pixel_decoder.weight": torch.zeros(3)}, folder / "m.pth")
    return folder / "m.pth", "not one of FGA-seg or CAT-Seg"


def resnet_clip(folder: Path) -> tuple[Path, str]:
    clip = {**tiny_openai_clip().state_dict(), "visual.layer1.0.conv1.weight": torch.zeros(3)}
    torch.save(clip, folder / "RN50.pt")
    return folder / "RN50.pt", "is a ResNet"


def missing_tensor(folder: Path) -> tuple[Path, str]:
    return save_released(folder, clip_model__ln_final__bias=None), "lacks fgaseg.text_model.final_layer_norm.bias"


def unknown_tensor(folder: Path) -> tuple[Path, str]:
    return save_released(folder, prompt=torch.zeros(3)), "unexpected sem_seg_head.predictor.prompt"


def nan_weights(folder: Path) -> tuple[Path, str]:
    broken = released_weights("catseg")[0]["sem_seg_head.predictor.transformer.head.bias"] * float("nan")
    return save_released(folder, transformer__head__bias=broken), "NaN or infinite numbers in decoder.head"


def shape_off_by_one(folder: Path) -> tuple[Path, str]:
    return save_released(
        folder, transformer__head__bias=torch.zeros(2)
    ), r"wrong shape in decoder.head.convolution.bias"


def rank_off_by_one(folder: Path) -> tuple[Path, str]:
    return save_released(folder, clip_model__visual__conv1__weight=torch.zeros(3)), "has shape"


def missing_layer(folder: Path) -> tuple[Path, str]:
    weights, _ = released_weights("catseg")
    gone = {name: None for name in weights if ".visual.transformer.resblocks.1." in name}
    changes = {name.removeprefix("sem_seg_head.predictor.").replace(".", "__"): None for name in gone}
    return save_released(folder, **changes), "guidance_layers|lacks|unexpected"


def half_of_a_shard(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip", max_shard_size="400KB")
    shard = sorted(clip.glob("model-*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    return clip, "cut short or broken"


def missing_shard(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip", max_shard_size="400KB")
    sorted(clip.glob("model-*.safetensors"))[1].unlink()
    return clip, "lacks its shard model-00002"


def missing_weight_of_the_index(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip", max_shard_size="400KB")
    index = json.loads((clip / "model.safetensors.index.json").read_text())
    index["weight_map"]["visual_projection.more"] = index["weight_map"]["visual_projection.weight"]
    (clip / "model.safetensors.index.json").write_text(json.dumps(index))
    return clip, "lacks visual_projection.more"


def folder_without_config(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip")
    (clip / "config.json").unlink()
    return clip, "has no config.json"


def folder_without_weights(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip")
    (clip / "model.safetensors").unlink()
    return clip, "holds no safetensors weights"


def broken_json(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip")
    (clip / "config.json").write_text('{"model_type": "clip", ')
    return clip, "no valid JSON"


def json_list(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip")
    (clip / "config.json").write_text("[]")
    return clip, "holds no settings but a list"


def config_with_wrong_types(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip")
    config = json.loads((clip / "config.json").read_text())
    config["vision_config"]["hidden_size"] = "wide"
    (clip / "config.json").write_text(json.dumps(config))
    return clip, "does not describe a CLIP"


def config_of_another_size(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip")
    config = json.loads((clip / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] += 1
    (clip / "config.json").write_text(json.dumps(config))
    return clip, "lacks fgaseg.vision_model.encoder.layers.6"


def folder_of_another_type(folder: Path) -> tuple[Path, str]:
    clip = save_hub_clip(folder / "clip")
    (clip / "config.json").write_text('{"model_type": "siglip"}')
    return clip, "of type 'siglip'"


def huge_safetensors_header(folder: Path) -> tuple[Path, str]:
    (folder / "m.safetensors").write_bytes(struct.pack("<Q", 2**60) + b'{"a": 1}')
    return folder / "m.safetensors", "cut short or broken"


BROKEN = [
    text_file,
    empty_file,
    lfs_pointer,
    missing_file,
    truncated_file,
    truncated_legacy_file,
    pickle_with_code,
    newer_pickle_with_code,
    zip_with_code,
    archive_with_code,
    truncated_archive,
    folder_with_code,
    empty_zip,
    zip_of_pictures,
    no_tensors,
    a_list,
    another_model,
    another_segmenter,
    resnet_clip,
    missing_tensor,
    unknown_tensor,
    nan_weights,
    shape_off_by_one,
    rank_off_by_one,
    missing_layer,
    half_of_a_shard,
    missing_shard,
    missing_weight_of_the_index,
    folder_without_config,
    folder_without_weights,
    broken_json,
    json_list,
    config_with_wrong_types,
    config_of_another_size,
    folder_of_another_type,
    huge_safetensors_header,
]


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_broken_input_is_one_sentence(make, tmp_path, tokenizer_folder):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    source, message = make(tmp_path / "in")
    for arguments in (["--dry-run"], ["--out", str(tmp_path / "out" / "folder"), "--tokenizer", str(tokenizer_folder)]):
        result = CliRunner().invoke(app, ["convert", str(source), *arguments])
        assert result.exit_code == 2, result.output
        (sentence,) = result.stderr.splitlines()
        assert sentence.startswith("fgaseg: ") and sentence.endswith(".")
        assert re.search(message, sentence), sentence
    assert not (tmp_path / "in" / "canary").exists(), "code ran"
    assert not list((tmp_path / "out").iterdir())


def test_the_canary_sings_where_code_runs(tmp_path):
    path, _ = zip_with_code(tmp_path)
    torch.load(path, weights_only=False)
    assert (tmp_path / "canary").exists()


def test_twenty_broken_inputs():
    assert len(BROKEN) >= 20

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A release: collected, checked, and pushed to the stand-in of the Hub."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_reports import evaluation_report, write_report
from hub_server import local_hub, use_hub
from huggingface_hub import ModelCard, constants
from safetensors.torch import load_file, save_file
from test_hub_code import python_without_package, run, saved  # noqa: F401 (fixtures)
from tiny_models import CLASS_NAMES, tiny_inputs, tiny_model, tiny_processor
from transformers import AutoModelForSemanticSegmentation, AutoProcessor

from fgaseg_hf import FGASegVocabulary
from fgaseg_hf.release.checkpoint_hashes import hash_weights
from fgaseg_hf.release.checkpoint_release import (
    CheckpointRelease,
    check_loading,
    collect_release,
    push_release,
)
from fgaseg_hf.release.run_contents import find_checkpoint, find_results

LICENSE = {"license": "apache-2.0"}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder as `training/train.py` leaves it, with results beside."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    for name, seed in (("best", 0), ("last", 1)):
        tiny_model(seed=seed).save_pretrained(folder / name)
        tiny_processor().save_pretrained(folder / name)
    (folder / "arguments.json").write_text('{"recipe": {"output_dir": "/home/someone/runs"}}')
    (folder / "training_log.jsonl").write_text("{}\n")
    write_report(folder / "seen.json", folder / "best")
    write_report(folder / "results" / "unseen.json", folder / "best", "validation_unseen")
    return folder


@pytest.fixture
def copy_of_run(finished_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_run, tmp_path / "run")
    return tmp_path / "run"


def collect(run_folder: Path, folder: Path, **options: Any) -> CheckpointRelease:
    return collect_release(run_folder, "someone/tiny", folder, **{"description_fields": LICENSE, **options})


def refused(words: str, run_folder: Path, folder: Path, **options: Any) -> None:
    with pytest.raises(ValueError, match=words) as error:
        collect(run_folder, folder, **options)
    assert "\n" not in str(error.value)
    # What could be taken for a finished release is not left behind.
    assert not (folder / "config.json").exists()


@pytest.fixture(scope="module")
def collected(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> CheckpointRelease:
    return collect(finished_run, tmp_path_factory.mktemp("collected") / "release")


def test_everything_is_collected(finished_run: Path, collected: CheckpointRelease) -> None:
    names = set(collected.file_sizes)
    assert names >= {
        "README.md",
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "results/seen.json",
        "results/unseen.json",
        "handler.py",
        "modeling_fgaseg.py",
        "processing_fgaseg.py",
        "pipeline_fgaseg.py",
    }
    assert "arguments.json" not in names
    assert hash_weights(collected.folder) == hash_weights(finished_run / "best")
    model = AutoModelForSemanticSegmentation.from_pretrained(collected.folder)
    assert torch.equal(model(**tiny_inputs()).logits, tiny_model()(**tiny_inputs()).logits)
    config = json.loads((collected.folder / "config.json").read_text())
    assert "zero-shot-image-segmentation" in config["custom_pipelines"]

    card = ModelCard.load(collected.folder / "README.md")
    assert len(card.data.eval_results) == 10 == collected.num_card_numbers
    assert '"someone/tiny"' in card.text
    for name in ("seen", "unseen"):
        result = json.loads((collected.folder / "results" / f"{name}.json").read_text())
        place = finished_run / ("seen.json" if name == "seen" else "results/unseen.json")
        assert result["result"] == json.loads(place.read_text())["result"]
        assert "/home" not in json.dumps(result)
    text = collected.describe()
    assert "someone/tiny: " in text
    assert f"{collected.file_sizes['model.safetensors']:,}  model.safetensors" in text
    assert "seen.json, unseen.json" in text


def test_half_precision_stays_half(tmp_path: Path) -> None:
    tiny_model().half().save_pretrained(tmp_path / "half")
    tiny_processor().save_pretrained(tmp_path / "half")
    write_report(tmp_path / "half" / "results" / "a.json", tmp_path / "half")
    release = collect(tmp_path / "half", tmp_path / "release")
    assert release.checkpoint.dtypes == ("F16",)


def test_a_vocabulary_goes_along(copy_of_run: Path, tmp_path: Path) -> None:
    FGASegVocabulary(CLASS_NAMES, background="other").save(tmp_path / "words")
    release = collect(copy_of_run, tmp_path / "release", vocabulary=tmp_path / "words")
    assert any(name.startswith("vocabulary-") for name in release.file_sizes)
    model = AutoModelForSemanticSegmentation.from_pretrained(release.folder)
    assert model.vocabulary.labels == [*CLASS_NAMES, "other"]
    card = (release.folder / "README.md").read_text()
    assert "id2label" in card
    assert "6 labels" in card


def test_a_finished_card_is_taken_as_it_is(
    finished_run: Path, collected: CheckpointRelease, tmp_path: Path, copy_of_run: Path
) -> None:
    text = (collected.folder / "README.md").read_text().replace("# tiny", "# Our tiny model")
    (tmp_path / "card.md").write_text(text)
    release = collect(copy_of_run, tmp_path / "release", card=tmp_path / "card.md", description_fields={})
    assert (release.folder / "README.md").read_text() == text
    number = str(ModelCard(text).data.eval_results[0].metric_value)
    (tmp_path / "card.md").write_text(text.replace(number, "99.9"))
    refused("which no result file has", copy_of_run, tmp_path / "other", card=tmp_path / "card.md")
    refused("cannot be read", copy_of_run, tmp_path / "third", card=tmp_path / "nowhere.md")


def test_which_checkpoint(finished_run: Path, copy_of_run: Path, tmp_path: Path) -> None:
    assert find_checkpoint(finished_run) == finished_run / "best"
    assert find_checkpoint(finished_run, "last") == finished_run / "last"
    assert find_checkpoint(finished_run / "last") == finished_run / "last"
    shutil.rmtree(copy_of_run / "best")
    assert find_checkpoint(copy_of_run) == copy_of_run / "last"
    for folder, name in ((finished_run, "first"), (tmp_path, None)):
        with pytest.raises(ValueError, match="There is no checkpoint"):
            find_checkpoint(folder, name)
    refused("another weights", finished_run, tmp_path / "release", checkpoint_name="last")


def test_which_results(finished_run: Path, tmp_path: Path) -> None:
    assert [record.file_name for record in find_results(finished_run)] == ["seen.json", "unseen.json"]
    named = find_results(finished_run, [finished_run / "results", finished_run / "results" / "unseen.json"])
    assert [record.file_name for record in named] == ["unseen.json", "seen.json"]
    shutil.copy(finished_run / "seen.json", tmp_path / "seen.json")
    for run_folder, names, words in (
        (finished_run, [tmp_path / "seen.json"], "Two result files are named"),
        (None, [finished_run / "arguments.json"], "is no result"),
        (None, [], "There is no result"),
        (finished_run, [tmp_path / "nowhere.json"], "cannot be read"),
    ):
        with pytest.raises(ValueError, match=words):
            find_results(run_folder, names)


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(folder / "model.safetensors")
    for name, values in changes.items():
        if values is None:
            del tensors[name]
        else:
            tensors[name] = values
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def measure_again(run_folder: Path) -> None:
    for path in (run_folder / "seen.json", run_folder / "results" / "unseen.json"):
        write_report(path, run_folder / "best")


def test_what_is_broken_is_refused(copy_of_run: Path, tmp_path: Path) -> None:
    best = copy_of_run / "best"
    projection = load_file(best / "model.safetensors")["fgaseg.text_projection.weight"]
    name = "fgaseg.text_projection.weight"

    refused("no licence", copy_of_run, tmp_path / "a", description_fields={})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    refused("not an empty folder", copy_of_run, tmp_path / "full")
    for repo_id, words in (("tiny", "no owner"), ("some one/tiny", "cannot be a repository's name")):
        with pytest.raises(ValueError, match=words):
            collect_release(copy_of_run, repo_id, tmp_path / "b", description_fields=LICENSE)

    change_weights(best, **{name: projection * 1.01})
    refused("another weights", copy_of_run, tmp_path / "c")
    change_weights(best, **{name: projection / 0})
    measure_again(copy_of_run)
    refused("no finite numbers", copy_of_run, tmp_path / "d")
    change_weights(best, **{name: None})
    refused("lacks 1 of its tensors", copy_of_run, tmp_path / "e")
    change_weights(best, **{name: projection, "surplus": torch.zeros(1)})
    refused("has no place for 1", copy_of_run, tmp_path / "f")
    change_weights(best, surplus=None, **{name: torch.zeros(2, 2)})
    refused("another shape", copy_of_run, tmp_path / "g")
    change_weights(best, **{name: projection})
    measure_again(copy_of_run)
    (best / "tokenizer.json").write_text("{")
    refused("cannot be loaded", copy_of_run, tmp_path / "h")
    (best / "tokenizer.json").unlink()
    refused("no tokenizer", copy_of_run, tmp_path / "h")
    shutil.rmtree(copy_of_run / "results")
    (copy_of_run / "seen.json").unlink()
    refused("There is no result", copy_of_run, tmp_path / "i")


def test_a_folder_that_does_not_load_is_refused(collected: CheckpointRelease, tmp_path: Path) -> None:
    check_loading(collected.folder)
    shutil.copytree(collected.folder, tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="Auto classes"):
        check_loading(tmp_path / "copy")


@pytest.mark.slow
def test_push(collected: CheckpointRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_hub() as hub:
        use_hub(hub, tmp_path / "cache", monkeypatch)
        assert push_release(collected) == f"{hub.url}/someone/tiny"
        repository = hub.repositories["someone/tiny"]
        assert set(repository.files) >= set(collected.file_sizes)
        for name in collected.file_sizes:
            assert repository.files[name] == (collected.folder / name).read_bytes(), name
        assert repository.commits == ["Release of tiny"]
        assert hub.tokens == {"Bearer hf_token_of_the_test"}

        # A later release takes away what it no longer has, and nothing else.
        repository.files["vocabulary.json"] = b"{}"
        repository.files["results/old.json"] = b"{}"
        repository.files["figure.png"] = b"png"
        push_release(collected, commit_message="Second")
        assert set(repository.files) - set(collected.file_sizes) - {".gitattributes"} == {"figure.png"}
        assert repository.commits == ["Release of tiny", "Second"]

        processor = AutoProcessor.from_pretrained("someone/tiny")
        model = AutoModelForSemanticSegmentation.from_pretrained("someone/tiny")
        assert torch.equal(model(**tiny_inputs()).logits, tiny_model()(**tiny_inputs()).logits)
        assert processor.prompt_templates == tiny_processor().prompt_templates
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ValueError, match="The Hub did not take"):
            push_release(collected)


LOAD_PIPELINE = """
import sys, torch
from PIL import Image
from transformers import pipeline
assert "fgaseg_hf" not in sys.modules
segmenter = pipeline("zero-shot-image-segmentation", model=sys.argv[1], trust_remote_code=True)
segments = segmenter(Image.new("RGB", (30, 20), "red"), candidate_labels=["sky", "car"])
assert {segment["label"] for segment in segments} <= {"sky", "car"}
print("segmented")
"""


@pytest.mark.slow
def test_pushed_pipeline_runs_without_the_package(
    collected: CheckpointRelease,
    python_without_package: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with local_hub() as hub:
        with monkeypatch.context() as online:
            use_hub(hub, tmp_path / "cache", online)
            push_release(collected)
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
        assert run(python_without_package, LOAD_PIPELINE, "someone/tiny", **environment) == "segmented"
    assert sys.modules["fgaseg_hf"]


def test_reports_of_the_tests_look_like_those_of_evaluate(finished_run: Path) -> None:
    report = evaluation_report(finished_run / "best")
    real = json.loads(
        next((Path(__file__).parent.parent.parent / "model_cards" / "results").glob("*/*.json")).read_text(
            encoding="utf-8"
        )
    )
    assert set(report) <= set(real)
    # A published result may be older than a number that is measured now.
    assert set(report["result"]) >= set(real["result"])
    assert set(report["checkpoint"]) == set(real["checkpoint"])
    assert set(report["protocol"]) <= set(real["protocol"])

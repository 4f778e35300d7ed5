# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`training/evaluate.py`: its result file, its pictures, and the same counts on several processes."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from script_loading import EVALUATE, REPOSITORY
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf.data.dataset_loading import DatasetArguments
from fgaseg_hf.evaluation import evaluate as evaluation_script
from fgaseg_hf.evaluation.command_line_arguments import ExpectedEnd, parse_arguments
from fgaseg_hf.evaluation.evaluation_arguments import USER_TEMPLATES, EvaluationArguments
from fgaseg_hf.evaluation.measurement_description import describe_measurement
from fgaseg_hf.evaluation.segmentation_evaluation import EvaluationProtocol
from fgaseg_hf.release.checkpoint_hashes import hash_checkpoint


@pytest.fixture(scope="module")
def evaluate() -> ModuleType:
    return evaluation_script


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    tiny_model().save_pretrained(folder / "model")
    tiny_processor().save_pretrained(folder / "model")
    generator = np.random.default_rng(0)
    pictures = [Image.fromarray(generator.integers(0, 255, (30, 40, 3)).astype(np.uint8)) for _ in range(11)]
    label_maps = [Image.fromarray(generator.choice([0, 1, 2, 4, 9], (30, 40)).astype(np.uint8)) for _ in range(11)]
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    (folder / "dataset" / "data").mkdir(parents=True)
    Dataset.from_dict({"image": pictures, "annotation": label_maps}, features=features).to_parquet(
        folder / "dataset" / "data" / "validation-00000-of-00001.parquet"
    )
    (folder / "dataset" / "class_names.txt").write_text("\n".join(CLASS_NAMES))
    (folder / "groups.json").write_text(json.dumps({"seen": CLASS_NAMES[:3], "unseen": CLASS_NAMES[3:]}))
    return folder


def arguments(inputs: Path) -> list[str]:
    return ["--model", str(inputs / "model"), "--dataset", str(inputs / "dataset"), "--ignored_ids", "9"]


def test_result_file_and_pictures(
    evaluate: ModuleType, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--output", str(tmp_path / "new" / "result.json"), "--save_pictures", "2", str(tmp_path / "pictures")]
    report = evaluate.main([*arguments(inputs), *more, "--class_groups", str(inputs / "groups.json")])
    saved: dict[str, Any] = json.loads((tmp_path / "new" / "result.json").read_text())
    assert saved["result"] == json.loads(json.dumps(report["result"]))
    assert saved["result"]["num_pictures"] == 11
    assert set(saved["result"]["groups"]) == {"seen", "unseen"}
    assert len(saved["config_sha256"]) == 64
    assert saved["checkpoint"] == hash_checkpoint(inputs / "model")
    # One backend, whether torchvision is installed or not.
    assert saved["image_processor"] == "FGASegImageProcessorPil"
    assert saved["versions"]["torch"]
    assert "--ignored_ids 9" in saved["command"]
    printed = capsys.readouterr().out
    assert "mean_iou" in printed
    assert "red car" in printed
    paths = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in paths] == ["000000.png", "000010.png"]
    assert Image.open(paths[0]).width > 3 * 40


def test_kept_classes_reach_the_model(evaluate: ModuleType, inputs: Path) -> None:
    report = evaluate.main([*arguments(inputs), "--num_kept_classes", "2", "--num_pictures", "2"])
    assert report["protocol"]["num_kept_classes"] == 2
    assert report["result"]["num_pictures"] == 2


class Killed(BaseException):
    """Ends the process in the middle, as far as the code in it can tell."""


@pytest.mark.parametrize("batch_size", ["1", "4"])
def test_a_killed_evaluation_goes_on_to_the_identical_counts(
    evaluate: ModuleType, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: str
) -> None:
    words = [*arguments(inputs), "--batch_size", batch_size, "--class_groups", str(inputs / "groups.json")]
    words += ["--worst", "3", str(tmp_path / "worst")]
    whole = evaluate.main(words)
    words += ["--output", str(tmp_path / "result.json"), "--save_every", "2"]
    predict = evaluate.SegmentationPredictor.predict
    num_parts = 4 if batch_size == "1" else 1  # until it is killed
    done: list[list[int]] = []

    def predict_some(self: Any, rows: list[int]) -> Any:
        if len(done) == num_parts:
            raise Killed
        done.append(rows)
        return predict(self, rows)

    for _ in range(2):
        done.clear()
        monkeypatch.setattr(evaluate.SegmentationPredictor, "predict", predict_some)
        with pytest.raises(Killed):
            evaluate.main(words)
        assert not (tmp_path / "result.json").exists()
    monkeypatch.setattr(evaluate.SegmentationPredictor, "predict", predict)
    # another evaluation leaves the counts alone
    evaluate.main([*words, "--seed", "7"])
    assert list((tmp_path / "result.json.partial").iterdir())
    asked: list[int] = []
    monkeypatch.setattr(
        evaluate.SegmentationPredictor, "predict", lambda self, rows: asked.extend(rows) or predict(self, rows)
    )
    resumed = evaluate.main(words)
    assert len(asked) == 3 + 3  # those that were left, and the three worst again
    assert resumed["confusion_matrix_sha256"] == whole["confusion_matrix_sha256"]
    assert resumed["result"] == whole["result"]
    assert resumed["worst_pictures"] == whole["worst_pictures"]
    assert not (tmp_path / "result.json.partial").exists()


def test_the_worst_pictures_are_the_worst(evaluate: ModuleType, inputs: Path, tmp_path: Path) -> None:
    words = [*arguments(inputs), "--output", str(tmp_path / "result.json"), "--worst", "3"]
    report = evaluate.main(words)
    single = []
    for row in range(11):
        split = evaluate.load_segmentation_splits(
            DatasetArguments(dataset=str(inputs / "dataset"), ignored_ids=[9]), ["validation"]
        )["validation"]
        split.rows = split.rows.select([row])
        accelerator = evaluate.Accelerator(cpu=True)
        protocol = EvaluationProtocol()
        one = evaluate.evaluate_segmentation(tiny_model(), tiny_processor(), split, accelerator, protocol)
        single.append(one.metric.compute().mean_iou)
    order = sorted(range(11), key=lambda row: single[row])
    assert [entry["row"] for entry in report["worst_pictures"]] == order[:3]
    assert [entry["mean_iou"] for entry in report["worst_pictures"]] == pytest.approx(sorted(single)[:3])
    names = sorted(path.name for path in (tmp_path / "result_worst").iterdir())
    assert [name[:12] for name in names] == [f"{rank:02d}_row{row:06d}" for rank, row in enumerate(order[:3], 1)]


def test_protocols_fill_in_what_is_not_given(evaluate: ModuleType, inputs: Path) -> None:
    few = [*arguments(inputs), "--num_pictures", "2"]
    published = evaluate.main([*few, "--protocol", "published"])
    assert published["protocol"]["view"] == "sliding_window"
    assert published["protocol"]["prompt_templates"] == ["A photo of a {} in the scene"]
    assert published["protocol"]["class_pooling_size"] == 1
    assert published["protocol"]["num_kept_classes"] is None
    assert published["dataset"]["prompted_synonyms"] == "first"
    users = evaluate.main([*few, "--protocol", "users", "--num_kept_classes", "3"])
    assert users["protocol"]["view"] == "whole"
    assert users["protocol"]["prompt_templates"] == list(USER_TEMPLATES)
    assert users["protocol"]["num_kept_classes"] == 3
    assert users["dataset"]["prompted_synonyms"] == "all"
    templates = evaluate.main([*few, "--protocol", "users", "--prompt_templates", "a {}", "the {}"])
    assert templates["protocol"]["prompt_templates"] == ["a {}", "the {}"]
    assert templates["protocol"]["num_kept_classes"] == 16


def test_all_synonyms_count_as_their_class(evaluate: ModuleType, inputs: Path, tmp_path: Path) -> None:
    # The synonyms together are the class names of another evaluation, whose counts must add up to these.
    (tmp_path / "synonyms.txt").write_text("sky, water\nred car\ntree, blue house")
    (tmp_path / "ids.json").write_text(json.dumps({"0": 0, "1": 1, "2": 2, "4": 2}))
    words = [
        *arguments(inputs),
        "--class_names",
        str(tmp_path / "synonyms.txt"),
        "--id_map",
        str(tmp_path / "ids.json"),
    ]
    merged = evaluate.main([*words, "--prompted_synonyms", "all"])
    assert merged["labels"]["prompts"] == ["sky", "water", "red car", "tree", "blue house"]
    assert merged["labels"]["class_of_prompt"] == [0, 0, 1, 2, 2]
    single = evaluate.main(arguments(inputs))
    pixels = {row["name"]: row for row in single["result"]["classes"]}
    sums = [("sky", "water"), ("red car",), ("tree", "blue house")]
    for row, names in zip(merged["result"]["classes"], sums, strict=True):
        assert row["num_predicted_pixels"] == sum(pixels[name]["num_predicted_pixels"] for name in names)
        assert row["num_true_pixels"] == sum(pixels[name]["num_true_pixels"] for name in names)


def test_thousands_of_class_names(evaluate: ModuleType, inputs: Path, tmp_path: Path) -> None:
    # of so many, the metric keeps totals alone
    (tmp_path / "names.txt").write_text("\n".join([*CLASS_NAMES, *(f"car {number}" for number in range(2100))]))
    words = [*arguments(inputs), "--class_names", str(tmp_path / "names.txt"), "--num_pictures", "1"]
    report = evaluate.main([*words, "--vocabulary", "picture+2"])
    assert len(report["confusion_matrix_sha256"]) == 64


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--worst", "3"], "--worst"),
        (["--worst", "many", "here"], "--worst"),
        (["--save_every", "0"], "--save_every"),
        (["--split", "test"], "test"),
        (["--save_pictures", "five", "here"], "--save_pictures"),
        (["--ignored_ids", "255"], "holds the id 9"),
        (["--vocabulary", "mine"], "picture+16"),
    ],
)
def test_bad_arguments_get_one_sentence(evaluate: ModuleType, inputs: Path, more: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        evaluate.main([*arguments(inputs), *more])
    assert message in str(error.value)
    with pytest.raises(ValueError, match="--model is missing"):
        evaluate.main([])


def test_what_lacks_is_said_before_anything_is_measured(
    evaluate: ModuleType, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "evaluate_segmentation", lambda *_, **__: pytest.fail("it was measured"))
    wrong = {
        "--model": (["nowhere/at/all"], "nowhere/at/all"),
        "--output": ([str(tmp_path)], "--output is the folder"),
        "--id_map": (["nowhere.json"], "no id map at 'nowhere.json'"),
        "--class_groups": (["nowhere.json"], "no file of class groups at 'nowhere.json'"),
    }
    for option, (values, message) in wrong.items():
        with pytest.raises(ValueError, match=message) as error:
            evaluate.main([*arguments(inputs), option, *values])
        assert "\n" not in str(error.value)
    (tmp_path / "notes.json").write_text('{"mine": 1}')
    with pytest.raises(ValueError, match="holds no result of a measurement"):
        evaluate.main([*arguments(inputs), "--output", str(tmp_path / "notes.json")])
    assert (tmp_path / "notes.json").read_text() == '{"mine": 1}'
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="of --output cannot be made"):
        evaluate.main([*arguments(inputs), "--output", str(tmp_path / "file" / "result.json")])


@pytest.mark.parametrize("more", [[], ["--sliding_window"], ["--vocabulary", "picture+1"]])
def test_scores_that_are_no_numbers_are_refused(
    evaluate: ModuleType, inputs: Path, tmp_path: Path, more: list[str]
) -> None:
    model = tiny_model()
    for weight in model.decoder.parameters():
        weight.data.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    tiny_processor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="not numbers"):
        evaluate.main([*arguments(inputs), "--model", str(tmp_path), *more])


def test_counts_of_another_processor_or_of_corrected_maps_are_not_taken_up(
    evaluate: ModuleType, inputs: Path, tmp_path: Path
) -> None:
    shutil.copytree(inputs, tmp_path / "inputs")
    words = [*arguments(tmp_path / "inputs"), "--num_pictures", "1", "--output", str(tmp_path / "result.json")]
    keys = []

    def key() -> None:
        options, dataset = parse_arguments((EvaluationArguments, DatasetArguments), words)
        model, processor = evaluate.load_model(options, torch.device("cpu"))
        split = evaluate.load_segmentation_splits(dataset, ["validation"])["validation"]
        measured = describe_measurement(options, dataset, "validation", split, model, processor)
        keys.append(evaluate.keep_counts(options, measured, split).key)

    key()
    key()
    assert keys[0] == keys[1]
    settings = tmp_path / "inputs" / "model" / "processor_config.json"
    settings.write_text(settings.read_text().replace("0.48145466", "0.5"))
    key()
    maps = next((tmp_path / "inputs" / "dataset" / "data").iterdir())
    maps.write_bytes(maps.read_bytes())
    key()
    assert len(set(keys)) == 3


def test_a_full_disk_gets_one_sentence_and_the_counts_before_stay(
    evaluate: ModuleType, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "result.json"
    words = [*arguments(inputs), "--batch_size", "1", "--save_every", "2", "--output", str(output)]
    written: list[int] = []
    fsync = os.fsync

    def full_after_three(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_three)
    with pytest.raises(ExpectedEnd, match=r"validation was cut off \(No space left on device\)"):
        evaluate.main(words)
    assert [path.suffix for path in (tmp_path / "result.json.partial").iterdir()] == [".safetensors"]
    monkeypatch.setattr(os, "fsync", fsync)
    asked: list[int] = []
    predict = evaluate.SegmentationPredictor.predict
    monkeypatch.setattr(
        evaluate.SegmentationPredictor, "predict", lambda self, rows: asked.extend(rows) or predict(self, rows)
    )
    assert evaluate.main(words)["result"]["num_pictures"] == 11
    assert len(asked) == 11 - 6


@pytest.mark.slow
def test_several_processes_count_identically(evaluate: ModuleType, inputs: Path, tmp_path: Path) -> None:
    words = [*arguments(inputs), "--worst", "4"]
    one = evaluate.main([*words, "--output", str(tmp_path / "one.json")])
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "one_worst").iterdir()}
    for num_processes in (2, 3):
        with socket.socket() as listener:
            listener.bind(("localhost", 0))
            port = str(listener.getsockname()[1])
        command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
        command += ["--num_processes", str(num_processes), "--num_machines", "1", "--mixed_precision", "no"]
        command += ["--dynamo_backend", "no", "--main_process_port", port]
        output = tmp_path / f"{num_processes}.json"
        finished = subprocess.run(
            [*command, str(EVALUATE), *words, "--output", str(output)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert finished.returncode == 0, finished.stderr
        several = json.loads(output.read_text())
        assert several["num_processes"] == num_processes
        assert several["confusion_matrix_sha256"] == one["confusion_matrix_sha256"]
        assert several["result"] == json.loads(json.dumps(one["result"]))
        assert several["worst_pictures"] == one["worst_pictures"]
        saved = {path.name: path.read_bytes() for path in (tmp_path / f"{num_processes}_worst").iterdir()}
        assert saved == pictures

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Ours beside the published numbers: the table, and the command that measures all benchmarks."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from script_loading import EVALUATE, REPOSITORY
from tiny_models import tiny_model, tiny_processor

from fgaseg_hf.data import published_results
from fgaseg_hf.data.benchmarks import BENCHMARKS
from fgaseg_hf.data.dataset_loading import DatasetArguments
from fgaseg_hf.data.published_results import PUBLISHED_BENCHMARKS, PUBLISHED_MEAN_IOU
from fgaseg_hf.evaluation import evaluate
from fgaseg_hf.evaluation.benchmark_tasks import tasks_of
from fgaseg_hf.evaluation.evaluation_arguments import EvaluationArguments
from fgaseg_hf.evaluation.published_comparison import compare_with_published, format_comparison

NUM_PICTURES = 2


def report(mean_iou: float | None, mean_iou_present: float | None, num_pictures: int = 2000) -> dict[str, Any]:
    return {"result": {"mean_iou": mean_iou, "mean_iou_present": mean_iou_present, "num_pictures": num_pictures}}


def test_the_published_numbers() -> None:
    assert PUBLISHED_BENCHMARKS == ("a-847", "pc-459", "a-150", "pc-59", "pas-20", "pas-20b")
    assert list(PUBLISHED_MEAN_IOU["catseg-base"].values()) == [12.0, 19.0, 31.8, 57.5, 94.6, 77.3]
    assert list(PUBLISHED_MEAN_IOU["catseg-large"].values()) == [16.0, 23.8, 37.9, 63.3, 97.0, 82.5]


def test_a_published_model_is_compared_with_itself_and_others_with_all() -> None:
    reports = {"a-847": report(0.1234, 0.11), "pas-20": report(0.95, 0.9, 100), "pc-59": report(None, None)}
    comparison = compare_with_published("catseg-base", reports)
    assert comparison["benchmarks"]["a-847"] == {
        "num_pictures": 2000,
        "num_published_pictures": 2000,
        "mean_iou": 12.34,
        "mean_iou_present": 11.0,
        "published": {
            "catseg-base": {"mean_iou": 12.0, "mean_iou_difference": 0.34, "mean_iou_present_difference": -1.0}
        },
    }
    lines = format_comparison(comparison).splitlines()
    assert lines[0].split() == ["benchmark", "pictures", "mIoU", "mIoU*", "catseg-base", "diff.", "diff.*"]
    assert lines[1].split() == ["a-847", "2,000", "12.34", "11.00", "12.0", "+0.34", "-1.00"]
    assert lines[2].split() == ["pas-20", "100", "of", "1,449", "95.00", "90.00", "94.6", "+0.40", "-4.60"]
    assert lines[3].split() == ["pc-59", "2,000", "of", "5,104", "-", "-", "57.5", "-", "-"]
    table = format_comparison(compare_with_published("runs/mine", reports))
    assert "catseg-base" in table and "catseg-large" in table
    assert len({len(line) for line in table.splitlines()[:-1]}) == 1


def write_prepared(folder: Path, name: str) -> None:
    """Writes what `fgaseg prepare` makes of a benchmark: two pictures with some of its classes."""
    benchmark = BENCHMARKS[name]
    generator = np.random.default_rng(0)
    ids = [0, 3, len(benchmark.class_names) - 1, benchmark.unlabelled_id]
    label_type = np.uint8 if benchmark.unlabelled_id == 255 else np.uint16
    maps = [Image.fromarray(generator.choice(ids, (12, 16)).astype(label_type)) for _ in range(NUM_PICTURES)]
    pictures = [Image.fromarray(generator.integers(0, 255, (12, 16, 3)).astype(np.uint8)) for _ in maps]
    rows = Dataset.from_dict(
        {"image": pictures, "annotation": maps},
        features=Features({"image": ImageFeature(), "annotation": ImageFeature()}),
    )
    (folder / "data").mkdir(parents=True)
    rows.to_parquet(folder / "data" / "validation-00000-of-00001.parquet")
    (folder / "class_names.txt").write_text("\n".join(benchmark.class_names))
    record = {"benchmark": name, "unlabelled_id": benchmark.unlabelled_id, "splits": {}}
    (folder / "benchmark.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    tiny_model().save_pretrained(folder / "model")
    tiny_processor().save_pretrained(folder / "model")
    for name in PUBLISHED_BENCHMARKS:
        write_prepared(folder / "data" / f"{name} prepared", name)
    return folder


def measure(inputs: Path, output: Path, names: str) -> dict[str, Any]:
    words = ["--model", str(inputs / "model"), "--dataset", str(inputs / "data"), "--output", str(output)]
    return evaluate.main([*words, "--benchmark", names, "--published"])


def check_all_benchmarks(
    inputs: Path, output: Path, names: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measures, is killed in the last benchmark, goes on, and compares with made numbers."""
    chosen = list(PUBLISHED_BENCHMARKS) if names == "all" else names.split(",")
    made = {"made": {name: 10.0 + place for place, name in enumerate(PUBLISHED_BENCHMARKS)}}
    monkeypatch.setattr(f"{compare_with_published.__module__}.PUBLISHED_MEAN_IOU", made)
    measured: list[str] = []
    evaluate_segmentation = evaluate.evaluate_segmentation

    def killed_in_the_last(model: Any, processor: Any, split: Any, *arguments: Any, **keywords: Any) -> Any:
        if len(measured) == len(chosen) - 1:
            raise KeyboardInterrupt
        measured.append(split.title)
        return evaluate_segmentation(model, processor, split, *arguments, **keywords)

    monkeypatch.setattr(evaluate, "evaluate_segmentation", killed_in_the_last)
    with pytest.raises(KeyboardInterrupt):
        measure(inputs, output, names)
    assert sorted(path.name for path in output.glob("*.json")) == sorted(f"{name}.json" for name in chosen[:-1])
    monkeypatch.setattr(evaluate, "evaluate_segmentation", evaluate_segmentation)
    capsys.readouterr()
    reports = measure(inputs, output, names)
    printed = capsys.readouterr().out
    assert list(reports) == chosen
    for name in chosen:
        assert (f"{name}: measured before" in printed) == (name != chosen[-1])
        assert reports[name]["protocol"]["view"] == "sliding_window"
        assert reports[name]["protocol"]["class_pooling_size"] == 1
        assert reports[name]["dataset"]["prompted_synonyms"] == "first"
        assert reports[name] == json.loads((output / f"{name}.json").read_text())
        ours = round(100 * reports[name]["result"]["mean_iou"], 2)
        (line,) = (line for line in printed.splitlines() if line.startswith(f"{name} "))
        assert line.split()[-5:-2] == [f"{ours:.2f}", *line.split()[-4:-2]]
        assert float(line.split()[-3]) == made["made"][name]
        assert float(line.split()[-2]) == pytest.approx(ours - made["made"][name], abs=0.006)
    assert json.loads((output / "published.json").read_text())["benchmarks"].keys() == set(chosen)


def test_two_benchmarks_resumed(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_all_benchmarks(inputs, tmp_path / "results", "pas-20b,pas-20", monkeypatch, capsys)


@pytest.mark.slow
def test_all_six_benchmarks_resumed(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_all_benchmarks(inputs, tmp_path / "results", "all", monkeypatch, capsys)


def tasks(dataset: dict[str, Any], **options: Any) -> list[Any]:
    chosen = EvaluationArguments(model="m", **options)
    arguments = DatasetArguments(**dataset)
    chosen.fill_in(arguments)
    return tasks_of(chosen, arguments)


def test_benchmarks_come_from_their_folders_or_the_hub(inputs: Path, tmp_path: Path) -> None:
    found = tasks({"benchmark": "all", "dataset": str(inputs / "data")}, published=True, output=str(tmp_path))
    assert [task.name for task in found] == list(PUBLISHED_BENCHMARKS)
    assert {task.split for task in found} == {"validation"}
    assert found[0].options.output == str(tmp_path / "a-847.json")
    assert found[0].dataset.dataset == str(inputs / "data" / "a-847 prepared")
    (hub, own) = tasks({"benchmark": "pas-20,A-150"})
    assert (hub.name, hub.split, hub.dataset.dataset) == ("pas-20", "val", None)
    assert own.name == "a-150"


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ({"benchmark": "all"}, {}, "no data for pc-459, pc-59: make a folder of each"),
        ({"benchmark": "all", "dataset": "nowhere"}, {}, "There is no folder nowhere"),
        ({"benchmark": "pas-20,pas"}, {}, "no benchmark 'pas'"),
        ({"benchmark": "pas-20,pas-20"}, {}, "names pas-20 twice"),
        ({"benchmark": "all", "id_map": "{}"}, {}, "--id_map is for one data set"),
        ({"benchmark": "all"}, {"split": "train"}, "--split is for one benchmark"),
        ({"benchmark": "all"}, {"output": __file__}, "several benchmarks need a folder"),
        ({"benchmark": "coco-stuff"}, {"published": True}, "not with coco-stuff"),
    ],
)
def test_what_does_not_fit_several_benchmarks(dataset: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tasks(dataset, **options)


def test_other_mistakes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_prepared(tmp_path / name, "pas-20")
    with pytest.raises(ValueError, match="first and .*second hold pas-20"):
        tasks({"benchmark": "pas-20,a-150", "dataset": str(tmp_path)})
    with pytest.raises(ValueError, match="not 'users'"):
        EvaluationArguments(model="m", published=True, protocol="users")
    assert published_results.PUBLISHED_BENCHMARKS is PUBLISHED_BENCHMARKS


@pytest.mark.slow
def test_any_number_of_processes_measures_the_same(inputs: Path, tmp_path: Path) -> None:
    one = measure(inputs, tmp_path / "one", "pas-20,pas-20b")
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = str(listener.getsockname()[1])
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", port, str(EVALUATE), "--model", str(inputs / "model"), "--published"]
    command += ["--benchmark", "pas-20,pas-20b", "--dataset", str(inputs / "data"), "--output", str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")}
    # the second time, what the first has measured is taken over by both
    for is_measured_before in (False, True):
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert finished.returncode == 0, finished.stderr
        assert ("pas-20b: measured before" in finished.stdout) == is_measured_before
        for name, report in one.items():
            found = json.loads((tmp_path / "two" / f"{name}.json").read_text())
            assert found["num_processes"] == 2
            assert found["confusion_matrix_sha256"] == report["confusion_matrix_sha256"]
        comparisons = [json.loads((tmp_path / run / "published.json").read_text()) for run in ("one", "two")]
        assert comparisons[0] == comparisons[1]

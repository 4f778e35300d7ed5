# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Model cards: read back by huggingface_hub, numbers from the results alone, and the cards of this repository."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from evaluation_reports import evaluation_report, write_report
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from PIL import Image
from test_readme import find_blocks
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor
from typer.testing import CliRunner

from fgaseg_hf import FGASegVocabulary
from fgaseg_hf.cli.main import app
from fgaseg_hf.release.card_description import CardDescription
from fgaseg_hf.release.card_measurements import format_table, make_eval_results
from fgaseg_hf.release.checkpoint_inspection import CheckpointInspection, inspect_checkpoint
from fgaseg_hf.release.evaluation_record import EvaluationRecord, without_local_folders
from fgaseg_hf.release.model_card import check_model_card, make_model_card

REPOSITORY = Path(__file__).parent.parent.parent
CARDS = sorted(path for path in (REPOSITORY / "model_cards").glob("*.md") if path.name != "README.md")
HEADINGS = ["Model", "Use", "Training", "Results", "Limits", "Bias", "Citation"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> CheckpointInspection:
    return inspect_checkpoint(folder)


@pytest.fixture(scope="module")
def records(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[EvaluationRecord]:
    results = tmp_path_factory.mktemp("results")
    protocol = evaluation_report(None)["protocol"] | {
        "vocabulary": "picture+2",
        "view": "sliding_window",
        "num_kept_classes": 3,
    }
    return [
        EvaluationRecord.load(write_report(results / "all.json", folder)),
        EvaluationRecord.load(write_report(results / "own.json", folder, "validation_unseen", protocol=protocol)),
    ]


def description(**fields: Any) -> CardDescription:
    return CardDescription(**{"name": "someone/tiny", "license": "apache-2.0", **fields})


def key(entry: EvalResult) -> str:
    return json.dumps(vars(entry), sort_keys=True)


def assert_is_a_card(text: str) -> ModelCard:
    """What the Hub needs: the head parses, comes back the same, and its entries are those that the Hub shows."""
    card = ModelCard(text)
    data = card.data
    assert isinstance(data, ModelCardData)
    again = ModelCard(str(card))
    assert again.data.to_dict() == data.to_dict()
    assert sorted(map(key, again.data.eval_results or [])) == sorted(map(key, data.eval_results or []))
    assert data.license
    assert data.library_name == "transformers"
    assert data.pipeline_tag == "image-segmentation"
    assert "zero-shot-image-segmentation" in data.tags
    if data.eval_results:
        name, entries = model_index_to_eval_results(data.to_dict()["model-index"])
        assert name == data.model_name
        assert sorted(map(key, entries)) == sorted(map(key, data.eval_results))
    for value in (data.base_model or [], data.datasets or []):
        assert isinstance(value, str | list)
    assert re.findall(r"^## (.+)$", card.text, flags=re.MULTILINE) == HEADINGS
    (code,) = [block.text for block in find_blocks(card.text) if block.language == "python"]
    assert len(code.splitlines()) <= 12
    assert max(map(len, code.splitlines())) <= 120
    compile(code, "card", "exec")
    assert "{{" not in card.text.split("## Citation")[0]
    assert "[More Information Needed]" not in text
    return card


def test_card_of_a_checkpoint(checkpoint: CheckpointInspection, records: list[EvaluationRecord]) -> None:
    words = description(
        base_model=["openai/clip-vit-base-patch16"],
        datasets=["someone/pictures"],
        training="With care.",
        training_command="python training/train.py --dataset /data/pictures --output_dir=/home/someone/runs/tiny",
        limits=["It is tiny."],
        tags=["tiny"],
    )
    card = assert_is_a_card(str(make_model_card(checkpoint, records, words)))
    assert card.data.base_model == ["openai/clip-vit-base-patch16"]
    assert card.data.datasets == ["someone/pictures"]
    assert {"tiny", "fgaseg", "clip"} <= set(card.data.tags)
    assert card.data.model_name == "tiny"
    assert "python training/train.py --dataset pictures --output_dir=tiny" in card.text
    assert "- It is tiny." in card.text
    assert "patches of 8" in card.text
    assert "not examined for bias" in card.text
    assert f"`{checkpoint.weights_sha256}`" in card.text
    # Nothing of the machine that it was measured on.
    assert "/home" not in str(card)
    assert "/data" not in str(card)
    assert "evaluate.py --model best --dataset pictures --split validation --vocabulary all`" in card.text


def test_numbers_are_those_of_the_results(checkpoint: CheckpointInspection, records: list[EvaluationRecord]) -> None:
    card = make_model_card(checkpoint, records, description())
    entries = card.data.eval_results
    for record in records:
        of_split = [entry for entry in entries if entry.dataset_split == record.report["split"]]
        result = record.result
        values = {entry.metric_name.split(" in %")[0]: entry.metric_value for entry in of_split}
        assert values == {
            "mIoU (classes in the truth)": round(100 * result["mean_iou"], 2),
            "mIoU (classes in truth or prediction)": round(100 * result["mean_iou_present"], 2),
            "pixel accuracy": round(100 * result["pixel_accuracy"], 2),
            "mIoU (classes in the truth) of 'seen'": round(100 * result["groups"]["seen"]["mean_iou"], 2),
            "mIoU (classes in the truth) of 'unseen'": round(100 * result["groups"]["unseen"]["mean_iou"], 2),
        }
        assert result["mean_iou"] != result["mean_iou_present"]
        for number in (result["mean_iou"], result["mean_iou_present"], result["pixel_accuracy"]):
            assert f"| {100 * number:.1f} % |" in card.text
    assert {json.dumps(entry.metric_args, sort_keys=True) for entry in entries} == {
        '{"seed": 0, "view": "whole", "vocabulary": "all"}',
        '{"num_kept_classes": 3, "seed": 0, "view": "sliding_window", "vocabulary": "picture+2"}',
    }
    assert "the picture's own names and 2 others, TopK 3, windows and whole picture" in card.text

    # The table of classes: all that occur, none that is nowhere, most pixels first.
    table = re.search(r"\| class \| row 1 \| row 2 \|\n(.+?)\n\n", card.text, flags=re.DOTALL)
    assert table is not None
    rows = [line.strip("| ").split(" | ") for line in table[1].splitlines()[1:]]
    by_name = {name: ious for name, *ious in rows}
    assert set(by_name) == set(CLASS_NAMES[:4])
    for number, record in enumerate(records):
        for row in record.result["classes"][:4]:
            assert by_name[row["name"]][number] == f"{100 * row['iou']:.1f} %"
    pixels = {row["name"]: 0 for row in records[0].result["classes"]}
    for record in records:
        for row in record.result["classes"]:
            pixels[row["name"]] += row["num_true_pixels"]
    assert [pixels[name] for name, *_ in rows] == sorted((pixels[name] for name in by_name), reverse=True)


def test_card_without_results_or_record_of_training(checkpoint: CheckpointInspection) -> None:
    card = assert_is_a_card(str(make_model_card(checkpoint, [], description())))
    assert card.data.eval_results is None
    assert "It was not measured." in card.text
    assert "How it was trained was not recorded." in card.text


def test_known_data_sets_get_their_names(folder: Path) -> None:
    benchmark = EvaluationRecord("a.json", evaluation_report(folder, dataset={"benchmark": "pc-59", "dataset": None}))
    hub = EvaluationRecord("b.json", evaluation_report(folder, dataset={"dataset": "someone/pictures"}))
    mine = description(measured_data={"someone/pictures": {"name": "Pictures", "id": "someone/other"}})
    assert {entry.dataset_name for entry in make_eval_results([benchmark], mine)} == {"Pascal Context 59"}
    assert {(entry.dataset_name, entry.dataset_type) for entry in make_eval_results([hub], mine)} == {
        ("Pictures", "someone/other")
    }
    assert {entry.dataset_type for entry in make_eval_results([hub], description())} == {"someone/pictures"}


@pytest.mark.parametrize("has_vocabulary", [False, True])
def test_twelve_lines_run(
    folder: Path,
    records: list[EvaluationRecord],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    has_vocabulary: bool,
) -> None:
    copy = tmp_path / "someone" / "tiny"
    shutil.copytree(folder, copy)
    if has_vocabulary:
        model, processor = tiny_model(), tiny_processor()
        model.set_vocabulary(FGASegVocabulary(["sky", "sea"], background="other").encode(model, processor))
        model.save_pretrained(copy)
    Image.new("RGB", (50, 40), "red").save(tmp_path / "picture.jpg")
    monkeypatch.chdir(tmp_path)
    card = assert_is_a_card(str(make_model_card(inspect_checkpoint(copy), records, description())))
    (code,) = [block.text for block in find_blocks(card.text) if block.language == "python"]
    capsys.readouterr()
    names: dict[str, Any] = {}
    exec(compile(code, "card", "exec"), names)
    assert names["label_map"].shape == (40, 50)
    printed = capsys.readouterr().out
    first = "sky" if has_vocabulary else records[0].result["classes"][0]["name"]
    assert first in printed
    assert printed.count("%") == (3 if has_vocabulary else 4)


def test_results_of_other_weights_are_refused(folder: Path, checkpoint: CheckpointInspection, tmp_path: Path) -> None:
    def refused(report: dict[str, Any], words: str) -> None:
        with pytest.raises(ValueError, match=words):
            make_model_card(checkpoint, [EvaluationRecord("result.json", report)], description())

    refused(evaluation_report(None), "does not say which weights")
    own = evaluation_report(folder)["checkpoint"]
    refused(evaluation_report(None, checkpoint=own | {"weights_sha256": "0" * 64}), "another weights")
    refused(evaluation_report(None, checkpoint=own | {"config_sha256": "0" * 64}), "another config")


def test_files_that_are_no_results_are_refused(tmp_path: Path) -> None:
    for number, content in enumerate(
        [
            "no JSON",
            "[]",
            "{}",
            json.dumps(evaluation_report(None) | {"split": None}),
            json.dumps(evaluation_report(None) | {"result": {"mean_iou": 44.5, "classes": [], "groups": {}}}),
        ]
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(content)
        with pytest.raises(ValueError, match=r"training/evaluate\.py"):
            EvaluationRecord.load(path)
    with pytest.raises(ValueError, match="cannot be read"):
        EvaluationRecord.load(tmp_path / "nowhere.json")


def test_cards_by_hand_are_checked(checkpoint: CheckpointInspection, records: list[EvaluationRecord]) -> None:
    text = str(make_model_card(checkpoint, records, description()))
    assert len(check_model_card(text, records).data.eval_results) == 10
    value = make_eval_results(records, description())[0].metric_value
    # Rounded is well, raised is not.
    assert check_model_card(text.replace(f"value: {value}", f"value: {value:.1f}"), records)
    for change, words in (
        ((f"value: {value}", f"value: {value + 1}"), "which no result file has"),
        (("split: validation_unseen", "split: test"), "which no result file has"),
        (("license: apache-2.0\n", ""), "'license'"),
        (("pipeline_tag: image-segmentation", "pipeline_tag: text-generation"), "'pipeline_tag'"),
        (("license: apache-2.0", "license: [apache"), "cannot be read"),
        (("  results:", "  outcomes:"), "cannot be read"),
    ):
        changed = text.replace(*change)
        assert changed != text
        with pytest.raises(ValueError, match=words):
            check_model_card(changed, records)


def test_descriptions_are_read_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("name: a\nlicense: mit\nlimits: one\nbase_model: x/y\n")
    read = CardDescription.load(path, license="apache-2.0", base_model=None, datasets=[])
    assert (read.name, read.license, read.limits, read.base_model) == ("a", "apache-2.0", ["one"], ["x/y"])
    for content, words in (
        ("name: a", "no licence"),
        ("license: mit", "no name"),
        ("name: a\nlicence: mit", "must be a mapping of any of"),
        ("- a", "must be a mapping"),
        ("name: [a]\nlicense: mit", "must be a str"),
        ("name: a\nlicense: mit\nmeasured_data: {x: y}", "must have a name and an id"),
        ("name: [", "cannot be read"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=words):
            CardDescription.load(path)
    with pytest.raises(ValueError, match="cannot be read"):
        CardDescription.load(tmp_path / "nowhere.yaml")


def test_folders_of_a_machine_are_left_out() -> None:
    value = {
        "command": "evaluate.py --model /a/b/model --output=/c/d.json --dataset some/folder --ids 1",
        "dataset": {"dataset": "/a/scenes", "other": "C:\\Users\\me\\scenes", "id": "some/one"},
        "list": ["/x/y", 3, None],
        "text": "mIoU / accuracy",
    }
    assert without_local_folders(value) == {
        "command": "evaluate.py --model model --output=d.json --dataset some/folder --ids 1",
        "dataset": {"dataset": "scenes", "other": "scenes", "id": "some/one"},
        "list": ["y", 3, None],
        "text": "mIoU / accuracy",
    }


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_each_card_of_the_repository_can_be_read(path: Path) -> None:
    card = assert_is_a_card(path.read_text(encoding="utf-8"))
    results = REPOSITORY / "model_cards" / "results" / path.stem
    records = [EvaluationRecord.load(file) for file in sorted(results.glob("*.json"))]
    assert records
    check_model_card(str(card), records)
    for file in results.glob("*.json"):
        assert without_local_folders(json.loads(file.read_text())) == json.loads(file.read_text()), file


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_each_card_of_the_repository_is_what_its_command_writes(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    blocks = find_blocks((REPOSITORY / "model_cards" / "README.md").read_text(encoding="utf-8"))
    lines = [line for block in blocks for line in block.text.replace("\\\n", " ").splitlines()]
    (command,) = [line for line in lines if line.startswith("fgaseg card") and f"/{path.name}" in line]
    words = shlex.split(command)[1:]
    words[words.index("--out") + 1] = str(tmp_path / "card.md")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_the_code_of_each_card_of_the_repository_runs(path: Path) -> None:
    for block in find_blocks(path.read_text(encoding="utf-8")):
        if block.language == "python":
            names: dict[str, Any] = {}
            exec(compile(block.text, path.name, "exec"), names)
            assert isinstance(names["label_map"], torch.Tensor)


def test_descriptions_of_the_repository_name_their_card() -> None:
    for path in CARDS:
        assert yaml.safe_load(path.with_suffix(".yaml").read_text(encoding="utf-8"))["name"] == path.stem


def test_class_names_stay_in_their_cells() -> None:
    table = format_table(["class", "IoU"], [["sky\n# heading", "1"], ["<script>alert()</script>", "2"], ["a|b", "3"]])
    assert table.splitlines()[2:] == [
        "| sky # heading | 1 |",
        "| &lt;script>alert()&lt;/script> | 2 |",
        "| a\\|b | 3 |",
    ]

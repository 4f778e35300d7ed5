# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What was measured, for a model card: the entries of its head, and its tables."""

import shlex
from collections.abc import Iterable, Sequence

from huggingface_hub import EvalResult

from ..data.benchmarks import BENCHMARKS
from .card_description import CardDescription
from .evaluation_record import EvaluationRecord

# The Hub's task for maps over a picture's pixels. It has none named "zero-shot-image-segmentation" (its zero-shot tasks
# are classification of texts and pictures, and detection), so that name is a tag.
PIPELINE_TAG = "image-segmentation"


def make_eval_results(records: Iterable[EvaluationRecord], description: CardDescription) -> list[EvalResult]:
    """Turns result files into the entries of a card's `model-index`; values are in per cent.

    Args:
        records: The result files.
        description: Of the model.
    """
    entries = []
    for record in records:
        result = record.result
        name, data_set_id = _name_data_set(record, description)
        protocol = {
            key: value
            for key in ("vocabulary", "view", "window_size", "resized_size", "seed", "num_kept_classes")
            if (value := record.report["protocol"].get(key)) is not None
        }
        metrics = [
            ("mean_iou", "mIoU (classes in the truth)", result["mean_iou"]),
            ("mean_iou", "mIoU (classes in truth or prediction)", result["mean_iou_present"]),
            ("accuracy", "pixel accuracy", result["pixel_accuracy"]),
        ]
        for group, values in result["groups"].items():
            metrics.append(("mean_iou", f"mIoU (classes in the truth) of {group!r}", values["mean_iou"]))
        entries += [
            EvalResult(
                task_type=PIPELINE_TAG,
                dataset_type=data_set_id,
                dataset_name=name,
                dataset_config=record.report["dataset"].get("dataset_subset"),
                dataset_revision=record.report["dataset"].get("dataset_revision"),
                dataset_split=record.report["split"],
                metric_type=metric_type,
                metric_name=f"{metric_name} in %, {record.words}",
                metric_value=_per_cent(value),
                metric_args=protocol,
            )
            for metric_type, metric_name, value in metrics
            if value is not None
        ]
    return entries


COLUMNS = [
    "",
    "measured on",
    "words given",
    "pictures",
    "mIoU (classes in the truth)",
    "mIoU (classes in truth or prediction)",
    "pixel accuracy",
    "mean accuracy",
    "frequency-weighted IoU",
]


def describe_measurements(records: Sequence[EvaluationRecord], description: CardDescription) -> str:
    """Writes the section with the tables, and how each row was measured."""
    if not records:
        return "It was not measured."
    rows, commands = [], []
    for number, record in enumerate(records, start=1):
        rows += _rows(number, record, description)
        commands.append(f"{number}. {_how_measured(record)}")
    return "\n\n".join(
        [
            "mIoU has two published definitions: the mean over the classes that occur in the truth, and the mean over "
            "those that occur in the truth or in the prediction, where a class that is only predicted counts as 0.",
            format_table(COLUMNS, rows),
            "\n".join(["How the rows were measured:", "", *commands]),
            *_class_tables(records),
        ]
    )


def _rows(number: int, record: EvaluationRecord, description: CardDescription) -> list[list[str]]:
    """A result's row, and one more for each of its groups of classes."""
    result = record.result
    measures = ("mean_iou", "mean_iou_present", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
    rows = [
        [
            str(number),
            f"{_name_data_set(record, description)[0]}, `{record.report['split']}`",
            record.words,
            f"{result['num_pictures']:,}",
            *(_share(result[name]) for name in measures),
        ]
    ]
    for group, values in result["groups"].items():
        if values["mean_iou"] is not None:
            where = f"of these, {values['num_classes']:.0f} classes of the group `{group}`"
            numbers = [_share(values["mean_iou"]), _share(values["mean_iou_present"])]
            rows.append(["", where, "", "", *numbers, "-", "-", "-"])
    return rows


def _how_measured(record: EvaluationRecord) -> str:
    report = record.report
    commit = f"commit `{report['commit'][:7]}`" if report.get("commit") else "no commit recorded"
    if report.get("uncommitted_changes"):
        commit += " with changes"
    versions = ", ".join(f"{name} {report['versions'].get(name)}" for name in ("torch", "transformers"))
    machine = f"{report['device'].get('type')} ({report['device'].get('name')})"
    return f"`{_shown_command(report.get('command', ''))}`; {commit}, {versions}, {machine}"


def _class_tables(records: Sequence[EvaluationRecord]) -> list[str]:
    """One table for each list of classes, with a column for each row of the results that has it."""
    by_classes: dict[tuple[str, ...], list[int]] = {}
    for number, record in enumerate(records):
        names = tuple(row["name"] for row in record.result["classes"])
        by_classes.setdefault(names, []).append(number)
    tables = []
    for names, numbers in by_classes.items():
        columns = [records[number].result["classes"] for number in numbers]
        num_true = [sum(column[place]["num_true_pixels"] for column in columns) for place in range(len(names))]
        occurring = [
            place
            for place in range(len(names))
            if any(column[place]["num_true_pixels"] or column[place]["num_predicted_pixels"] for column in columns)
        ]
        rows = [
            [names[place], *(_share(column[place]["iou"]) for column in columns)]
            for place in sorted(occurring, key=lambda place: -num_true[place])
        ]
        header = ["class", *(f"row {number + 1}" for number in numbers)]
        tables.append(
            f"<details>\n<summary>IoU of each class, those with the most pixels first ({len(occurring)} of "
            f"{len(names)} occur)</summary>\n\n{format_table(header, rows)}\n\n</details>"
        )
    return tables


def _name_data_set(record: EvaluationRecord, description: CardDescription) -> tuple[str, str]:
    """The data set's name for people and its id."""
    data_set = record.data_set
    if known := description.measured_data.get(data_set):
        return known["name"], known["id"]
    if benchmark := BENCHMARKS.get(data_set):
        return benchmark.title, benchmark.hub_id or data_set
    return data_set, data_set


def _shown_command(command: str) -> str:
    """The command as a person repeats it: with the script's folder, without where its output went."""
    words = shlex.split(command)
    for option in ("--output", "--save_pictures"):
        if option in words:
            place = words.index(option)
            end = place + 1
            while end < len(words) and not words[end].startswith("-"):
                end += 1
            words = words[:place] + words[end:]
    if words and words[0] == "evaluate.py":
        words = ["python", "training/evaluate.py", *words[1:]]
    return shlex.join(words)


def _per_cent(share: float) -> float:
    return round(100 * share, 2)


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a table in Markdown; cells stay in their lines, and what looks like HTML is shown and not done."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


__all__ = ["PIPELINE_TAG", "describe_measurements", "format_table", "make_eval_results"]

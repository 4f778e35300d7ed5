# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Model cards: facts from the checkpoint, numbers from result files, and words from a description."""

import dataclasses
import json
import math
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..data.benchmarks import BENCHMARKS
from .checkpoint_inspection import CheckpointInspection, format_bytes, hash_config

# The Hub's task for maps over a picture's pixels. It has none named "zero-shot-image-segmentation" (its zero-shot tasks
# are classification of texts and pictures, and detection), so that name is a tag.
PIPELINE_TAG = "image-segmentation"
LIBRARY_NAME = "transformers"
TAGS = ("semantic-segmentation", "open-vocabulary-segmentation", "zero-shot-image-segmentation", "clip")

# How far a number in a card may be from the result file's: cards round to a tenth of a per cent or finer.
ROUNDING = 0.05 + 1e-9

DEFAULT_SUMMARY = (
    "Open-vocabulary semantic segmentation: give a picture and words of your own, and get one of the words for every "
    "pixel."
)


@dataclass(frozen=True, kw_only=True)
class CardDescription:
    """What neither the checkpoint nor its results can tell.

    Attributes:
        name: The model's name, or its id on the Hub.
        license: Its licence, as the Hub abbreviates it: `apache-2.0`.
        summary: What it is, in a few sentences of Markdown.
        language: The language of its words.
        base_model: Ids of the models that it starts from.
        datasets: Ids on the Hub of the data sets that it was trained on.
        tags: Tags beside the usual ones.
        training: How it was trained, in Markdown.
        training_command: The command that trained it.
        use: Python code in the place of the usual example.
        limits: What it cannot do, beside what follows from its settings; a sentence of Markdown each.
        bias: What is known of its bias, in Markdown.
        measured_data: Of data sets that were measured on, by the name that `evaluate.py` was given: `name`, what people
            call it, and `id`, its id on the Hub or one like it.
    """

    name: str
    license: str
    summary: str = DEFAULT_SUMMARY
    language: str = "en"
    base_model: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    training: str | None = None
    training_command: str | None = None
    use: str | None = None
    limits: list[str] = field(default_factory=list)
    bias: str | None = None
    measured_data: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path | None, **overrides: Any) -> "CardDescription":
        """Reads a description from a YAML file.

        Args:
            path: The file; `None` for none.
            **overrides: Attributes that win over the file's. `None` and empty lists do not count.

        Raises:
            ValueError: There is no such file, it is no mapping of the attributes above, or name or licence are missing.
        """
        values: dict[str, Any] = {}
        if path is not None:
            try:
                values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                reason = " ".join(str(error).split())
                raise ValueError(
                    f"The description {str(path)!r} cannot be read ({reason}): give a YAML file."
                ) from error
        fields = {described.name: described for described in dataclasses.fields(cls)}
        if not isinstance(values, dict) or not set(values) <= set(fields):
            raise ValueError(f"The description {str(path)!r} must be a mapping of any of {', '.join(fields)}.")
        values |= {name: value for name, value in overrides.items() if value not in (None, [], ())}
        for name, value in values.items():
            wanted: Any = str
            if name in ("base_model", "datasets", "tags", "limits"):
                value = values[name] = [value] if isinstance(value, str) else value
                wanted = list
            elif name == "measured_data":
                wanted = dict
            if not isinstance(value, wanted):
                raise ValueError(f"The description's {name!r} is {value!r}, but must be a {wanted.__name__}.")
        for data_set, known in values.get("measured_data", {}).items():
            if not isinstance(known, dict) or set(known) != {"name", "id"}:
                raise ValueError(f"The description's 'measured_data' of {data_set!r} must have a name and an id.")
        if not values.get("license"):
            raise ValueError("The model has no licence: give one as --license apache-2.0, or in the description.")
        if not values.get("name"):
            raise ValueError("The model has no name: give one with --name, or in the description.")
        return cls(**values)


@dataclass(frozen=True)
class EvaluationRecord:
    """A result file that `training/evaluate.py` wrote.

    Attributes:
        file_name: The file's name.
        report: Its content, without folders of the machine that it was made on.
    """

    file_name: str
    report: dict[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> "EvaluationRecord":
        """Reads a result file.

        Raises:
            ValueError: It cannot be read, or is no such file.
        """
        try:
            report = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The result {str(path)!r} cannot be read: give a file of training/evaluate.py."
            ) from error
        if not is_evaluation_report(report):
            raise ValueError(f"{str(path)!r} is no result of training/evaluate.py: measure the model with that.")
        return cls(Path(path).name, without_local_folders(report))

    @property
    def result(self) -> dict[str, Any]:
        """The numbers, as [`fgaseg_hf.evaluation.segmentation_metrics.SegmentationResult`] gives them."""
        return dict(self.report["result"])

    @property
    def data_set(self) -> str:
        """What `evaluate.py` was given to measure on: a benchmark's name, an id on the Hub, or a folder's name."""
        arguments = self.report["dataset"]
        return str(arguments.get("benchmark") or arguments.get("dataset"))

    @property
    def words(self) -> str:
        """Which words were given with each picture, and how it was looked at."""
        protocol = self.report["protocol"]
        vocabulary = str(protocol["vocabulary"])
        if others := re.fullmatch(r"picture\+(\d+)", vocabulary):
            text = f"the picture's own names and {others[1]} others"
        else:
            text = f"all {len(self.result['classes'])} names" if vocabulary == "all" else vocabulary
        if protocol.get("num_kept_classes") is not None:
            text += f", TopK {protocol['num_kept_classes']}"
        if protocol.get("view") == "sliding_window":
            text += ", windows and whole picture"
        return text

    def check_checkpoint(self, checkpoint: CheckpointInspection) -> None:
        """Makes sure that the numbers are this checkpoint's.

        Raises:
            ValueError: They are another's, or the file does not say whose.
        """
        measured = self.report.get("checkpoint")
        if not isinstance(measured, dict) or checkpoint.weights_sha256 is None:
            raise ValueError(
                f"The result {self.file_name!r} does not say which weights it was measured on: measure "
                f"{checkpoint.source!r} anew with training/evaluate.py."
            )
        for what, here in (
            ("weights", checkpoint.weights_sha256),
            ("config", hash_config(checkpoint.config)),
        ):
            if measured.get(f"{what}_sha256") != here:
                raise ValueError(
                    f"The result {self.file_name!r} was measured with another {what} than {checkpoint.source!r} has: "
                    "measure this one with training/evaluate.py."
                )


def is_evaluation_report(report: Any) -> bool:
    """Whether a JSON object is what `training/evaluate.py` writes, with numbers that can be."""
    if not isinstance(report, dict) or not isinstance(report.get("result"), dict):
        return False
    parts = [report.get(name) for name in ("protocol", "dataset", "versions", "device")]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(report.get("split"), str):
        return False
    result = report["result"]
    shares = [result.get(name) for name in ("mean_iou", "mean_iou_present", "pixel_accuracy")]
    are_shares = all(share is None or (isinstance(share, int | float) and 0 <= share <= 1) for share in shares)
    return are_shares and isinstance(result.get("classes"), list) and isinstance(result.get("groups"), dict)


def without_local_folders(value: Any) -> Any:
    """Leaves of absolute paths, in the strings of a JSON value and in the words of a command, the last part alone."""
    if isinstance(value, dict):
        return {
            name: _shorten_command(entry)
            if name == "command" and isinstance(entry, str)
            else without_local_folders(entry)
            for name, entry in value.items()
        }
    if isinstance(value, list):
        return [without_local_folders(entry) for entry in value]
    return _shorten_path(value) if isinstance(value, str) else value


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


def make_model_card(
    checkpoint: CheckpointInspection, records: Sequence[EvaluationRecord], description: CardDescription
) -> ModelCard:
    """Writes a checkpoint's model card.

    Args:
        checkpoint: What [`fgaseg_hf.release.checkpoint_inspection.inspect_checkpoint`] found.
        records: Its result files, in the order in which they shall stand.
        description: What these cannot tell.

    Raises:
        ValueError: A result is not the checkpoint's.
    """
    for record in records:
        record.check_checkpoint(checkpoint)
    data = ModelCardData(
        license=description.license,
        library_name=LIBRARY_NAME,
        pipeline_tag=PIPELINE_TAG,
        language=description.language,
        base_model=description.base_model or None,
        datasets=description.datasets or None,
        metrics=["mean_iou", "accuracy"] if records else None,
        tags=["catseg" if checkpoint.method == "CAT-Seg" else "fgaseg", *TAGS, *description.tags],
        model_name=description.name.split("/")[-1],
        eval_results=make_eval_results(records, description) or None,
    )
    template = resources.files(__package__) / "model_card_template.md"
    card = ModelCard.from_template(
        data,
        template_str=template.read_text(encoding="utf-8"),
        model_name=description.name.split("/")[-1],
        summary=description.summary.strip(),
        facts=_facts(checkpoint),
        use=(description.use or _example(checkpoint, records, description)).strip(),
        use_notes=_use_notes(checkpoint),
        training=_training(description),
        measurements=_measurements(records, description),
        limits=_limits(checkpoint, records, description),
        bias=_bias(description),
    )
    # Jinja leaves out the last line's end.
    return ModelCard(f"{str(card).rstrip()}\n")


def check_model_card(card: str, records: Sequence[EvaluationRecord]) -> ModelCard:
    """Makes sure that the Hub can read a card, and that each of its numbers comes from a result file.

    Args:
        card: The card's text.
        records: The result files that come with it.

    Returns:
        The card as `huggingface_hub` reads it.

    Raises:
        ValueError: Its head cannot be read, lacks an entry, or has a number that no result file has.
    """
    try:
        parsed = ModelCard(card)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"The head of the model card cannot be read ({reason}): make the card anew.") from error
    data: Any = parsed.data
    for name, wanted in (("license", None), ("library_name", LIBRARY_NAME), ("pipeline_tag", PIPELINE_TAG)):
        value = data.get(name)
        if not value or (wanted is not None and value != wanted):
            raise ValueError(f"The head of the model card has {name!r} {value!r}: set it to {wanted or 'a licence'!r}.")
    measured = make_eval_results(records, CardDescription(name="measured", license="none"))
    for entry in data.eval_results or []:
        fitting = [
            other.metric_value
            for other in measured
            if (other.metric_type, other.dataset_split) == (entry.metric_type, entry.dataset_split)
        ]
        is_number = isinstance(entry.metric_value, int | float)
        if not is_number or not any(math.isclose(entry.metric_value, value, abs_tol=ROUNDING) for value in fitting):
            raise ValueError(
                f"The model card gives {entry.metric_type} {entry.metric_value} on {entry.dataset_split!r}, which no "
                "result file has: make the card from the results."
            )
    return parsed


def _facts(checkpoint: CheckpointInspection) -> str:
    config: Any = checkpoint.config
    text, vision = config.text_config, config.vision_config
    if config.num_kept_classes is None:
        classes = "the decoder works out every class"
    else:
        classes = f"the decoder works out {config.num_kept_classes} of a picture's classes"
    if config.class_limit is not None:
        classes += f"; of more than {config.class_limit}, each picture keeps those with the highest peak"
    rows = {
        "architecture": f"{checkpoint.method} (`{checkpoint.architecture}`)",
        "parameters": f"{checkpoint.num_parameters:,}",
        "by block": ", ".join(f"{block.name} {block.num_parameters:,}" for block in checkpoint.blocks),
        "trainable": f'{checkpoint.num_trainable:,} (`trainable_clip="{config.trainable_clip}"`)',
        "weights": f"{format_bytes(checkpoint.num_weight_bytes)}, {', '.join(checkpoint.dtypes)}",
        "hash of the weights": f"`{checkpoint.weights_sha256}`",
        "image tower": f"{vision.num_hidden_layers} layers of width {vision.hidden_size}, patches of "
        f"{vision.patch_size} pixels",
        "text tower": f"{text.num_hidden_layers} layers of width {text.hidden_size}, prompts up to "
        f"{checkpoint.max_prompt_length} tokens",
        "pictures": f"{config.image_size} x {config.image_size} pixels, a grid of {checkpoint.grid_size} x "
        f"{checkpoint.grid_size} patches",
        "classes": classes,
    }
    if checkpoint.vocabulary is not None:
        labels = checkpoint.vocabulary.labels
        rows["vocabulary"] = f"{len(labels)} labels: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''}"
    return _table(["", ""], [[name, text] for name, text in rows.items()])


def _example(
    checkpoint: CheckpointInspection, records: Sequence[EvaluationRecord], description: CardDescription
) -> str:
    """Twelve lines that segment a picture."""
    has_vocabulary = checkpoint.vocabulary is not None
    if has_vocabulary:
        picture = 'picture = Image.open("picture.jpg")'
        inputs, named = "images=picture", "model.config.id2label.items()"
    else:
        words = ", ".join(json.dumps(word, ensure_ascii=False) for word in _example_words(records))
        picture = f'picture, words = Image.open("picture.jpg"), [{words}]'
        inputs, named = "images=picture, text=words", "enumerate(words)"
    return "\n".join(
        [
            "import torch",
            "from PIL import Image",
            "from transformers import AutoModelForSemanticSegmentation, AutoProcessor",
            "",
            f"source, trust = {description.name!r}, {{'trust_remote_code': True}}".replace("'", '"'),
            "model = AutoModelForSemanticSegmentation.from_pretrained(source, dtype=torch.float32, **trust).eval()",
            "processor = AutoProcessor.from_pretrained(source, **trust)",
            picture,
            "with torch.inference_mode():",
            f'    outputs = model(**processor({inputs}, return_tensors="pt"))',
            "label_map = processor.post_process_semantic_segmentation(outputs, [(picture.height, picture.width)])[0]",
            f'print({{name: f"{{(label_map == number).float().mean():.1%}}" for number, name in {named}}})',
        ]
    )


def _example_words(records: Sequence[EvaluationRecord]) -> list[str]:
    """The four names with the most pixels in the first result, or any four."""
    if not records:
        return ["sky", "tree", "road", "car"]
    classes = sorted(records[0].result["classes"], key=lambda row: -row["num_true_pixels"])
    return [row["name"] for row in classes[:4]]


def _use_notes(checkpoint: CheckpointInspection) -> str:
    notes = [
        "With `fgaseg_hf` installed and imported, `trust_remote_code` is not needed. The pipeline "
        "`zero-shot-image-segmentation` gives labels, scores and masks."
    ]
    if checkpoint.vocabulary is not None:
        notes.append("Without words the model answers with its vocabulary; with `text=[...]`, with those words.")
    if "F32" not in checkpoint.dtypes:
        notes.append(f"The weights are stored as {', '.join(checkpoint.dtypes)}; a CPU wants `dtype=torch.float32`.")
    return " ".join(notes)


def _training(description: CardDescription) -> str:
    parts = []
    if description.training:
        parts.append(description.training.strip())
    if description.training_command:
        parts.append(f"```\n{_shorten_command(description.training_command.strip())}\n```")
    if description.base_model:
        parts.append(f"It starts from {', '.join(f'`{model}`' for model in description.base_model)}.")
    if description.datasets:
        parts.append(f"Trained on {', '.join(f'`{name}`' for name in description.datasets)}.")
    return "\n\n".join(parts) or "How it was trained was not recorded."


def _measurements(records: Sequence[EvaluationRecord], description: CardDescription) -> str:
    if not records:
        return "It was not measured."
    rows, commands = [], []
    for number, record in enumerate(records, start=1):
        result, report = record.result, record.report
        rows.append(
            [
                str(number),
                f"{_name_data_set(record, description)[0]}, `{report['split']}`",
                record.words,
                f"{result['num_pictures']:,}",
                *(_share(result[name]) for name in ("mean_iou", "mean_iou_present", "pixel_accuracy", "mean_accuracy")),
                _share(result["frequency_weighted_iou"]),
            ]
        )
        for group, values in result["groups"].items():
            if values["mean_iou"] is not None:
                where = f"of these, {values['num_classes']:.0f} classes of the group `{group}`"
                numbers = [_share(values["mean_iou"]), _share(values["mean_iou_present"])]
                rows.append(["", where, "", "", *numbers, "-", "-", "-"])
        commit = f"commit `{report['commit'][:7]}`" if report.get("commit") else "no commit recorded"
        if report.get("uncommitted_changes"):
            commit += " with changes"
        versions = ", ".join(f"{name} {report['versions'].get(name)}" for name in ("torch", "transformers"))
        machine = f"{report['device'].get('type')} ({report['device'].get('name')})"
        commands.append(f"{number}. `{_shown_command(report.get('command', ''))}`; {commit}, {versions}, {machine}")
    header = [
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
    return "\n\n".join(
        [
            "mIoU has two published definitions: the mean over the classes that occur in the truth, and the mean over "
            "those that occur in the truth or in the prediction, where a class that is only predicted counts as 0.",
            _table(header, rows),
            "\n".join(["How the rows were measured:", "", *commands]),
            *_class_tables(records),
        ]
    )


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
            f"{len(names)} occur)</summary>\n\n{_table(header, rows)}\n\n</details>"
        )
    return tables


def _limits(checkpoint: CheckpointInspection, records: Sequence[EvaluationRecord], description: CardDescription) -> str:
    config = checkpoint.config
    sentences = [*description.limits]
    if checkpoint.vocabulary is None or checkpoint.vocabulary.background is None:
        sentences.append(
            "It labels every pixel with one of the given words, also where none fits; `threshold` leaves such pixels "
            "out."
        )
    sentences.append(
        f"Pictures are brought to {config.image_size} x {config.image_size} pixels and seen in patches of "
        f"{checkpoint.patch_size}: what is not much larger than a patch is easily missed. A sliding window "
        "(`segment_with_sliding_window`) looks closer."
    )
    if config.num_kept_classes is not None:
        sentences.append(
            f"With more than {config.num_kept_classes} words, those that look least likely are ruled out for a picture "
            "before the decoder (TopK); `num_kept_classes=None` switches this off."
        )
    for record in records:
        occurring = [row for row in record.result["classes"] if row["num_true_pixels"]]
        never = sum(not row["iou"] for row in occurring)
        if never:
            sentences.append(
                f"Not found at all in `{record.report['split']}`, given {record.words}: {never} of the "
                f"{len(occurring)} classes that occur."
            )
    return "\n".join(f"- {' '.join(sentence.split())}" for sentence in sentences)


def _bias(description: CardDescription) -> str:
    if description.bias:
        return description.bias.strip()
    if description.base_model:
        return (
            "Its towers were trained by others on pictures and texts; what these associate with people, places and "
            "words comes along. It was not examined for bias."
        )
    return "It was not examined for bias."


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


def _shorten_command(command: str) -> str:
    """Leaves line breaks and words as they are, but for absolute paths."""
    return re.sub(r"[^\s='\"]+", lambda word: _shorten_path(word[0]), command)


def _shorten_path(text: str) -> str:
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(text)
        if path.is_absolute() and path.name and "\n" not in text:
            return path.name
    return text


def _per_cent(share: float) -> float:
    return round(100 * share, 2)


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


__all__ = [
    "CardDescription",
    "EvaluationRecord",
    "check_model_card",
    "make_eval_results",
    "make_model_card",
    "without_local_folders",
]

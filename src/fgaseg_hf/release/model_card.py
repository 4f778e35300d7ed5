# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Model cards: facts from the checkpoint, numbers from result files, and words from a description."""

import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData

from .card_description import CardDescription
from .card_measurements import PIPELINE_TAG, describe_measurements, make_eval_results
from .card_sections import (
    describe_bias,
    describe_limits,
    describe_settings,
    describe_training,
    describe_use,
    write_example,
)
from .checkpoint_inspection import CheckpointInspection
from .evaluation_record import EvaluationRecord

LIBRARY_NAME = "transformers"

TAGS = ("semantic-segmentation", "open-vocabulary-segmentation", "zero-shot-image-segmentation", "clip")

# How far a number in a card may be from the result file's: cards round to a tenth of a per cent or finer.
ROUNDING = 0.05 + 1e-9


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
        facts=describe_settings(checkpoint),
        use=(description.use or write_example(checkpoint, records, description)).strip(),
        use_notes=describe_use(checkpoint),
        training=describe_training(description),
        measurements=describe_measurements(records, description),
        limits=describe_limits(checkpoint, records, description),
        bias=describe_bias(description),
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
    except (ValueError, TypeError, yaml.YAMLError, RecursionError) as error:
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


__all__ = ["check_model_card", "make_model_card"]

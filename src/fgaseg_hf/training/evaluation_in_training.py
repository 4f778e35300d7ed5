# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Evaluation while a run trains: numbers for the log, pictures for the trackers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from accelerate import Accelerator
from tqdm.auto import tqdm

from ..data.segmentation_split import SegmentationSplit, spread_evenly
from ..evaluation.prediction_pictures import side_by_side
from ..evaluation.segmentation_evaluation import EvaluationProtocol, SegmentationPredictor, evaluate_segmentation
from ..evaluation.segmentation_results import format_class_table
from .training_arguments import RecipeArguments
from .training_log import TrainingLog


def evaluate_in_training(
    model: Any,
    processor: Any,
    splits: Mapping[str, SegmentationSplit],
    accelerator: Accelerator,
    recipe: RecipeArguments,
    log: TrainingLog,
    *,
    class_groups: Mapping[str, Sequence[str]] | None,
    step: int,
    say: Callable[[str], None],
) -> float:
    """Measures the model on each split, and logs what it finds.

    Args:
        model: not wrapped for distributed training.
        processor: its processor.
        splits: by name.
        accelerator: the run's.
        recipe: the run's.
        log: the run's.
        class_groups: class names by group, to be reported by group.
        step: after which step this is.
        say: prints.

    Returns:
        The mean of the splits' mIoU.
    """
    # asked for the same names whatever the run's seed, so that runs can be compared
    protocol = EvaluationProtocol(vocabulary=recipe.evaluation_vocabulary, batch_size=recipe.evaluation_batch_size)
    scores = []
    for name, split in splits.items():
        evaluation = evaluate_segmentation(
            model,
            processor,
            split,
            accelerator,
            protocol,
            num_pictures=recipe.num_evaluation_pictures,
            progress=partial(
                tqdm,
                desc=f"evaluating {name}",
                leave=False,
                dynamic_ncols=True,
                mininterval=1 if sys.stderr.isatty() else 60,
                disable=not accelerator.is_main_process,
            ),
        )
        if accelerator.is_main_process and accelerator.trackers and recipe.num_logged_pictures:
            predictor = SegmentationPredictor(model.eval(), processor, split, protocol, accelerator.device)
            places = spread_evenly(recipe.num_logged_pictures, len(evaluation.rows))
            log_predictions(name, predictor, [evaluation.rows[place] for place in places], log, step)
        result = evaluation.metric.compute(class_groups)
        scores.append(result.mean_iou or 0.0)
        numbers = {f"{name}/{key}": value for key, value in result.summary().items()}
        iou_by_class = {row.name: row.iou for row in result.classes if row.iou is not None}
        log.write(step, {**numbers, f"{name}/iou_by_class": iou_by_class})
        shown = ", ".join(f"{key} {100 * value:.2f}" for key, value in result.summary().items())
        say(f"step {step}, {name}: {shown}")
        if step == recipe.max_steps:
            say(format_class_table(result, class_groups))
    return sum(scores) / len(scores)


def log_predictions(
    name: str, predictor: SegmentationPredictor, rows: Sequence[int], log: TrainingLog, step: int
) -> None:
    """Shows the trackers some pictures of a split beside prediction and truth: the same ones at each evaluation."""
    pictures = []
    for row in rows:
        ((picture, labels, prediction),) = predictor.predict([row])
        pictures.append(side_by_side(picture, prediction, labels, predictor.split.class_names))
    log.write_pictures(step, {f"{name}/prediction": pictures})

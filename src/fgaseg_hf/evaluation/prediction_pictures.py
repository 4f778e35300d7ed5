# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures beside their predictions and their truth, for a look at what a model does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from PIL import Image, ImageDraw, ImageFont

from ..data.augmentation import IGNORED_LABEL
from ..data.segmentation_split import spread_evenly
from ..inference.visualization import draw_overlay
from .evaluation_arguments import EvaluationArguments
from .segmentation_evaluation import SegmentationEvaluation, SegmentationPredictor


def side_by_side(
    picture: Image.Image, prediction: np.ndarray, labels: np.ndarray, class_names: list[str]
) -> Image.Image:
    """Draws a picture, its prediction and its truth next to each other, each with its legend.

    Args:
        picture: RGB picture.
        prediction: class ids (H, W).
        labels: true class ids (H, W); `IGNORED_LABEL` keeps the picture's own colours.
        class_names: names in id order.
    """
    assert IGNORED_LABEL < 0, "draw_overlay takes negative ids for 'no class'"
    panels = {
        "picture": picture,
        "prediction": draw_overlay(picture, prediction, class_names),
        "truth": draw_overlay(picture, labels, class_names),
    }
    font = ImageFont.load_default(size=16)
    margin, title_height = 8, 26
    canvas = Image.new(
        "RGB",
        (
            sum(panel.width for panel in panels.values()) + margin * (len(panels) + 1),
            max(panel.height for panel in panels.values()) + title_height + margin,
        ),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    left = margin
    for title, panel in panels.items():
        draw.text((left, 4), title, fill="black", font=font)
        canvas.paste(panel, (left, title_height))
        left += panel.width + margin
    return canvas


def save_pictures(
    options: EvaluationArguments,
    evaluation: SegmentationEvaluation,
    predictor: SegmentationPredictor,
    accelerator: Accelerator,
) -> None:
    """Saves the pictures that were asked for: some spread over the split, and the worst."""
    if options.save_pictures is not None:
        number, folder = int(options.save_pictures[0]), Path(options.save_pictures[1])
        wanted = [evaluation.rows[place] for place in spread_evenly(number, len(evaluation.rows))]
        save_side_by_side(predictor, [(row, folder / f"{row:06d}.png") for row in wanted], accelerator)
    if options.worst is not None:
        number, folder = int(options.worst[0]), Path(options.worst[1])
        # named by rank, so that a folder's listing begins with the worst
        files = [
            (row, folder / f"{rank:02d}_row{row:06d}_miou{100 * mean_iou:04.1f}.png")
            for rank, (row, mean_iou) in enumerate(evaluation.worst(number), start=1)
        ]
        save_side_by_side(predictor, files, accelerator)


def save_side_by_side(
    predictor: SegmentationPredictor, files: Sequence[tuple[int, Path]], accelerator: Accelerator
) -> None:
    """Predicts some pictures again and saves each beside its truth; the processes share the work.

    Args:
        predictor: predicts the pictures.
        files: places in the split, each with the file to write.
        accelerator: says which files are this process's.
    """
    for row, path in files[accelerator.process_index :: accelerator.num_processes]:
        path.parent.mkdir(parents=True, exist_ok=True)
        ((picture, labels, prediction),) = predictor.predict([row])
        side_by_side(picture, prediction, labels, predictor.split.class_names).save(path)

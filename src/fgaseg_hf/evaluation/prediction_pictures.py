# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures beside their predictions and their truth, for a look at what a model does."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data.augmentation import IGNORED_LABEL
from ..inference.visualization import draw_overlay


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

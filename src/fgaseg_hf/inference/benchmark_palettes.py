# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Label maps with the ids and colours of Pascal VOC and Cityscapes, for tools that expect these."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from .segmentation import Segmentation

VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
VOC_VOID = 255

CITYSCAPES_LABELS: Mapping[str, tuple[int, tuple[int, int, int]]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""By the name of a class that is evaluated, its id in `*_labelIds.png` and its colour."""


def voc_colours() -> np.ndarray:
    """The 256 colours of Pascal VOC, uint8 (256, 3): the bits of an id, dealt out to the channels in turn."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for shift in range(8):
        for channel in range(3):
            colours[:, channel] |= ((ids >> (3 * shift + channel) & 1) << (7 - shift)).astype(np.uint8)
    return colours


def pascal_voc_picture(result: "Segmentation") -> Image.Image:
    """Draws a segmentation as Pascal VOC does: its ids from 0 (background) to 20, with its palette; 255 elsewhere.

    Raises:
        ValueError: None of the words is a class of Pascal VOC.
    """
    known = {name: place for place, name in enumerate(VOC_NAMES)}
    ids = _ids_by_name(result, known, VOC_VOID, "Pascal VOC", squeeze=True)
    picture = Image.fromarray(ids)
    picture.putpalette(voc_colours().tobytes())
    return picture


def cityscapes_pictures(result: "Segmentation") -> tuple[Image.Image, Image.Image]:
    """Draws a segmentation as Cityscapes does.

    Returns:
        The ids of `*_labelIds.png` (0 where the word is no class of it), and the colours of `*_color.png`.

    Raises:
        ValueError: None of the words is a class of Cityscapes that is evaluated.
    """
    ids = _ids_by_name(result, {name: entry[0] for name, entry in CITYSCAPES_LABELS.items()}, 0, "Cityscapes")
    palette = np.zeros((256, 3), dtype=np.uint8)
    for label_id, colour in CITYSCAPES_LABELS.values():
        palette[label_id] = colour
    return Image.fromarray(ids), Image.fromarray(palette[ids])


def _ids_by_name(
    result: "Segmentation", ids: Mapping[str, int], other: int, benchmark: str, squeeze: bool = False
) -> np.ndarray:
    names = [" ".join(name.split()).casefold() for name in result.class_names]
    if squeeze:
        # Some of its names are two words in one.
        names = [name.replace(" ", "") for name in names]
    if not any(name in ids for name in names):
        raise ValueError(f"None of the words is a class of {benchmark}: its names are {', '.join(ids)}.")
    # The last place is that of pixels without a word, whose number is -1.
    return np.array([*(ids.get(name, other) for name in names), other], dtype=np.uint8)[result.label_map]


__all__ = ["CITYSCAPES_LABELS", "VOC_NAMES", "cityscapes_pictures", "pascal_voc_picture", "voc_colours"]

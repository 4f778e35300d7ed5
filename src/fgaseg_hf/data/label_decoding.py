# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""From label maps as they were published to arrays of ids, and down to the size that a benchmark measures at."""

from functools import cache
from operator import index
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from ..model.label_map_reading import label_map_to_array
from ..model.picture_reading import open_picture
from ..model.quoting import quote

# What a label map's numbers are: class ids in one channel (or palette indices), the colours of Pascal VOC's palette
# (palette pictures are taken too), or the colour code of the full ADE20K.
LabelDecoding = Literal["index", "voc_colours", "ade20k_code"]


def unlabelled_id(num_classes: int) -> int:
    """Returns the id that is never a class and so can mean "not annotated": 255, or 65535 where 255 is a class."""
    return 255 if num_classes <= 255 else 65535


def read_ids(ids: Any, argument: str) -> list[int]:
    """Returns a list of ids as whole numbers.

    Args:
        ids: any iterable of whole numbers.
        argument: what messages call it.

    Raises:
        ValueError: it is something else.
    """
    try:
        if isinstance(ids, str | bytes):
            raise TypeError
        return [index(label) for label in ids]
    except TypeError:
        raise ValueError(f"`{argument}` is {quote(ids)}, but must list whole numbers, as [0, 255] does.") from None


def decode_label_map(label_map: Any, decoding: LabelDecoding = "index") -> np.ndarray:
    """Reads the ids of one label map as they were published.

    Args:
        label_map: a Pillow picture, an array, or a list of rows of ids.
        decoding: what its numbers are; see `LabelDecoding`.

    Returns:
        int64 (height, width).

    Raises:
        ValueError: it has the wrong number of channels for the decoding, or a colour that stands for no id.
    """
    if decoding not in get_args(LabelDecoding):
        raise ValueError(f"The decoding is {decoding!r}: take one of {', '.join(get_args(LabelDecoding))}.")
    if isinstance(label_map, list):
        label_map = np.asarray(label_map)
    if decoding == "index":
        return label_map_to_array(label_map)
    if isinstance(label_map, Image.Image):
        label_map = open_picture(label_map)
        if label_map.mode in ("P", "L") and decoding == "voc_colours":
            return label_map_to_array(label_map)
        # Only a palette or an opacity goes: the colours of the pixels stay as they are.
        if label_map.mode in ("P", "RGBA"):
            label_map = label_map.convert("RGB")
    colours = np.asarray(label_map).astype(np.int64)
    if colours.ndim != 3 or colours.shape[2] != 3:
        raise ValueError(f"Its shape is {colours.shape}: {decoding} needs the three channels red, green and blue.")
    red, green, blue = np.moveaxis(colours, 2, 0)
    if decoding == "ade20k_code":
        return red // 10 * 256 + green
    codes = red << 16 | green << 8 | blue
    palette = voc_palette().astype(np.int64)
    palette_codes = palette[:, 0] << 16 | palette[:, 1] << 8 | palette[:, 2]
    order = palette_codes.argsort()
    places = np.searchsorted(palette_codes[order], codes).clip(max=255)
    ids = order[places]
    if (palette_codes[ids] != codes).any():
        wrong = colours[palette_codes[ids] != codes][0].tolist()
        raise ValueError(f"It holds the colour {wrong}, which Pascal VOC's palette lacks: is the decoding right?")
    return ids


@cache
def voc_palette() -> np.ndarray:
    """Returns the 256 colours of Pascal VOC, uint8 (256, 3): id bits 0, 3, 6 make red's highest bits, and so on."""
    ids = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            taken = 3 * bit + channel
            if taken < 8:
                palette[:, channel] |= ((ids >> taken & 1) << (7 - bit)).astype(np.uint8)
    return palette


def limit_short_side(
    picture: Image.Image, labels: np.ndarray, max_short_side: int | None
) -> tuple[Image.Image, np.ndarray]:
    """Brings the shorter side of a large picture down, the picture bilinear and its labels nearest.

    Args:
        picture: RGB picture.
        labels: ids (height, width) of the same size.
        max_short_side: pixels; None and smaller pictures change nothing.

    Returns:
        Both, of the same new size; the labels keep their type.
    """
    smaller = limit_short_side_of_labels(labels, max_short_side)
    if smaller is labels:
        return picture, labels
    return picture.resize(smaller.shape[::-1], Image.Resampling.BILINEAR), smaller


def limit_short_side_of_labels(labels: np.ndarray, max_short_side: int | None) -> np.ndarray:
    """Brings the shorter side of a large label map down as [`limit_short_side`] does; see there."""
    shorter = min(labels.shape)
    if max_short_side is None or shorter <= max_short_side:
        return labels
    # In whole numbers, halves up, so that no rounding of a fraction decides on a row of pixels.
    height, width = ((2 * side * max_short_side + shorter) // (2 * shorter) for side in labels.shape)
    nearest = Image.fromarray(labels.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(nearest).astype(labels.dtype)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures of 16 bits a value: how many of these they use, and colours of which Pillow keeps the upper halves alone."""

import io
import os
import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from transformers.utils import logging

logger = logging.get_logger(__name__)

# How many bits of 16 cameras, microscopes and scanners fill.
SIGNIFICANT_BITS = (8, 10, 12, 14, 16)
# What Pillow calls the order of the bytes of such colours in a file, and what takes their lower halves for the upper.
COLOURS_OF_SIXTEEN_BITS = re.compile(r"(RGBA?|RGBX);16([BLN])")
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
GREY_WITH_OPACITY = "LA;16B"
FORMATS = ("PNG", "TIFF")
# Larger pictures are put together by and by.
PIXELS_AT_ONCE = 2**20


def white_of(highest: float) -> int:
    """What is white in a picture of 16 bits: the greatest number of the fewest bits that hold its largest value."""
    bits = next(bits for bits in SIGNIFICANT_BITS if highest < 2**bits)
    if bits < SIGNIFICANT_BITS[-1]:
        logger.warning(
            f"A picture of 16 bits has values up to {highest:g} only and is taken for one of {bits} bits: scale its "
            "values by yourself if it is as dark as that."
        )
    return 2**bits - 1


@dataclass(frozen=True)
class LowerHalves:
    """The lower halves of a picture's colours.

    Attributes:
        file: What gives them when it is decoded.
        are_grey: Whether they are of grey with opacity.
    """

    file: Image.Image
    are_grey: bool

    def join(self, upper: Image.Image) -> None:
        """Scales colours of 16 bits to 8 by the bits that they use, colours and opacity each by their own.

        Args:
            upper: The upper halves, RGB or RGBA, which are written over.
        """
        groups = [slice(0, 3)] + ([slice(3, 4)] if upper.mode == "RGBA" else [])
        height = max(PIXELS_AT_ONCE // upper.width, 1)
        bands = [(0, top, upper.width, min(top + height, upper.height)) for top in range(0, upper.height, height)]
        highest = np.max([self._values(upper, band).max(axis=(0, 1)) for band in bands], axis=0)
        tables = []
        for channels in groups:
            largest = int(highest[channels].max())
            white = white_of(largest) if largest else 1
            tables.append(np.rint(np.arange(largest + 1) * (255 / white)).astype(np.uint8))
        for band in bands:
            values = self._values(upper, band)
            scaled = [table[values[..., channels]] for table, channels in zip(tables, groups, strict=True)]
            upper.paste(Image.fromarray(np.concatenate(scaled, axis=2)), band[:2])
        transparency = upper.info.get("transparency")
        if isinstance(transparency, tuple):
            last = len(tables[0]) - 1
            upper.info["transparency"] = tuple(int(tables[0][min(value, last)]) for value in transparency)

    def _values(self, upper: Image.Image, band: tuple[int, int, int, int]) -> np.ndarray:
        """The values of a band, uint16 (height, width, channels)."""
        above, below = (np.asarray(half.crop(band)) for half in (upper, self.file))
        return above.astype(np.uint16) << 8 | (below[..., [1, 1, 1, 3]] if self.are_grey else below)


def lower_halves_of(file: Image.Image) -> LowerHalves | None:
    """Opens a file once more so that decoding it gives the lower halves of its values.

    Args:
        file: A picture that is not decoded yet.

    Returns:
        `None` if the file has no colours of 16 bits.
    """
    tiles = getattr(file, "tile", None)
    if file.format not in FORMATS or not tiles:
        return None
    orders = [_lower_order(tile[3]) for tile in tiles]
    if None in orders:
        return None
    twin = Image.open(_content_of(file))
    if file.tell():
        twin.seek(file.tell())
    vars(twin)["tile"] = [
        tile._replace(args=order) if hasattr(tile, "_replace") else (*tile[:3], order)
        for tile, order in zip(vars(twin)["tile"], orders, strict=True)
    ]
    return LowerHalves(twin, are_grey="RGBA" in (orders[0], orders[0][0]))


def _lower_order(arguments: Any) -> Any:
    """What a decoder is to be told for the lower halves; `None` where there are none."""
    order, *others = arguments if isinstance(arguments, tuple) else (arguments,)
    found = COLOURS_OF_SIXTEEN_BITS.fullmatch(order) if isinstance(order, str) else None
    if found is not None:
        changed = f"{found[1]};16{OTHER_ORDER[found[2]]}"
    elif order == GREY_WITH_OPACITY:
        # All four bytes of a pixel, of which the second and the last are the lower ones.
        changed = "RGBA"
    else:
        return None
    return (changed, *others) if isinstance(arguments, tuple) else changed


def _content_of(file: Any) -> Any:
    name = getattr(file, "filename", "")
    if name and os.path.isfile(name):
        return name
    place = file.fp.tell()
    file.fp.seek(0)
    content = file.fp.read()
    file.fp.seek(place)
    return io.BytesIO(content)

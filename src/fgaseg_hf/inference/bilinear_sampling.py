# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A picture of any size made a small square bilinearly, by reading the pixels that this takes and no others."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

# Of a large picture so many pixels are looked at at once.
PIXELS_AT_ONCE = 2**22


def sample_bilinearly(
    picture: Image.Image, side: int, normalise: Callable[[Image.Image], torch.Tensor]
) -> torch.Tensor:
    """Resizes a picture as PyTorch resizes what it normalises to (bilinear, align_corners False, no antialiasing).

    Each new pixel is made of four old ones. Normalised are these alone, where a large picture as a whole would take
    twelve bytes a pixel.

    Args:
        picture: RGB.
        side: Of the square.
        normalise: Makes (1, channels, height, width) of a picture without resizing it.

    Returns:
        (1, channels, side, side).
    """
    rows, row_shares = _neighbours(picture.height, side)
    columns, column_shares = _neighbours(picture.width, side)
    values = normalise(Image.fromarray(_pixels_at(picture, rows, columns)))
    row_shares = row_shares.to(values.device, values.dtype)[:, None]
    column_shares = column_shares.to(values.device, values.dtype)
    along = torch.lerp(values[..., 0::2], values[..., 1::2], column_shares)
    return torch.lerp(along[..., 0::2, :], along[..., 1::2, :], row_shares)


def _neighbours(length: int, new_length: int) -> tuple[np.ndarray, torch.Tensor]:
    """Of each new place the two old ones beside it, one after the other, and the share of the second."""
    # In the precision in which PyTorch counts them.
    scale = torch.tensor(length / new_length, dtype=torch.float32)
    places = ((torch.arange(new_length) + 0.5) * scale - 0.5).clamp(min=0)
    first = places.floor().long().clamp(max=length - 1)
    second = (first + 1).clamp(max=length - 1)
    return torch.stack((first, second), dim=1).flatten().numpy(), places - first


def _pixels_at(picture: Image.Image, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Reads the pixels where such rows and columns meet, uint8 (rows, columns, 3)."""
    found = np.empty((len(rows), len(columns), 3), np.uint8)
    band_height = max(PIXELS_AT_ONCE // picture.width, 1)
    for top in range(0, picture.height, band_height):
        bottom = min(top + band_height, picture.height)
        inside = np.flatnonzero((rows >= top) & (rows < bottom))
        if len(inside):
            band = np.asarray(picture.crop((0, top, picture.width, bottom)))
            found[inside] = band[np.ix_(rows[inside] - top, columns)]
    return found


__all__ = ["sample_bilinearly"]

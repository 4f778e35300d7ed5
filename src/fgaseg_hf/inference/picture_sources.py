# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Whatever a picture may come as -> an upright RGB picture, and what to call it."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ..model.picture_arrays import picture_to_array, read_rgb
from .picture_search import HEIC_SUFFIXES, is_address, name_of_address, open_heic_too

PictureSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | torch.Tensor
"""One picture: a path, an `http(s)` address, a file's bytes, a Pillow picture of any mode, or an array."""


def is_one_picture(source: Any) -> bool:
    """Whether this is one picture, and not a list or an iterator of several."""
    if isinstance(source, np.ndarray | torch.Tensor):
        return source.ndim < 4
    return isinstance(source, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)


def read_picture(source: PictureSource) -> Image.Image:
    """Reads one picture of any kind.

    Args:
        source: See [`PictureSource`]. Arrays are (height, width) or have 1, 3 or 4 channels, first or last; floats
            between 0 and 1 are shares of white, others values up to 255.

    Returns:
        RGB, with its EXIF orientation applied, transparency laid on white.

    Raises:
        ValueError: It cannot be read, or has no pixels.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return read_rgb(_open_bytes(bytes(source)))
    if isinstance(source, str | os.PathLike | Image.Image):
        if not isinstance(source, Image.Image) and str(source).lower().endswith(HEIC_SUFFIXES):
            open_heic_too()
        return read_rgb(source)
    if isinstance(source, np.ndarray | torch.Tensor):
        return _picture_of_array(source)
    raise ValueError(
        f"Cannot read a picture from a {type(source).__name__}: give a path, an address, a file's bytes, a Pillow "
        "picture or an array."
    )


def name_of_source(source: Any) -> str:
    """What a picture is called in file names: its file's name without ending, "picture" where it has none."""
    if isinstance(source, Image.Image):
        source = getattr(source, "filename", "")
    if isinstance(source, str) and is_address(source):
        return name_of_address(source)
    # A longer text is a picture itself, in base64.
    if isinstance(source, str | os.PathLike) and not str(source).startswith("data:") and len(str(source)) < 4096:
        return Path(source).stem or "picture"
    return "picture"


def _open_bytes(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"The {len(content)} bytes are no picture that Pillow opens: give those of one.") from error


def _picture_of_array(array: np.ndarray | torch.Tensor) -> Image.Image:
    is_floating_point = array.is_floating_point() if isinstance(array, torch.Tensor) else array.dtype.kind == "f"
    numel = array.numel() if isinstance(array, torch.Tensor) else array.size
    are_fractions = bool(is_floating_point and numel and array.max() <= 1)
    pixels = picture_to_array(array, values_are_fractions=are_fractions)
    if pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels * (255 if are_fractions else 1), 0, 255)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


__all__ = ["PictureSource", "is_one_picture", "name_of_source", "read_picture"]

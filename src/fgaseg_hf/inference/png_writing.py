# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""PNG files written band by band, so that a large picture is never in memory as a whole for its file's sake."""

import os
import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image

from .output_marks import MARK

CHANNELS = 3
# What each row may be stored as the difference to, by PNG's numbers: left, above, and Paeth's choice of three.
LEFT, ABOVE, PAETH = 1, 2, 4


def write_png(path: str | os.PathLike[str], size: tuple[int, int], bands: Iterable[Image.Image], level: int) -> None:
    """Writes an RGB picture that comes in bands from its top to its bottom, with the mark of this package.

    Args:
        path: The file.
        size: Width and height of the whole picture.
        bands: RGB pictures of that width, whose heights sum to that height.
        level: Of compression, from 0 to 9.

    Raises:
        ValueError: The bands do not fit the size.
        OSError: The file cannot be written.
    """
    compression = zlib.compressobj(level, strategy=zlib.Z_FILTERED)
    above = np.zeros(size[0] * CHANNELS, np.uint8)
    num_rows = 0
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
        _write_chunk(file, b"tEXt", b"Software\0" + MARK.encode("latin-1"))
        for band in bands:
            if band.mode != "RGB" or band.width != size[0]:
                raise ValueError(f"A band is {band.mode}, {band.width} wide: give RGB, {size[0]} wide.")
            rows = np.asarray(band).reshape(band.height, -1)
            if part := compression.compress(_filtered(rows, above)):
                _write_chunk(file, b"IDAT", part)
            above, num_rows = rows[-1], num_rows + band.height
        if num_rows != size[1]:
            raise ValueError(f"The bands have {num_rows} rows: give {size[1]}.")
        _write_chunk(file, b"IDAT", compression.flush())
        _write_chunk(file, b"IEND", b"")


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)) + kind)
    file.write(content)
    file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))


def _filtered(rows: np.ndarray, above_first: np.ndarray) -> bytes:
    """Stores each row as those differences that are smallest in sum, as PNG's own description advises.

    Args:
        rows: uint8 (rows, bytes).
        above_first: The row above the first of them.
    """
    left, above, above_left = np.zeros_like(rows), np.empty_like(rows), np.zeros_like(rows)
    left[:, CHANNELS:] = rows[:, :-CHANNELS]
    above[0], above[1:] = above_first, rows[:-1]
    above_left[:, CHANNELS:] = above[:, :-CHANNELS]
    kinds = np.array([LEFT, ABOVE, PAETH], np.uint8)
    differences = np.stack([rows - left, rows - above, rows - _paeth(left, above, above_left)])
    # Modulo 256: 255 is as small as 1.
    sums = np.minimum(differences, -differences).sum(axis=2, dtype=np.int64)
    best = sums.argmin(axis=0)
    stored = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    stored[:, 0] = kinds[best]
    stored[:, 1:] = differences[best, np.arange(len(rows))]
    return stored.tobytes()


def _paeth(left: np.ndarray, above: np.ndarray, above_left: np.ndarray) -> np.ndarray:
    """Of three neighbours the one that is nearest to left + above - above left."""
    down, along = above.astype(np.int16) - above_left, left.astype(np.int16) - above_left
    to_left, to_above, to_corner = np.abs(down), np.abs(along), np.abs(down + along)
    of_two = np.where(to_above <= to_corner, above, above_left)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, of_two)


__all__ = ["write_png"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Strategies of what people and strangers hand in: pictures, files, texts, and whatever is none of these."""

import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image

MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBa", "La", "I;16")

DTYPES = st.sampled_from(
    ("u1", "u2", ">u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "?", "c8", "U3", "O")
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.just({}),
    st.just([]),
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(st.characters(codec=None), max_size=6),
    st.sampled_from(["sky", "Sky ", "red  car", "café", "cafe\u0301", "a\nb", "\ud800", "天空", "x" * 3000, "{}", ""]),
)


RANKS = st.sampled_from((0, 1, 2, 3, 3, 3, 3, 3, 4, 5))
HOW_OFTEN_USUAL = 4


def usually(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What a door is made for four times in five, and something odd else."""
    return st.integers(0, HOW_OFTEN_USUAL).flatmap(lambda number: odd if number == HOW_OFTEN_USUAL else usual)


@st.composite
def arrays(draw: Any, ranks: st.SearchStrategy[int] = RANKS, longest: int = 6) -> np.ndarray:
    sides = usually(st.integers(1, longest), st.integers(0, longest))
    shape = tuple(draw(sides) for _ in range(draw(ranks)))
    if draw(usually(st.just(True), st.just(False))) and len(shape) == 3:
        place = draw(st.sampled_from((0, 2)))
        shape = (*shape[:place], draw(st.sampled_from((1, 3, 4))), *shape[place + 1 :])
    dtype = np.dtype(draw(DTYPES))
    if dtype.kind in "UO":
        return np.full(shape, "x", dtype)
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    highest = draw(st.sampled_from((1, 1.0, 255, 4095, 65535, 1e9)))
    values = generator.random(shape) * highest - draw(st.sampled_from((0, 0, 0, highest / 2)))
    with np.errstate(all="ignore"):
        array = np.asarray(values).astype(dtype)
    if dtype.kind in "fc" and array.size and draw(st.integers(0, 3)) == 0:
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from((np.nan, np.inf, -np.inf)))
    return array


@st.composite
def tensors(draw: Any) -> torch.Tensor:
    array = draw(arrays())
    if array.dtype.kind in "UO" or array.dtype.byteorder == ">":
        return torch.zeros(draw(st.sampled_from(((3, 4, 4), (4, 4, 3), (2, 2)))), device="meta")
    tensor = torch.from_numpy(array)
    if draw(st.integers(0, 3)) == 0:
        tensor = tensor.to(draw(st.sampled_from((torch.bfloat16, torch.float16))))
    return tensor


@st.composite
def pillow_pictures(draw: Any) -> Image.Image:
    mode = draw(st.sampled_from(MODES))
    picture = Image.new(mode, tuple(draw(usually(st.integers(1, 9), st.integers(0, 9))) for _ in range(2)))
    if draw(st.booleans()):
        picture.info["exif"] = draw(st.binary(max_size=40))
    if draw(st.integers(0, 3)) == 0:
        picture.info["transparency"] = draw(st.one_of(st.integers(-1, 300), st.binary(max_size=3)))
    return picture


PICTURES = usually(st.one_of(arrays(), tensors(), pillow_pictures()), ODD)


@cache
def whole_files() -> list[bytes]:
    """Small files of every format that Pillow writes."""
    files = []
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode, picture_format in [
        *[(mode, "PNG") for mode in ("1", "L", "P", "RGB", "RGBA", "I;16")],
        *[(mode, "TIFF") for mode in ("1", "L", "P", "RGB", "CMYK", "F", "I;16")],
        *[
            ("RGB", name)
            for name in ("JPEG", "BMP", "GIF", "PPM", "WEBP", "ICO", "TGA", "PCX", "SGI", "DDS", "JPEG2000")
        ],
    ]:
        picture = (
            Image.fromarray(pixels).convert(mode) if mode != "I;16" else Image.fromarray(pixels[..., 0] * np.uint16(9))
        )
        stream = io.BytesIO()
        options = {"exif": exif} if picture_format in ("PNG", "JPEG", "WEBP", "TIFF") else {}
        try:
            picture.save(stream, picture_format, **options)
        except (OSError, KeyError):  # not built into this Pillow
            continue
        files.append(stream.getvalue())
    return files


@st.composite
def damaged(draw: Any, wholes: Callable[[], Sequence[bytes]], num_damages: Any, width: int, longest_cut: int) -> bytes:
    """Files in which bytes were changed, written over, cut out and put in.

    Args:
        draw: Hypothesis'.
        wholes: Makes what they were, when the first is drawn.
        num_damages: A strategy.
        width: How many bytes are written over at a time.
        longest_cut: How many are cut out at most.
    """
    content = bytearray(draw(st.sampled_from(wholes())))
    for _ in range(draw(num_damages)):
        place = draw(st.integers(0, len(content) - 1))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            content[place] = draw(st.integers(0, 255))
        elif kind == 1:
            content[place : place + width] = draw(st.binary(min_size=width, max_size=width))
        elif kind == 2:
            del content[place : place + draw(st.integers(1, longest_cut))]
        else:
            content[place:place] = draw(st.binary(max_size=20))
        if not content:
            break
    return bytes(content)


def picture_files() -> st.SearchStrategy[bytes]:
    return damaged(whole_files, st.integers(0, 6), 4, 40)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures of every kind made arrays of 8-bit colours or of floating-point values, with their channels first."""

import os
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms
from transformers.image_utils import ChannelDimension
from transformers.utils import logging

from .picture_reading import DECLARED_MAXIMUM, Source, name_picture, open_picture
from .quoting import reason_of
from .sixteen_bits import white_of

logger = logging.get_logger(__name__)

SIXTEEN_BIT_MAXIMUM = 2**16 - 1
# Larger pictures are converted by and by, for what a conversion needs on its way to be small beside the picture.
PIXELS_AT_ONCE = 2**22
CHANNEL_COUNTS = (1, 3, 4)


def read_rgb(source: Source, timeout: float | None = None) -> Image.Image:
    """Reads a picture from wherever it lies as 8-bit RGB: [`open_picture`], then [`picture_to_rgb`].

    Args:
        source: See [`open_picture`].
        timeout: See [`open_picture`].

    Returns:
        A picture of mode `RGB`, upright.

    Raises:
        ValueError: It cannot be read, or holds numbers that no 8- or 16-bit picture has; the message names it.
    """
    picture = open_picture(source, timeout)
    try:
        return picture_to_rgb(picture)
    # Colours that a damaged palette or profile lacks show in several ways.
    except Exception as error:
        raise ValueError(f"Cannot use {name_picture(source)}. {reason_of(error)}.") from error


def picture_to_rgb(picture: Image.Image) -> Image.Image:
    """Converts a Pillow picture of any mode to 8-bit RGB.

    Transparent pictures are laid on white. 16-bit pictures are scaled to 8 bits, as are those of the modes `I` and `F`
    when their values go beyond 255 (`F` with values in [0, 1] is taken as a fraction of white), by the bits that they
    use: those that the file declares, or else the fewest of 8, 10, 12, 14 and 16 that hold the largest value, and a
    warning says so.

    Args:
        picture: A picture of any mode and of any size but zero.

    Returns:
        A picture of mode `RGB` and of the same size; the same one, if it is that already.

    Raises:
        ValueError: The picture has no pixels, or numbers that no 8- or 16-bit picture has.
    """
    if 0 in picture.size:
        raise ValueError(f"The picture is {picture.width} x {picture.height}: give one with at least one pixel a side.")
    mode = picture.mode
    if mode == "RGB" and "transparency" not in picture.info:
        return picture
    if mode.startswith("I;16") or mode in ("I", "F"):
        grey = to_eight_bits(np.asarray(picture), True, picture.info.get(DECLARED_MAXIMUM))
        return Image.fromarray(grey).convert("RGB")
    rows = max(PIXELS_AT_ONCE // picture.width, 1)
    if rows >= picture.height:
        return _colours_to_rgb(picture)
    converted = Image.new("RGB", picture.size)
    for top in range(0, picture.height, rows):
        band = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        converted.paste(_colours_to_rgb(band), (0, top))
    return converted


def _colours_to_rgb(picture: Image.Image) -> Image.Image:
    """Converts a picture of at most 8 bits a value, whichever its colours and transparency are."""
    mode = picture.mode
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        if mode in ("La", "RGBa"):
            # Premultiplied modes convert to their plain twin only.
            picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[mode])
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if mode == "LAB":
        lab_to_rgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), inMode="LAB", outMode="RGB"
        )
        converted = ImageCms.applyTransform(picture, lab_to_rgb)
        assert converted is not None  # only the in-place form returns None
        return converted
    return picture.convert("RGB")


def to_eight_bits(
    values: np.ndarray, fractions_allowed: bool = False, declared_maximum: int | None = None
) -> np.ndarray:
    """Scales grey or colour values of any shape to uint8.

    Values of uint16, and wider integers and floats where any is above 255, are scaled by the bits that they use, see
    [`picture_to_rgb`].

    Args:
        values: At least one number.
        fractions_allowed: Whether floating-point values of 0 to 1 are shares of white.
        declared_maximum: What is white, where that is known.

    Raises:
        ValueError: A value is not finite, negative or above 65535.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    lowest, highest = values.min(), values.max()
    if not (lowest >= 0 and highest <= SIXTEEN_BIT_MAXIMUM):
        raise ValueError(
            f"Its values go from {lowest} to {highest}: give values from 0 to 255, or from 0 to 65535 for 16 bits."
        )
    is_sixteen_bits = values.dtype.kind == "u" and values.dtype.itemsize == 2
    if fractions_allowed and values.dtype.kind == "f" and highest <= 1:
        white: float = 1
    elif highest > 255 or (is_sixteen_bits and highest > 0):
        white = declared_maximum if declared_maximum and declared_maximum >= highest else white_of(float(highest))
    else:
        white = 255
    if values.dtype.kind == "f":
        return np.rint(values.astype(np.float64) * (255 / white)).astype(np.uint8)
    # One look-up a value, since scaling each in float64 would take eight bytes more.
    table = np.rint(np.arange(int(highest) + 1) * (255 / white)).astype(np.uint8)
    return table[values]


def to_numpy(array: np.ndarray | torch.Tensor) -> np.ndarray:
    """Makes an array of a tensor, and values of half precision float32.

    Raises:
        ValueError: It has no values, or they are no numbers.
    """
    if isinstance(array, torch.Tensor):
        if array.is_meta or array.is_sparse or array.is_quantized:
            raise ValueError("It is a tensor without plain values (meta, sparse or quantised): give numbers.")
        if array.is_complex():
            raise ValueError(f"Its type is {array.dtype}: give real numbers.")
        array = array.detach().cpu()
        # NumPy has no bfloat16; half precision would lose bits in the resizing that follows.
        array = array.float() if array.is_floating_point() and array.dtype != torch.float64 else array
        return array.resolve_conj().resolve_neg().numpy()
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Its type is {array.dtype}: give real numbers.")
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array.astype(np.float64) if array.dtype.kind == "f" and array.dtype.itemsize > 8 else array


def channel_layout(array: np.ndarray | torch.Tensor) -> ChannelDimension:
    """Finds where the channels of a picture of rank 3 lie.

    Where both ends could be the channels, three of them come before four; else those of arrays lie last and those of
    tensors first, as their libraries have it, and a warning says so.

    Args:
        array: 1, 3 or 4 channels at one end.

    Raises:
        ValueError: It has no such shape.
    """
    shape = tuple(array.shape)
    first, last = (side in CHANNEL_COUNTS for side in (shape[0], shape[-1])) if len(shape) == 3 else (False, False)
    if not first and not last:
        raise ValueError(f"Its shape is {shape}: give (height, width), or 1, 3 or 4 channels first or last.")
    if first != last:
        return ChannelDimension.FIRST if first else ChannelDimension.LAST
    if {shape[0], shape[-1]} == {3, 4}:
        layout = ChannelDimension.FIRST if shape[0] == 3 else ChannelDimension.LAST
    else:
        layout = ChannelDimension.FIRST if isinstance(array, torch.Tensor) else ChannelDimension.LAST
    logger.warning(
        f"The shape {shape} of a picture may have its channels first or last, and is taken as channels "
        f"{layout.value.removeprefix('channels_')}: say `input_data_format`."
    )
    return layout


def picture_to_array(
    picture: Source | np.ndarray | torch.Tensor,
    do_convert_rgb: bool = True,
    input_data_format: str | ChannelDimension | None = None,
    values_are_fractions: bool = False,
) -> np.ndarray:
    """Turns one picture of any kind into an array with its channels first.

    Args:
        picture: A Pillow picture of any mode, a path or address of one, or an array or tensor of shape (height, width),
            (channels, height, width) or (height, width, channels) with 1, 3 or 4 channels.
        do_convert_rgb: Whether to make three channels of 8 bits out of it: grey is repeated, transparency is laid on
            white. Floating-point arrays stay floating-point.
        input_data_format: `"channels_first"` or `"channels_last"`; see [`channel_layout`] for what holds without it.
        values_are_fractions: Whether floating-point arrays hold values that are not to be divided by 255 any more
            (`do_rescale=False`).

    Returns:
        Array of shape (channels, height, width), uint8, or float32/float64 for floating-point arrays.

    Raises:
        ValueError: The picture has no pixels, an impossible shape, or values out of range.
    """
    if isinstance(picture, str | os.PathLike | Image.Image):
        picture = open_picture(picture)
        pixels = np.asarray(picture_to_rgb(picture) if do_convert_rgb else picture)
        _check_finite(pixels)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    array = to_numpy(picture)
    if array.size == 0:
        raise ValueError(f"Its shape is {array.shape}: give a picture with at least one pixel a side.")
    _check_finite(array)
    if array.ndim == 2:
        array = array[None]
    else:
        layout = ChannelDimension(input_data_format) if input_data_format else channel_layout(picture)
        if array.ndim != 3:
            raise ValueError(f"Its shape is {array.shape}: give (height, width), or channels first or last.")
        if layout == ChannelDimension.LAST:
            array = array.transpose(2, 0, 1)
        if array.shape[0] not in CHANNEL_COUNTS:
            raise ValueError(f"It has {array.shape[0]} channels: give 1, 3 or 4.")
    return _array_to_rgb(array, values_are_fractions) if do_convert_rgb else array


def _check_finite(array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise ValueError("Some of its values are not finite: give numbers.")


def _array_to_rgb(array: np.ndarray, values_are_fractions: bool) -> np.ndarray:
    """Makes three channels of 1, 3 or 4, which come first."""
    white = 255.0
    if array.dtype.kind == "f":
        lowest, highest = array.min(), array.max()
        if not values_are_fractions and (lowest < 0 or highest > 255):
            raise ValueError(
                f"Its values go from {lowest:g} to {highest:g}: give values from 0 to 255, or scaled ones with "
                " do_rescale=False."
            )
        if not values_are_fractions and 0 < highest <= 1:
            raise ValueError(
                "Its values lie between 0 and 1 and would be divided by 255 once more: pass do_rescale=False, or "
                "values from 0 to 255."
            )
        white = 1.0 if values_are_fractions else 255.0
    else:
        array = to_eight_bits(array)
    if array.shape[0] == 1:
        return np.repeat(array, 3, axis=0)
    if array.shape[0] == 4:
        opacity = array[3:] / white
        on_white = array[:3] * opacity + white * (1 - opacity)
        return np.rint(on_white).astype(np.uint8) if array.dtype == np.uint8 else on_white.astype(array.dtype)
    return array


def flatten_pictures(images: Any, num_dimensions: int) -> list[Any]:
    """Lists the single pictures, or where they lie, in any nesting of lists and batches.

    Args:
        images: Pictures, paths and addresses; arrays and tensors of one rank more are batches.
        num_dimensions: The rank of one picture.

    Raises:
        ValueError: Something is no picture.
    """
    if isinstance(images, (list, tuple)):
        return [picture for entry in images for picture in flatten_pictures(entry, num_dimensions)]
    if isinstance(images, (np.ndarray, torch.Tensor)):
        return list(images) if images.ndim == num_dimensions + 1 else [images]
    if isinstance(images, (str, os.PathLike, Image.Image)):
        return [images]
    raise ValueError(
        f"Cannot read a picture from a {type(images).__name__}: give a path, a Pillow picture or an array."
    )

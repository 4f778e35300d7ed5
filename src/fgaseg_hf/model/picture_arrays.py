# Copyright 2026 The fgaseg_hf authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Pictures of every kind made arrays of 8-bit colours or of floating-point values, with their channels first."""

import os
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms
from transformers.image_utils import ChannelDimension, infer_channel_dimension_format

from .picture_reading import open_picture

SIXTEEN_BIT_MAXIMUM = 2**16 - 1

Picture = Image.Image | np.ndarray | torch.Tensor


def picture_to_rgb(picture: Image.Image) -> Image.Image:
    """Converts a Pillow picture of any mode to 8-bit RGB.

    Transparent pictures are laid on white. 16-bit pictures are scaled to 8 bits, as are those of the modes `I` and `F`
    when their values go beyond 255 (`F` with values in [0, 1] is taken as a fraction of white).

    Args:
        picture: A picture of any mode and of any size but zero.

    Returns:
        A picture of mode `RGB` and of the same size.

    Raises:
        ValueError: The picture has no pixels, or numbers that no 8- or 16-bit picture has.
    """
    if 0 in picture.size:
        raise ValueError(f"The picture is {picture.width} x {picture.height}: give one with at least one pixel a side.")
    mode = picture.mode
    if mode.startswith("I;16") or mode in ("I", "F"):
        grey = _to_eight_bits(np.asarray(picture), fractions_allowed=True)
        return Image.fromarray(grey).convert("RGB")
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


def _to_eight_bits(values: np.ndarray, fractions_allowed: bool = False) -> np.ndarray:
    """Scales grey or colour values of any shape to uint8.

    The type decides for uint16: its whole range is used. Wider integers and floats carry 16-bit values when any of them
    is above 255.

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
    if values.dtype == np.uint16 or values.dtype.newbyteorder("=") == np.uint16 or highest > 255:
        scaled = values.astype(np.float64) * (255 / SIXTEEN_BIT_MAXIMUM)
    elif fractions_allowed and values.dtype.kind == "f" and highest <= 1:
        scaled = values.astype(np.float64) * 255
    else:
        scaled = values
    return np.rint(scaled).astype(np.uint8)


def to_numpy(array: np.ndarray | torch.Tensor) -> np.ndarray:
    """Makes an array of a tensor, and values of half precision float32."""
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        # NumPy has no bfloat16; half precision would lose bits in the resizing that follows.
        array = array.float() if array.is_floating_point() else array
        return array.numpy()
    return array.astype(np.float32) if array.dtype == np.float16 else array


def picture_to_array(
    picture: Picture,
    do_convert_rgb: bool = True,
    input_data_format: str | ChannelDimension | None = None,
    values_are_fractions: bool = False,
) -> np.ndarray:
    """Turns one picture of any kind into an array with its channels first.

    Args:
        picture: A Pillow picture of any mode, or an array or tensor of shape (height, width), (channels, height, width)
            or (height, width, channels) with 1, 3 or 4 channels.
        do_convert_rgb: Whether to make three channels of 8 bits out of it: grey is repeated, transparency is laid on
            white. Floating-point arrays stay floating-point.
        input_data_format: `"channels_first"` or `"channels_last"`, where the shape alone is ambiguous.
        values_are_fractions: Whether floating-point arrays hold values that are not to be divided by 255 any more
            (`do_rescale=False`).

    Returns:
        Array of shape (channels, height, width), uint8, or float32/float64 for floating-point arrays.

    Raises:
        ValueError: The picture has no pixels, an impossible shape, or values out of range.
    """
    if isinstance(picture, Image.Image):
        picture = open_picture(picture)
        if do_convert_rgb:
            picture = picture_to_rgb(picture)
        pixels = np.asarray(picture)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    array = to_numpy(picture)
    if array.size == 0:
        raise ValueError(f"Its shape is {array.shape}: give a picture with at least one pixel a side.")
    if array.ndim == 2:
        array = array[None]
    else:
        try:
            layout = input_data_format or infer_channel_dimension_format(array, num_channels=(1, 3, 4))
        except ValueError as error:
            raise ValueError(
                f"Its shape is {array.shape}: give (height, width), or 1, 3 or 4 channels first or last."
            ) from error
        if ChannelDimension(layout) == ChannelDimension.LAST:
            array = array.transpose(2, 0, 1)
    if not do_convert_rgb:
        return array

    if array.dtype.kind == "f":
        lowest, highest = array.min(), array.max()
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise ValueError("Some of its values are not finite: give numbers.")
        if not values_are_fractions and 0 < highest <= 1 and lowest >= 0:
            raise ValueError(
                "Its values lie between 0 and 1 and would be divided by 255 once more: pass do_rescale=False, or "
                "values from 0 to 255."
            )
        white = 1.0 if values_are_fractions else 255.0
    else:
        array = _to_eight_bits(array)
        white = 255.0
    if array.shape[0] == 1:
        return np.repeat(array, 3, axis=0)
    if array.shape[0] == 4:
        opacity = array[3:] / white
        on_white = array[:3] * opacity + white * (1 - opacity)
        return np.rint(on_white).astype(np.uint8) if array.dtype == np.uint8 else on_white.astype(array.dtype)
    return array


def flatten_pictures(images: Any, num_dimensions: int) -> list[Any]:
    """Lists the single pictures in any nesting of lists and batches; `num_dimensions` is the rank of one picture.

    Raises:
        ValueError: Something is no picture, or a file cannot be read.
    """
    if isinstance(images, (list, tuple)):
        return [picture for entry in images for picture in flatten_pictures(entry, num_dimensions)]
    if isinstance(images, (np.ndarray, torch.Tensor)):
        return list(images) if images.ndim == num_dimensions + 1 else [images]
    if isinstance(images, (str, os.PathLike)):
        return [open_picture(images)]
    if isinstance(images, Image.Image):
        return [images]
    raise ValueError(
        f"Cannot read a picture from a {type(images).__name__}: give a path, a Pillow picture or an array."
    )

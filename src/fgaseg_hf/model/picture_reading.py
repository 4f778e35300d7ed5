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
"""Pictures from files, addresses and Pillow, decoded and upright: the one reader that every door goes through."""

import os

from PIL import Image, ImageOps
from transformers.image_utils import load_image


def open_picture(source: str | os.PathLike[str] | Image.Image) -> Image.Image:
    """Opens, decodes and turns a picture upright, keeping its mode.

    Args:
        source: A path, an `http(s)://` address, or a picture that Pillow has already opened.

    Returns:
        The first frame of the picture, decoded, with its EXIF orientation applied.

    Raises:
        ValueError: The picture does not exist, cannot be decoded, or has no pixels.
    """
    name = "the picture" if isinstance(source, Image.Image) else f"the picture {os.fspath(source)!r}"
    try:
        if isinstance(source, Image.Image):
            picture = source
        elif str(source).startswith(("http://", "https://")):
            picture = load_image(str(source))
        else:
            with Image.open(source) as file:
                # Decoded here, inside `with`, so that a broken file is found now and its handle is closed.
                file.load()
                picture = file.copy() if file.size[0] and file.size[1] else file
        if 0 in picture.size:
            raise ValueError(f"its size is {picture.width} x {picture.height}")
        return ImageOps.exif_transpose(picture)
    # Pillow reports broken PNG files as SyntaxError, and pictures of an absurd size by an exception of its own.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = str(error).rstrip(".")
        raise ValueError(f"Cannot read {name} ({reason}): give a picture that Pillow opens.") from error

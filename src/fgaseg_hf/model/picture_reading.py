# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures from files, addresses and Pillow, decoded and upright: the one reader that every door goes through."""

import base64
import binascii
import importlib
import io
import os
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image
from transformers.utils import logging

from .quoting import quote, reason_of
from .sixteen_bits import lower_halves_of

logger = logging.get_logger(__name__)

DEFAULT_TIMEOUT = 60.0
"""Seconds of silence after which a picture from the network is given up."""

MAX_DOWNLOAD_BYTES = 2**29
"""A picture from the network that is longer is not read to its end."""

DECLARED_MAXIMUM = "declared_maximum"
"""Key in a picture's `info`: the largest value that its file says it can hold, where its type could hold more."""

ORIENTATION_TAG = 0x0112
# What undoes each EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where pictures keep the orientation that was applied.
METADATA_WITH_ORIENTATION = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
# The further frames of these formats are previews and smaller copies of the same picture: nothing is lost with them.
FORMATS_OF_ONE_PICTURE = ("MPO", "ICO", "ICNS", "CUR")
# Pillow hands these to programs of the system, which strangers' pictures shall not reach.
FORMATS_OF_PROGRAMS = ("EPS", "WMF")
TIFF_BITS_PER_SAMPLE = 258
# Shorter texts are names of files that are missing.
SHORTEST_BASE64 = 40
BASE64 = re.compile(r"[A-Za-z0-9+/\s]+=?\s*=?\s*")

Source = str | os.PathLike[str] | Image.Image


def open_picture(source: Source, timeout: float | None = None) -> Image.Image:
    """Opens, decodes and turns a picture upright, keeping its mode.

    Of a file of several frames the first is taken, and a warning says so. A picture of more pixels than
    `PIL.Image.MAX_IMAGE_PIXELS`, which can be set higher, is refused before it is decoded.

    Args:
        source: A path, an `http(s)://` address, a `data:` address, a picture's file as base64, or a picture that Pillow
            has already opened.
        timeout: Seconds of silence after which an address is given up; a minute, if not given.

    Returns:
        The first frame of the picture, decoded, with its EXIF orientation applied where that can be read. It shares the
        pixels of a picture that was given: copy it before you draw on it.

    Raises:
        ValueError: The picture does not exist, cannot be decoded, is too large, or has no pixels.
    """
    if not isinstance(source, str | os.PathLike | Image.Image):
        raise ValueError(f"Cannot read a picture from a {type(source).__name__}: give a path or a Pillow picture.")
    name = name_picture(source)
    with _unreadable_named(name):
        if isinstance(source, Image.Image):
            return _decode(source, name)
        with Image.open(_open_content(source, timeout)) as file:
            # Decoded here, inside `with`, so that a broken file is found now and its handle is closed.
            return _decode(file, name)


def name_picture(source: Any) -> str:
    """What messages call a picture: its path or address, shortened, where it has one."""
    if not isinstance(source, str | os.PathLike):
        return "the picture"
    return f"the picture {quote(os.fspath(source))}"


@contextmanager
def _unreadable_named(name: str) -> Iterator[None]:
    """Says in a sentence why a picture cannot be read, whatever a decoder raises over a broken one."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"Cannot read {name}: it has more pixels than the {Image.MAX_IMAGE_PIXELS} that are read; if you trust it, "
            "set `PIL.Image.MAX_IMAGE_PIXELS` higher, or --max-megapixels on the command line."
        ) from error
    except Exception as error:
        reason = "no format that Pillow knows" if isinstance(error, Image.UnidentifiedImageError) else reason_of(error)
        raise ValueError(f"Cannot read {name} ({reason}): give a picture that Pillow opens.") from error


def _open_content(source: str | os.PathLike[str], timeout: float | None) -> Any:
    """Returns what `Image.open` takes: a path, or the bytes of an address or of base64."""
    if not isinstance(source, str):
        return source
    if source.startswith(("http://", "https://")):
        return io.BytesIO(_download(source, DEFAULT_TIMEOUT if timeout is None else timeout))
    if source.startswith("data:"):
        header, comma, content = source.partition(",")
        if not comma:
            raise ValueError("a `data:` address without a comma")
        plain = urllib.parse.unquote_to_bytes(content)
        return io.BytesIO(_from_base64(plain) if header.endswith(";base64") else plain)
    if len(source) >= SHORTEST_BASE64 and not os.path.exists(source) and BASE64.fullmatch(source):
        return io.BytesIO(_from_base64(source))
    return source


def _from_base64(text: str | bytes) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    try:
        return base64.b64decode(b"".join(encoded.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("no whole base64") from error


def _download(address: str, timeout: float) -> bytes:
    try:
        # The client that the Hub's own library has, by whichever name.
        from huggingface_hub.utils import httpx as client
    except ImportError:
        client = importlib.import_module("httpx")
    content = bytearray()
    with client.stream("GET", address, timeout=timeout, follow_redirects=True) as response:
        if response.is_error:
            raise ValueError(f"the server answers {response.status_code} {response.reason_phrase}".rstrip())
        for part in response.iter_bytes():
            content += part
            if len(content) > MAX_DOWNLOAD_BYTES:
                raise ValueError(f"it is longer than the {MAX_DOWNLOAD_BYTES // 2**20} MiB that are fetched")
    return bytes(content)


def _decode(file: Image.Image, name: str) -> Image.Image:
    """Decodes the frame at which an open picture stands, and turns it upright.

    Raises:
        ValueError: It has no pixels, too many of them, or is of a format that is not read.
    """
    if 0 in file.size:
        raise ValueError(f"its size is {file.width} x {file.height}")
    if file.format in FORMATS_OF_PROGRAMS:
        raise ValueError(f"{file.format} files are no pictures but programs")
    is_encoded = bool(getattr(file, "tile", None))
    limit = Image.MAX_IMAGE_PIXELS
    if is_encoded and limit is not None and file.width * file.height > limit:
        raise Image.DecompressionBombError(str(file.width * file.height))
    _say_what_is_left_out(file, name)
    maximum = _declared_maximum(file)
    lower_halves = lower_halves_of(file)
    orientation = _load(file)
    # Shares the pixels, for a copy of a large picture would cost as much as decoding it.
    picture = file._new(file.im)
    if lower_halves is not None:
        with lower_halves.file as lower:
            _load(lower)
            lower_halves.join(picture)
    if orientation in UPRIGHT:
        picture = picture.transpose(UPRIGHT[orientation])
        for key in METADATA_WITH_ORIENTATION:
            picture.info.pop(key, None)
    if maximum is not None:
        picture.info[DECLARED_MAXIMUM] = maximum
    return picture


def _load(file: Image.Image) -> int:
    """Decodes a picture as it is stored; returns which way that is."""
    if hasattr(file, "tag_v2"):
        orientation = _orientation_of(file)
        # A TIFF turns itself upright at the end of its decoding, where damaged metadata would cost the pixels too; and
        # one that lies on its side and is mapped into memory comes out with its rows mixed.
        as_opened = {"filename": vars(file).get("filename", "")}
        vars(file).update(load_end=lambda: None, filename="")
        try:
            file.load()
        finally:
            del vars(file)["load_end"]
            vars(file).update(as_opened)
    else:
        file.load()
        # Only now, for a PNG may end with its metadata.
        orientation = _orientation_of(file)
    return orientation


def _say_what_is_left_out(file: Image.Image, name: str) -> None:
    """Warns where a file has further frames."""
    if file.format in FORMATS_OF_ONE_PICTURE:
        return
    try:
        num_frames, frame = getattr(file, "n_frames", 1), file.tell()
    # Frames that cannot be counted cannot be shown either.
    except Exception:
        return
    if num_frames > 1 and frame == 0:
        logger.warning(
            f"{name[0].upper()}{name[1:]} has {num_frames} frames: only the first is used; give the others as pictures "
            "of their own."
        )


def _declared_maximum(file: Image.Image) -> int | None:
    """The largest value of a TIFF of 9 to 15 bits, which Pillow reads into 16 as they are."""
    bits = getattr(file, "tag_v2", {}).get(TIFF_BITS_PER_SAMPLE)
    bits = bits[0] if isinstance(bits, tuple) and bits else bits
    return 2**bits - 1 if isinstance(bits, int) and 8 < bits < 16 else None


def _orientation_of(file: Image.Image) -> int:
    """Which way a picture is stored, as EXIF numbers it: upright (1), if damaged metadata do not say."""
    try:
        return int(file.getexif().get(ORIENTATION_TAG, 1))
    # Damaged metadata show in any way.
    except Exception:
        return 1

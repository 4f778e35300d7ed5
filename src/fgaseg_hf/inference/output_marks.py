# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Files that this package wrote say so, so that it never replaces, or segments, another's by accident."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import TiffImageFile

MARK = "fgaseg_hf"
# How far into a text file its mark may stand.
_HEAD_BYTES = 4096


def png_mark() -> PngInfo:
    """What marks a PNG file, to be given to Pillow's `save` as `pnginfo`."""
    information = PngInfo()
    information.add_text("Software", MARK)
    return information


def is_own_file(path: Path) -> bool:
    """Whether this package wrote a file: by the mark in it, whatever its name is."""
    try:
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff"):
            # Its class, since `Image.open` refuses what has very many pixels.
            opened = TiffImageFile(path) if path.suffix.lower() in (".tif", ".tiff") else Image.open(path)
            with opened as picture:
                comment = picture.info.get("comment", b"")
                marks = (picture.info.get("Software"), comment.decode("latin-1") if comment else "")
                return any(str(mark).startswith(MARK) for mark in marks) or _tiff_software(picture).startswith(MARK)
        with path.open("rb") as file:
            return MARK.encode() in file.read(_HEAD_BYTES)
    # What cannot be read was not written here.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _tiff_software(picture: Image.Image) -> str:
    tags = getattr(picture, "tag_v2", None)
    return "" if tags is None else str(tags.get(305, ""))


def refuse_others_files(paths: list[Path], overwrite: bool = False) -> None:
    """Refuses to write where a file of another lies.

    Raises:
        ValueError: One of the files is there and is not this package's own.
    """
    for path in paths:
        if not overwrite and path.exists() and not is_own_file(path):
            raise ValueError(
                f"The file {str(path)!r} is there already and was not written by fgaseg: name another --output, or "
                "replace it with --overwrite."
            )


__all__ = ["MARK", "is_own_file", "png_mark", "refuse_others_files"]

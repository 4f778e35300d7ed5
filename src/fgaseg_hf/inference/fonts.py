# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Fonts that have the letters of a text, and visible escapes for letters that no font here has."""

import functools
import importlib.util
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import ImageFont

# Files to try first: they hold many scripts.
_WIDE_FONTS = (
    *("notosanscjk", "sourcehansans", "arialuni", "arial unicode", "pingfang", "hiragino", "msyh", "wqy"),
    *("droidsansfallback", "unifont", "notosans-regular", "dejavusans.ttf", "freesans", "arial.ttf"),
)
_FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    *("/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts"),
)
# A code point that stands for no letter, so that every font draws its sign for what is missing.
_NO_LETTER = "\U0010fffe"


def writable(text: str, size: int) -> tuple[Any, str]:
    """Finds the font that has most of a text's letters.

    Args:
        text: What is to be written.
        size: In pixels.

    Returns:
        The font, and the text with an escape (its number among all letters) for each letter that it lacks.
    """
    font, shown = _choose(unicodedata.normalize("NFC", text))
    return _load(font, size), shown


@functools.lru_cache(maxsize=1024)
def _choose(text: str) -> tuple[str, str]:
    letters = set(text) - {" "}
    best, least = "", letters
    for path in _font_files():
        missing = {letter for letter in letters if not _has(path, letter)}
        if len(missing) < len(least) or path == "":
            best, least = path, missing
        if not missing:
            break
    return best, "".join(_escape(letter) if letter in least else letter for letter in text)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


@functools.cache
def _font_files() -> tuple[str, ...]:
    """Pillow's own font (the empty name), then those that hold more scripts, best first."""
    found = list(_fonts_of_packages())
    for folder in map(Path, map(os.path.expanduser, _FOLDERS)):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.suffix.lower() in (".ttf", ".ttc", ".otf"):
                found.append(str(path))
    wide = [name for mark in _WIDE_FONTS for name in found if mark in Path(name).name.lower()]
    return ("", *dict.fromkeys(wide))


def _fonts_of_packages() -> Iterator[str]:
    spec = importlib.util.find_spec("matplotlib")
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(location) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            yield str(path)


@functools.lru_cache(maxsize=64)
def _load(path: str, size: int) -> Any:
    return ImageFont.load_default(size=size) if path == "" else ImageFont.truetype(path, size)


@functools.lru_cache(maxsize=8192)
def _has(path: str, letter: str) -> bool:
    # Line breaks and other controls are no letters of any font.
    if not letter.isprintable():
        return False
    try:
        font = _load(path, 24)
        drawn, missing = font.getmask(letter), font.getmask(_NO_LETTER)
    # A file that is no font, or one that Pillow was built without.
    except (OSError, ValueError):
        return False
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))


__all__ = ["writable"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Text files as people write them: with or without a byte order mark, and in one sentence what is wrong with them."""

import codecs
import json
from pathlib import Path
from typing import Any

from ..model.json_reading import parse_json as read_json
from ..model.quoting import quote


def read_text_file(path: str | Path, what: str) -> str:
    """Reads a text file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        what: what it should hold, for messages: "id map".

    Raises:
        ValueError: there is no such file, it cannot be read, or it is in another encoding.
    """
    if not Path(path).is_file():
        raise ValueError(f"There is no {what} at {quote(str(path))}: name a file.")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"The {what} {quote(str(path))} cannot be read ({error.strerror}).") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"The {what} {quote(str(path))} is in UTF-16: save it as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"The {what} {quote(str(path))} is not in UTF-8 (line {line}): save it as UTF-8.") from error
    if "\0" in text:
        raise ValueError(f"The {what} {quote(str(path))} is no text, or in UTF-16: save it as UTF-8.")
    return text


def read_json_file(path: str | Path, what: str) -> Any:
    """Reads a JSON file as [`read_text_file`] reads text.

    Raises:
        ValueError: there is no such file, or it holds no JSON.
    """
    return parse_json(read_text_file(path, what), f"The {what} {quote(str(path))}")


def parse_json(text: str, subject: str) -> Any:
    """Reads JSON; `subject` begins the sentence that says what is wrong with it.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{subject} is no JSON (line {error.lineno}: {error.msg}).") from error
    except ValueError as error:
        raise ValueError(f"{subject} is {error} to be read.") from error

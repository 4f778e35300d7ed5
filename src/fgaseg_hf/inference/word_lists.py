# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Words as people write them: lists, lines, files, JSON, with the commas of several scripts."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..model.json_reading import parse_json
from ..model.quoting import quote

# Of Latin, Chinese and Japanese, and Arabic writing.
COMMAS = ",，、،"
EXAMPLE = '"red car, blue house, sky"'


def read_words(words: str | Iterable[str], may_be_empty: bool = False) -> list[str]:
    """Reads words from a list or a text.

    A text holds words between commas (of any script), tabs or line ends, or a JSON list; `@FILE` stands for such a text
    in a file.

    Args:
        words: The list or text.
        may_be_empty: Whether a text without any word will do.

    Raises:
        ValueError: A text has none; one is blank or holds a control character; or the file cannot be read.
    """
    if isinstance(words, str):
        text = read_text_file(words[1:]) if words.startswith("@") else words
        if not text.strip():
            if may_be_empty:
                return []
            raise ValueError(f"The words are empty: give them as in {EXAMPLE}.")
        words = [word.strip() for word in split_words(text)]
    if not isinstance(words, Iterable) or isinstance(words, bytes | dict):
        raise ValueError(f"The words are {quote(words)}: give a list of words, or a text as in {EXAMPLE}.")
    names = list(words)
    for number, name in enumerate(names, start=1):
        # What is no text is refused where the words are encoded.
        if isinstance(name, str):
            refuse_control_characters(name)
            if not name.strip():
                raise ValueError(f"Word {number} of {len(names)} is blank: give it letters or leave it out.")
    return names


def split_words(text: str) -> list[str]:
    """Splits a text into words: a JSON list's, else one a line if there are several lines, else between commas or tabs.

    Raises:
        ValueError: It begins like a JSON list and is none of words.
    """
    text = text.strip("\ufeff \t\r\n")
    if text.startswith("["):
        try:
            words = parse_json(text)
        except ValueError as error:
            raise ValueError(f"The words {text[:60]!r} begin like a JSON list but are none ({error}).") from error
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"The JSON list {text[:60]!r} holds more than words: give strings alone.")
        return words
    lines = [line for line in text.splitlines() if line.strip()]
    # A line of a list that ends in a comma is still one word: 'sky,' above 'tree,'.
    if len(lines) > 1 and not any(re.search(f"[{COMMAS}\t]", line.strip().rstrip(COMMAS)) for line in lines):
        return [line.strip().rstrip(COMMAS) for line in lines]
    return [word for line in lines for word in re.split(f"[{COMMAS}\t]", _without_last_comma(line, len(lines)))]


def _without_last_comma(line: str, num_lines: int) -> str:
    return line.strip().rstrip(COMMAS) if num_lines > 1 else line


def read_text_file(path: str) -> str:
    """Reads a text file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Raises:
        ValueError: There is no such file, or it is in another encoding.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"The file {path!r} cannot be read ({error.strerror}): name a text file.") from error
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"The file {path!r} is not in UTF-8: save it in that encoding.") from error


def refuse_control_characters(word: str) -> None:
    """Refuses words that hold what no one writes on purpose.

    Raises:
        ValueError: A control character (a line end, a null), or half of a character pair.
    """
    for character in word:
        # How Python keeps a byte of the command line that the locale cannot read.
        if "\udc80" <= character <= "\udcff":
            raise ValueError(f"The word {word[:60]!r} was not read in the encoding it was typed in: set PYTHONUTF8=1.")
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"The word {word[:60]!r} holds the control character {character!r}: leave it out.")


def parse_groups(groups: Sequence[str], option: str = "--group") -> dict[str, list[str]]:
    """Splits "vehicle=car, bus, truck" into a name and its members.

    Args:
        groups: Such texts.
        option: What they were given as, for the messages.

    Raises:
        ValueError: A group has no name or no members, a name is blank or repeated, or two groups share a name.
    """
    parsed: dict[str, list[str]] = {}
    for group in groups:
        name, equals, members = group.partition("=")
        name = " ".join(name.split())
        if not equals or not name or not members.strip():
            raise ValueError(f'The group {group!r} has no name or no members: give it as {option} "vehicle=car, bus".')
        if name in parsed:
            raise ValueError(f"The group {name!r} is given twice: put all its members into one {option}.")
        parsed[name] = read_words(members)
    return parsed


__all__ = ["parse_groups", "read_text_file", "read_words", "split_words"]

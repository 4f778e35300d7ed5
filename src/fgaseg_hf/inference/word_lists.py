# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Words as people write them: lists, lines, files, JSON, with the commas of several scripts."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..model.prompt_tokenizer import check_class_names
from ..model.text_encoding import normalise_phrase
from ..model.vocabulary import FGASegVocabulary

Words = str | Iterable[str] | FGASegVocabulary
"""What to look for: words, a text of words, or a vocabulary."""

# Of Latin, Chinese and Japanese, and Arabic writing.
COMMAS = ",，、،"
EXAMPLE = '"red car, blue house, sky"'


def read_words(words: str | Iterable[str], may_be_empty: bool = False) -> list[str]:
    """Reads words from a list or a text.

    A text holds words between commas (of any script), tabs or line ends, or a JSON list; `@FILE` stands for such a text
    in a file.

    Args:
        words: The list or text.
        may_be_empty: Whether no word at all will do.

    Raises:
        ValueError: There is none, or one is blank, repeated or holds a control character; or the file cannot be read.
    """
    if isinstance(words, str):
        text = read_text_file(words[1:]) if words.startswith("@") else words
        if not text.strip():
            if may_be_empty:
                return []
            raise ValueError(f"The words are empty: give them as in {EXAMPLE}.")
        words = split_words(text)
    names = list(words)
    if may_be_empty and not names:
        return []
    for name in names:
        if isinstance(name, str):
            refuse_control_characters(name)
    return check_class_names(names)


def split_words(text: str) -> list[str]:
    """Splits a text into words: a JSON list's, else one a line if there are several lines, else between commas or tabs.

    Raises:
        ValueError: It begins like a JSON list and is none of words.
    """
    text = text.strip("\ufeff \t\r\n")
    if text.startswith("["):
        try:
            words = json.loads(text)
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
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"The word {word[:60]!r} holds the control character {character!r}: leave it out.")


def parse_groups(groups: Sequence[str]) -> dict[str, list[str]]:
    """Splits "vehicle=car, bus, truck" into a name and its members.

    Raises:
        ValueError: A group has no name or no members, a name is blank or repeated, or two groups share a name.
    """
    parsed: dict[str, list[str]] = {}
    for group in groups:
        name, equals, members = group.partition("=")
        name = " ".join(name.split())
        if not equals or not name or not members.strip():
            raise ValueError(f'The group {group!r} has no name or no members: give it as --group "vehicle=car, bus".')
        if name in parsed:
            raise ValueError(f"The group {name!r} is given twice: put all its members into one --group.")
        parsed[name] = read_words(members)
    return parsed


def vocabulary_of_words(
    words: Sequence[str] | FGASegVocabulary,
    synonyms: Mapping[str, Sequence[str]],
    groups: Mapping[str, Sequence[str]],
    background: str | None,
    threshold: float | None,
) -> list[str] | FGASegVocabulary:
    """Puts words, synonyms, groups and the background rule together; members of groups need not stand among the words.

    Returns:
        The words themselves where there is nothing else, else a vocabulary that is not encoded.

    Raises:
        ValueError: Names clash.
    """
    own = words if isinstance(words, FGASegVocabulary) else None
    if own is None and not synonyms and not groups and background is None:
        return list(words)  # type: ignore[arg-type]
    names = {normalise_phrase(name): name for name in (words if own is None else own.names)}  # type: ignore[union-attr]
    for member in (member for members in groups.values() for member in members):
        names.setdefault(normalise_phrase(member), member)
    if background is None and own is not None:
        background = own.background
    if threshold is None or background is None:
        threshold = 0.5 if own is None else own.background_threshold
    return FGASegVocabulary(
        list(names.values()),
        synonyms={**(own.synonyms if own else {}), **{name: list(more) for name, more in synonyms.items()}},
        groups={**(own.groups if own else {}), **{name: list(members) for name, members in groups.items()}},
        templates=own.templates if own else None,
        background=background,
        background_threshold=threshold,
    )


__all__ = ["Words", "parse_groups", "read_text_file", "read_words", "split_words", "vocabulary_of_words"]

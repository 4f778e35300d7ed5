# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What people type into a page: words between commas, synonyms in brackets, groups. `web_page/words.js` is its twin."""

import re
from dataclasses import dataclass, field

from ..inference.word_lists import COMMAS
from ..model.phrases import normalise_phrase

_PART = re.compile(r"([^()=]*?)\s*(=)?\s*(?:\(([^()]*)\))?")


@dataclass(frozen=True)
class BracketedWords:
    """Words as [`fgaseg_hf.inference.segmenter.Segmenter`] takes them.

    Attributes:
        words: What is looked for, without the members of groups.
        synonyms: Further words for some of them.
        groups: Names that are answered for several words.
    """

    words: list[str] = field(default_factory=list)
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    @property
    def num_phrases(self) -> int:
        """How many words the model is asked for."""
        return len(self.words) + sum(len(more) for kind in (self.synonyms, self.groups) for more in kind.values())


def parse_bracketed_words(text: str) -> BracketedWords:
    """Reads "sky, sofa (couch, settee), vehicle = (car, bus)"; a word that is being typed may still be missing.

    Raises:
        ValueError: A bracket does not match, a part is none of the three kinds, or a name is given twice.
    """
    parsed = BracketedWords()
    names: set[str] = set()
    for part in _split_outside_brackets(text):
        found = _PART.fullmatch(part)
        name = "" if found is None else found[1].strip()
        members = None if found is None or found[3] is None else _split_outside_brackets(found[3])
        if found is None or not name or (found[2] and not members) or members == []:
            raise ValueError(f"{part[:60]!r} cannot be read: write sofa (couch, settee), or vehicle = (car, bus).")
        if normalise_phrase(name) in names:
            raise ValueError(f"{name[:60]!r} is given twice: leave one out.")
        names.add(normalise_phrase(name))
        if found[2]:
            parsed.groups[name] = members or []
            continue
        parsed.words.append(name)
        if members:
            parsed.synonyms[name] = members
    return parsed


def _split_outside_brackets(text: str) -> list[str]:
    """Splits at commas, tabs and line ends that stand in no brackets; blank parts are left out."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth not in (0, 1):
            raise ValueError("The brackets do not match: write sofa (couch, settee).")
        if depth == 0 and character in f"{COMMAS}\t\r\n":
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise ValueError("A bracket is not closed: write sofa (couch, settee).")
    return [part.strip() for part in parts if part.strip()]


__all__ = ["BracketedWords", "parse_bracketed_words"]

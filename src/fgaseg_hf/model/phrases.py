# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Single words and phrases: which are the same to a text tower, and which are none."""

import unicodedata
from typing import Any

from .quoting import quote

# Characters that part lines and cells, or mean something to a terminal.
CONTROL_CATEGORIES = ("Cc", "Zl", "Zp")


def normalise_phrase(phrase: str) -> str:
    """Reduces a phrase to what the tokenizer sees.

    Letter case, the number of blanks and whether an accent is a character of its own make no difference.
    """
    folded = unicodedata.normalize("NFC", " ".join(phrase.split())).casefold()
    return unicodedata.normalize("NFC", folded)


def check_phrase(phrase: Any, what: str) -> str:
    """Takes a phrase without the blanks around it.

    Args:
        phrase: What was given for one.
        what: How the message calls it, in a sentence's beginning.

    Raises:
        ValueError: It is no string, blank, of several lines or cells, or holds half a character.
    """
    if not isinstance(phrase, str):
        raise ValueError(f"{what} is a {type(phrase).__name__}: give strings.")
    stripped = phrase.strip()
    if not stripped:
        raise ValueError(f"{what} is blank: give it at least one word or leave it out.")
    for character in stripped:
        category = unicodedata.category(character)
        if category in CONTROL_CATEGORIES:
            raise ValueError(
                f"{what} is {quote(phrase)}, with the control character {character!r}: give one string a phrase, "
                "without line breaks and tabs."
            )
        if category == "Cs":
            raise ValueError(f"{what} is {quote(phrase)}, with half a character: give text that was decoded whole.")
    return stripped

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Lists of phrases to distil a text tower on: nouns, compound nouns, adjective and noun, and lists of one's own."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wordnet_nouns import BODY_FILE, VISIBLE_FILES, WordNetNouns

COMPOUND_FILES = ("06", "05", "20", "13", "17")


def read_names(path: Path) -> list[str]:
    """Reads class names: each line's words, synonyms parted by commas, semicolons or tabs, numbers left out."""
    names = []
    for line in path.read_text(encoding="utf-8").splitlines():
        for part in re.split(r"[,;\t]", line):
            name = " ".join(re.sub(r"[^a-z \-]", " ", part.lower()).split())
            if name:
                names.append(name)
    return list(dict.fromkeys(names))


def build_phrase_lists(
    nouns: WordNetNouns,
    common_words: Sequence[str],
    own_lists: Mapping[str, Sequence[str]],
    colours: Sequence[str],
    num_compounds: int = 9000,
    num_pairs: int = 22000,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Puts the lists together.

    Args:
        nouns: The dictionary.
        common_words: Words in use, commonest first: a sentence encoder's vocabulary is such a list.
        own_lists: Lists that shall be known well, such as class names.
        colours: Adjectives for every second pair; the others are drawn from `common_words`.
        num_compounds: Compound nouns of the dictionary, such as "picket fence".
        num_pairs: Pairs of adjective and noun.
        seed: Of what is drawn.

    Returns:
        The own lists, and `nouns`, `plurals`, `compounds`, `adjectives`, `pairs`.
    """
    generator = random.Random(seed)
    words = [word for word in common_words if re.fullmatch("[a-z]{3,}", word)]
    known = set(words)
    simple = [word for word in words if word in nouns.keys_of and _is_mostly_visible(word, nouns)]
    plurals = [word for word in words if word not in nouns.keys_of and word.endswith("s") and word[:-1] in set(simple)]
    compounds = [
        phrase
        for phrase, keys in nouns.keys_of.items()
        if 2 <= len(phrase.split()) <= 3
        and set(phrase.split()) <= known
        and nouns.senses[keys[0]].file in COMPOUND_FILES
        and not nouns.senses[keys[0]].is_instance
    ]
    generator.shuffle(compounds)
    adjectives = [word for word in words if not nouns.keys(word)][:1200]
    heads = [*(name for names in own_lists.values() for name in names), *simple[:3000]]
    pairs = [
        f"{generator.choice(colours if place % 2 and colours else adjectives)} {generator.choice(heads)}"
        for place in range(num_pairs if adjectives and heads else 0)
    ]
    own = {name: list(dict.fromkeys(phrases)) for name, phrases in own_lists.items()}
    return own | {
        "nouns": simple,
        "plurals": plurals,
        "compounds": compounds[:num_compounds],
        "adjectives": adjectives,
        "pairs": list(dict.fromkeys(pairs)),
    }


def count_words(lists: Mapping[str, Iterable[str]], weights: Mapping[str, int]) -> Counter[str]:
    """How often each word of the lists counts where a tokenizer is learned."""
    count: Counter[str] = Counter()
    for name, phrases in lists.items():
        for phrase in phrases:
            for word in re.findall(r"[^\W\d_]+", phrase.lower()):
                count[word] += weights.get(name, 1)
    return count


def _is_mostly_visible(word: str, nouns: WordNetNouns) -> bool:
    """Whether one of the word's two commonest senses can be seen."""
    senses = [nouns.senses[key] for key in nouns.keys(word)[:2]]
    return any(sense.file in (*VISIBLE_FILES, BODY_FILE) and not sense.is_instance for sense in senses)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""WordNet's nouns from its own files (`data.noun`, `index.noun`), such as Debian's package wordnet-base installs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# WordNet's lexicographer files of what a picture can show: artefacts, animals, plants, food, objects, phenomena,
# substances, people, places. Parts of the body come after them: "palm" is a tree first.
VISIBLE_FILES = ("06", "05", "20", "13", "17", "19", "27", "18", "15")
BODY_FILE = "08"


@dataclass(frozen=True)
class NounEntry:
    """One sense of a noun.

    Attributes:
        key: WordNet's offset, which is also the number in ImageNet's class ids.
        file: WordNet's lexicographer file.
        synonyms: The words of the sense.
        broader_keys: Offsets of the senses above it.
        broader: The first words of these.
        definition: Without examples.
        is_instance: Whether it is a single person, place or thing with a name.
    """

    key: str
    file: str
    synonyms: tuple[str, ...]
    broader_keys: tuple[str, ...]
    broader: tuple[str, ...]
    definition: str
    is_instance: bool


class WordNetNouns:
    """All nouns of WordNet.

    Args:
        folder: Where `data.noun` and `index.noun` lie.

    Raises:
        ValueError: If they do not lie there.
    """

    def __init__(self, folder: str | Path = "/usr/share/wordnet") -> None:
        data, index = Path(folder) / "data.noun", Path(folder) / "index.noun"
        if not data.is_file() or not index.is_file():
            raise ValueError(f"{folder} lacks data.noun or index.noun; name the folder of WordNet's database files.")
        rows = dict(_read_sense(line) for line in _lines(data))
        self.senses = {
            key: NounEntry(
                key, file, words, above, tuple(w for parent in above for w in rows[parent][1][:2]), text, single
            )
            for key, (file, words, above, text, single) in rows.items()
        }
        self.keys_of: dict[str, list[str]] = {}
        for line in _lines(index):
            parts = line.split()
            self.keys_of[parts[0].replace("_", " ")] = parts[-int(parts[2]) :]

    def keys(self, word: str) -> list[str]:
        """The senses of a word, commonest first; of its singular, if the word itself is not known."""
        word = word.lower()
        forms = [word]
        for ending, singular in (("s", ""), ("es", ""), ("ies", "y")):
            if word.endswith(ending):
                forms.append(word.removesuffix(ending) + singular)
        return next((self.keys_of[form] for form in forms if form in self.keys_of), [])

    def entry(self, word: str) -> NounEntry | None:
        """The first sense of a word that a picture can show; its first sense, if none can."""
        senses = [self.senses[key] for key in self.keys(word)]
        visible = [sense for sense in senses if sense.file in VISIBLE_FILES and not sense.is_instance]
        body = [sense for sense in senses if sense.file == BODY_FILE]
        return next(iter([*visible, *body, *senses]), None)


def _lines(path: Path) -> list[str]:
    """The lines of a file without its licence, which is indented."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("  ")]


def _read_sense(line: str) -> tuple[str, tuple[str, tuple[str, ...], tuple[str, ...], str, bool]]:
    head, _, gloss = line.partition("|")
    parts = head.split()
    num_words = int(parts[3], 16)
    words = tuple(parts[4 + 2 * place].replace("_", " ") for place in range(num_words))
    start = 4 + 2 * num_words
    pointers = [parts[start + 1 + 4 * place : start + 5 + 4 * place] for place in range(int(parts[start]))]
    above = tuple(target for symbol, target, kind, _ in pointers if symbol in ("@", "@i") and kind == "n")
    is_instance = any(symbol == "@i" for symbol, *_ in pointers)
    return parts[0], (parts[1], words, above, gloss.split('; "')[0].strip(), is_instance)

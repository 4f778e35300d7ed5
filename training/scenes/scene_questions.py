# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Generated scenes asked for by words of one level: names, nouns, groups or colours, with synonyms in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from asked_words import AskedWord, DrawnPicture, cut_labels, cut_picture, random_crop
from scene_composition import generate_scene
from scene_vocabulary import CLASS_NAMES, COLOURS, HELD_OUT_PAIRS, PATTERNS
from scene_words import GROUPS, NATURAL_COLOURS, NOUNS, SYNONYMS, adjective_of, noun_of
from tqdm import tqdm

# Shares of names, nouns and groups; colours have the rest.
LEVEL_SHARES = (0.45, 0.37, 0.10)
NAME_SYNONYM_SHARE, NOUN_SYNONYM_SHARE = 0.3, 0.5
# Label pixels (of 96 x 96) that a class must cover to be asked for.
LEAST_PIXELS = 10


@dataclass(frozen=True)
class SceneWord:
    """What a word names.

    Attributes:
        word: The word.
        certain: (classes,) bool, the classes that it names.
        uncertain: (classes,) bool, those that some would call so; left out.
    """

    word: str
    certain: np.ndarray
    uncertain: np.ndarray


class SceneQuestions:
    """A fixed number of scenes, held in memory, with words drawn anew each time.

    Args:
        num_scenes: How many; drawing takes about 15 ms each.
        seed: Number of the data set, see `scenes.py`.
        other_words: Words for what no scene shows, mixed in among the absent ones.
        side: Side of what the model sees.
        label_side: Side of the targets.
    """

    def __init__(
        self, num_scenes: int, seed: int, other_words: Sequence[str], side: int = 192, label_side: int = 96
    ) -> None:
        self.side, self.label_side, self.other_words = side, label_side, list(other_words)
        # A little larger than what is seen, to be cut from; smaller scenes are not drawn.
        size = max(64, side + side // 12)
        self.scenes = [
            generate_scene(seed * 2**32 + index, "train", size) for index in tqdm(range(num_scenes), desc="scenes")
        ]
        self.noun_of_class = np.array([NOUNS.index(noun_of(name)) for name in CLASS_NAMES])
        self.none = np.zeros(len(CLASS_NAMES), dtype=bool)

    def words(self) -> list[str]:
        """Every word that may be asked for."""
        names = [word for index in range(len(CLASS_NAMES)) for word in _words_of_class(index)]
        nouns = [word for noun in NOUNS for word in (noun, *SYNONYMS[noun])]
        colours = [word for colour in COLOURS for word in _words_of_colour(colour)]
        return list(dict.fromkeys([*names, *nouns, *GROUPS, *colours, *PATTERNS, *self.other_words]))

    def draw(self, random: np.random.Generator) -> DrawnPicture:
        """Draws a scene, its crop and words of one level."""
        picture, labels = self.scenes[int(random.integers(len(self.scenes)))]
        height, width = labels.shape
        box = random_crop(height, width, 0.7, random) if random.random() < 0.6 else (0.0, 0.0, width, height)
        mirror = random.random() < 0.5
        labels = cut_labels(labels, box, self.label_side, mirror)
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(CLASS_NAMES)) >= LEAST_PIXELS)
        here, absent = self._draw_level(present, random)
        for _ in range(int(random.integers(0, 4)) if self.other_words else 0):
            other = self.other_words[int(random.integers(len(self.other_words)))]
            absent.insert(int(random.integers(0, 8)), SceneWord(other, self.none, self.none))
        by_word = {word.word: word for word in absent}

        def ask(word: SceneWord) -> AskedWord:
            known = ~word.uncertain[labels]
            return AskedWord(word.word, word.certain[labels].astype(np.float32), known.astype(np.float32))

        image = cut_picture(np.asarray(picture), box, self.side, mirror)
        return DrawnPicture(image, [ask(word) for word in here], list(by_word), lambda word: ask(by_word[word]))

    def _draw_level(self, present: np.ndarray, random: np.random.Generator) -> tuple[list[SceneWord], list[SceneWord]]:
        """Words for what is there and for what is not, all of one level."""
        level = int(np.searchsorted(np.cumsum(LEVEL_SHARES), random.random(), side="right"))
        nouns = {NOUNS[self.noun_of_class[index]] for index in present}
        if level == 0:
            here, absent = self._names(present, nouns, random)
        elif level == 1:
            here = [self._noun(noun, random) for noun in sorted(nouns)]
            absent = [self._noun(noun, random) for noun in NOUNS if noun not in nouns]
        else:
            words = self._groups_and_nouns(random) if level == 2 else self._colours(random)
            here = [word for word in words if word.certain[present].any()]
            absent = [word for word in words if not word.certain[present].any()]
        return here, [absent[place] for place in random.permutation(len(absent))]

    def _names(
        self, present: np.ndarray, nouns: set[str], random: np.random.Generator
    ) -> tuple[list[SceneWord], list[SceneWord]]:
        """Names such as `red car`; those that share a noun with what is there are among the absent more often."""
        named = [index for index in range(len(CLASS_NAMES)) if _words_of_class(index)]
        rest = [index for index in named if index not in set(present.tolist())]
        near = [index for index in rest if noun_of(CLASS_NAMES[index]) in nouns]
        drawn = [int(index) for index in random.choice(rest, min(80, len(rest)), replace=False)]
        if near:
            drawn += [int(index) for index in random.choice(near, min(14, len(near)), replace=False)]
        here = [self._name(int(index), random) for index in present if _words_of_class(int(index))]
        return here, [self._name(index, random) for index in dict.fromkeys(drawn)]

    def _name(self, index: int, random: np.random.Generator) -> SceneWord:
        word, *synonyms = _words_of_class(index)
        if synonyms and random.random() < NAME_SYNONYM_SHARE:
            word = synonyms[int(random.integers(len(synonyms)))]
        certain = self.none.copy()
        certain[index] = True
        return SceneWord(word, certain, self.none)

    def _noun(self, noun: str, random: np.random.Generator) -> SceneWord:
        word = noun
        if random.random() < NOUN_SYNONYM_SHARE:
            word = SYNONYMS[noun][int(random.integers(len(SYNONYMS[noun])))]
        return SceneWord(word, self.noun_of_class == NOUNS.index(noun), self.none)

    def _groups_and_nouns(self, random: np.random.Generator) -> list[SceneWord]:
        """A few groups that share no noun, and the nouns that none of them has."""
        names = list(GROUPS)
        taken: set[str] = set()
        words = []
        for place in random.permutation(len(names))[: int(random.integers(1, 5))]:
            certain, uncertain = GROUPS[names[int(place)]]
            if not taken & {*certain, *uncertain}:
                taken |= {*certain, *uncertain}
                words.append(SceneWord(names[int(place)], self._classes(certain), self._classes(uncertain)))
        return [*words, *(self._noun(noun, random) for noun in NOUNS if noun not in taken)]

    def _colours(self, random: np.random.Generator) -> list[SceneWord]:
        """Colours and patterns alone; patterned things have two colours, and grounds one that people may name."""
        adjectives = np.array([adjective_of(name) or "" for name in CLASS_NAMES])
        is_patterned = np.isin(adjectives, PATTERNS)
        words = []
        for colour in COLOURS:
            forms = _words_of_colour(colour)
            uncertain = is_patterned | self._classes(NATURAL_COLOURS[colour])
            words.append(SceneWord(forms[int(random.integers(len(forms)))], adjectives == colour, uncertain))
        return [*words, *(SceneWord(pattern, adjectives == pattern, self.none) for pattern in PATTERNS)]

    def _classes(self, nouns: Sequence[str]) -> np.ndarray:
        return np.isin(self.noun_of_class, [NOUNS.index(noun) for noun in nouns])


def _words_of_class(index: int) -> list[str]:
    """A class's name and what else it may be called; nothing for pairs that training must not see."""
    name = CLASS_NAMES[index]
    adjective, noun = adjective_of(name), noun_of(name)
    if adjective is None:
        return [name, *SYNONYMS[noun]]
    if (adjective, noun) in HELD_OUT_PAIRS:
        return []
    return [name, *(f"{adjective} {synonym}" for synonym in SYNONYMS[noun])]


def _words_of_colour(colour: str) -> list[str]:
    return [colour, f"{colour} thing", f"{colour} object"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Photographs asked for by words: those with label maps, and those with a classifier's opinion of every place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from asked_words import AskedWord, DrawnPicture, cut_labels, cut_picture, pick, random_crop, vary_exposure
from dense_classifier import DenseClasses
from PIL import Image
from wordnet_nouns import WordNetNouns

UNLABELLED = 255
# Longest short side to keep a photograph at.
KEPT_SIDE = 260
# Label pixels (of 96 x 96) that a class must cover to be asked for.
LEAST_PIXELS = 25
FIRST_WORD_SHARE = 0.6
# A classifier's probability from which something is there, and below which it is not; between, little counts.
SURE, UNSURE = 0.45, 0.04
CLASSIFIER_WEIGHT = 0.7
# Broader words of more classes than this say too little.
MOST_CLASSES = 260


class LabelledPhotographs:
    """Photographs with label maps; pixels without a label are left out.

    Args:
        rows: Rows with `image` and `annotation`.
        words: For each class id the words that it may be called, the commonest first. A word of several classes stands
            for all of them. An id `sky` beside the data set's own takes what is unlabelled and hangs together with the
            upper edge, if `sky_id` is given.
        other_words: Words for what is in none of the pictures.
        sky_id: See `words`.
        side: Side of what the model sees.
        label_side: Side of the targets.
    """

    def __init__(
        self,
        rows: Any,
        words: Mapping[int, Sequence[str]],
        other_words: Sequence[str],
        sky_id: int | None = None,
        side: int = 192,
        label_side: int = 96,
    ) -> None:
        self.words_of, self.other_words = {key: list(value) for key, value in words.items()}, list(other_words)
        self.side, self.label_side = side, label_side
        self.pictures = [_shrink(row["image"], np.asarray(row["annotation"])) for row in rows]
        if sky_id is not None:
            self.pictures = [(image, label_sky(labels, sky_id)) for image, labels in self.pictures]

    def words(self) -> list[str]:
        """Every word that may be asked for."""
        return list(dict.fromkeys([*(word for words in self.words_of.values() for word in words), *self.other_words]))

    def draw(self, random: np.random.Generator) -> DrawnPicture:
        """Draws a photograph, its crop and a word for each class."""
        image, labels = self.pictures[int(random.integers(len(self.pictures)))]
        height, width = labels.shape
        box = random_crop(height, width, 0.55, random) if random.random() < 0.75 else (0.0, 0.0, width, height)
        mirror = random.random() < 0.5
        labels = cut_labels(labels, box, self.label_side, mirror)
        known = (labels != UNLABELLED).astype(np.float32)
        here = {key for key in self.words_of if (labels == key).sum() >= LEAST_PIXELS}
        classes_of = self._draw_words(here, random)

        def ask(word: str) -> AskedWord:
            return AskedWord(word, np.isin(labels, classes_of.get(word, ())).astype(np.float32), known)

        present = [word for word, classes in classes_of.items() if here & set(classes)]
        absent = [word for word in classes_of if word not in present]
        if self.other_words:
            absent += [str(word) for word in random.choice(self.other_words, min(24, len(self.other_words)), False)]
        absent = list(dict.fromkeys(absent[place] for place in random.permutation(len(absent))))
        picture = vary_exposure(cut_picture(image, box, self.side, mirror), random)
        return DrawnPicture(picture, [ask(word) for word in present], absent, ask)

    def _draw_words(self, here: set[int], random: np.random.Generator) -> dict[str, tuple[int, ...]]:
        """A word for every class, those that are there first; no class is named twice."""
        order = [list(self.words_of)[place] for place in random.permutation(len(self.words_of))]
        classes_of: dict[str, tuple[int, ...]] = {}
        covered: set[int] = set()
        for key in sorted(order, key=lambda key: key not in here):
            if key in covered:
                continue
            word = pick(self.words_of[key], random, FIRST_WORD_SHARE)
            classes = tuple(other for other in self.words_of if word in self.words_of[other])
            if covered & set(classes):
                word, classes = self.words_of[key][0], (key,)
            if word not in classes_of:
                classes_of[word] = classes
                covered |= set(classes)
        return classes_of


@dataclass(frozen=True)
class Concept:
    """A class of ImageNet, or what is above some of them.

    Attributes:
        words: What it may be called.
        classes: (1000,) float32, 1 for the classes that belong to it.
    """

    words: tuple[str, ...]
    classes: np.ndarray


class ClassifiedPhotographs:
    """Photographs without labels, and what a classifier finds at each of their places.

    Asked for are names of the classes and broader words, whose probability is the sum of their classes'. Words that the
    classifier does not know are never asked for: it says nothing of skies and grounds.

    Args:
        rows: Rows with `image`.
        opinions: One for each picture.
        concepts: What may be asked for.
        side: Side of what the model sees.
        label_side: Side of the targets.
    """

    def __init__(
        self,
        rows: Any,
        opinions: Sequence[DenseClasses],
        concepts: Sequence[Concept],
        side: int = 192,
        label_side: int = 96,
    ) -> None:
        self.pictures = [np.asarray(row["image"].convert("RGB")) for row in rows]
        self.opinions, self.concepts = list(opinions), list(concepts)
        self.side, self.label_side = side, label_side
        self.members = np.stack([concept.classes for concept in self.concepts])

    def words(self) -> list[str]:
        """Every word that may be asked for."""
        return list(dict.fromkeys(word for concept in self.concepts for word in concept.words))

    def draw(self, random: np.random.Generator) -> DrawnPicture:
        """Draws a photograph in which the classifier is sure of something (mostly), and words that share no class."""
        while True:
            place = int(random.integers(len(self.pictures)))
            opinion = self.members @ self.opinions[place].full(self.members.shape[1])
            # The third highest, so that a single place proves nothing.
            peaks = np.sort(opinion, axis=1)[:, -min(3, opinion.shape[1])]
            if (peaks > SURE).any() or random.random() < 0.1:
                break
        image = self.pictures[place]
        height, width = image.shape[:2]
        box = random_crop(height, width, 0.65, random) if random.random() < 0.6 else (0.0, 0.0, width, height)
        mirror = random.random() < 0.5
        rows, columns = self.opinions[place].classes.shape[1:]
        map_box = (box[0] / width * columns, box[1] / height * rows, box[2] / width * columns, box[3] / height * rows)
        present: list[AskedWord] = []
        taken = np.zeros(self.members.shape[1], dtype=bool)
        for index in random.permutation(np.flatnonzero(peaks > SURE)):
            if len(present) == 5 or (taken & (self.members[index] > 0)).any():
                continue
            likely = cut_picture(opinion[index].reshape(rows, columns), map_box, self.label_side, mirror)
            target = np.clip((likely - 0.08) / 0.5, 0, 1).astype(np.float32)
            if target.max() >= 0.3:
                weight = np.where((likely > SURE) | (likely < UNSURE), 1.0, 0.25) * CLASSIFIER_WEIGHT
                word = pick(self.concepts[index].words, random, FIRST_WORD_SHARE)
                present.append(AskedWord(word, target, weight.astype(np.float32)))
                taken |= self.members[index] > 0
        unlikely = random.permutation(np.flatnonzero(peaks < UNSURE / 2))[:28]
        nothing = np.zeros((self.label_side, self.label_side), dtype=np.float32)
        weight = np.full_like(nothing, CLASSIFIER_WEIGHT)
        picture = vary_exposure(cut_picture(image, box, self.side, mirror), random)
        absent = list(dict.fromkeys(self.concepts[index].words[0] for index in unlikely))
        return DrawnPicture(picture, present, absent, lambda word: AskedWord(word, nothing, weight))


def imagenet_concepts(nouns: WordNetNouns, class_ids: Sequence[str], common_words: Sequence[str]) -> list[Concept]:
    """ImageNet's classes and the broader words above them.

    Args:
        nouns: WordNet, whose offsets ImageNet's class ids are.
        class_ids: Such as `n02084071`, in the classifier's order.
        common_words: Broader words are taken only if they are among these.
    """
    common = set(common_words)
    below: dict[str, set[int]] = {}
    for place, class_id in enumerate(class_ids):
        todo, seen = [class_id[1:]], set()
        while todo:
            key = todo.pop()
            if key not in seen:
                seen.add(key)
                below.setdefault(key, set()).add(place)
                todo += nouns.senses[key].broader_keys
    leaves = {class_id[1:] for class_id in class_ids}
    concepts = []
    for key, places in below.items():
        synonyms = [word.lower() for word in nouns.senses[key].synonyms]
        words = tuple(word for word in synonyms if key in leaves or word in common)[:3]
        if words and len(places) <= MOST_CLASSES:
            classes = np.zeros(len(class_ids), dtype=np.float32)
            classes[sorted(places)] = 1
            concepts.append(Concept(words, classes))
    return concepts


def label_sky(labels: np.ndarray, sky_id: int) -> np.ndarray:
    """Labels what is unlabelled and hangs together with the upper edge, if it is more than a fiftieth of the picture.

    Where nobody labelled the sky, that is it, mostly. Seen from above: each row goes on from the one above it, and to
    both sides.
    """
    is_free = labels == UNLABELLED
    reached = np.zeros_like(is_free)
    above = is_free[0]
    for row in range(len(labels)):
        # Runs of free pixels that touch what was reached above.
        run = np.cumsum(np.diff(is_free[row], prepend=False).astype(bool))
        touched = np.unique(run[above & is_free[row]])
        reached[row] = is_free[row] & np.isin(run, touched)
        above = reached[row]
    return np.where(reached, sky_id, labels) if reached.mean() > 0.02 else labels


def _shrink(picture: Image.Image, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and its label map at no more than `KEPT_SIDE`."""
    height, width = labels.shape
    scale = min(1.0, KEPT_SIDE / min(height, width))
    size = (round(width * scale), round(height * scale))
    image = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    small = Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(small).astype(np.uint8)

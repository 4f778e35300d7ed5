# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Which words a picture is asked for while training: from one to many, some of what is there, and what is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

# How often a picture is asked only for what is not there, and how often for all that is there (as far as it fits).
ONLY_ABSENT_SHARE = 0.12
ALL_PRESENT_SHARE = 0.43


@dataclass(frozen=True)
class AskedWord:
    """A word with what it names in a picture.

    Attributes:
        word: The word.
        target: (side, side) float32 from 0 to 1, where it is.
        weight: (side, side) float32, how far that is known; 0 leaves a pixel out.
    """

    word: str
    target: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class DrawnPicture:
    """A picture with words of one level.

    Attributes:
        image: (side, side, 3) uint8.
        present: Words for what is there.
        absent: Words for what is not there, hardest mixed in, in the order of asking.
        ask_absent: Makes an asked word of one of them.
    """

    image: np.ndarray
    present: list[AskedWord]
    absent: list[str]
    ask_absent: Callable[[str], AskedWord]


class PictureSource(Protocol):
    """Where pictures come from."""

    def draw(self, random: np.random.Generator) -> DrawnPicture:
        """Draws a picture, its crop and its words."""

    def words(self) -> list[str]:
        """Every word that it may ask for."""


def choose_words(
    drawn: DrawnPicture, num_decoded: int, num_scored: int, random: np.random.Generator
) -> list[AskedWord]:
    """Chooses the words that are decoded, first, and then those that the first map alone scores.

    Often a picture is not asked for all that is in it, so that "none of these" has pixels; sometimes for nothing of it.

    Args:
        drawn: The picture with its words.
        num_decoded: How many are decoded.
        num_scored: How many the first map scores, those among them.
        random: What the choice depends on.

    Returns:
        `num_scored` words; where there are too few, some come twice.
    """
    present = [drawn.present[place] for place in random.permutation(len(drawn.present))]
    kind = random.random()
    if kind < ONLY_ABSENT_SHARE or not present:
        count = 0
    elif kind < ONLY_ABSENT_SHARE + ALL_PRESENT_SHARE:
        count = min(len(present), num_decoded)
    else:
        count = int(random.integers(1, min(len(present), num_decoded) + 1))
    asked, spare = present[:count], present[count:]
    absent = iter(drawn.absent)
    asked += [drawn.ask_absent(word) for word, _ in zip(absent, range(num_decoded - count), strict=False)]
    while len(asked) < num_decoded:
        asked.append(spare.pop() if spare else asked[int(random.integers(len(asked)))])
    scored = asked + spare[: num_scored - num_decoded]
    scored += [drawn.ask_absent(word) for word, _ in zip(absent, range(num_scored - len(scored)), strict=False)]
    while len(scored) < num_scored:
        scored.append(asked[int(random.integers(num_decoded))])
    return scored


def random_crop(
    height: int, width: int, least_share: float, random: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draws a part of a picture, (left, top, right, bottom), a little squeezed as whole pictures are."""
    side = random.uniform(least_share, 1.0) * min(height, width)
    stretch = float(np.exp(random.uniform(-0.2, 0.2)))
    part_height, part_width = min(height, side * stretch), min(width, side / stretch)
    left, top = random.uniform(0, width - part_width), random.uniform(0, height - part_height)
    return left, top, left + part_width, top + part_height


def cut_picture(
    picture: np.ndarray, box: tuple[float, float, float, float], side: int, mirror: bool = False
) -> np.ndarray:
    """Cuts a part out of an array (height, width, 3) or (height, width) and brings it to (side, side)."""
    cut = Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR, box=box)
    values = np.asarray(cut)
    return values[:, ::-1] if mirror else values


def cut_labels(
    labels: np.ndarray, box: tuple[float, float, float, float], side: int, mirror: bool = False
) -> np.ndarray:
    """The same for a label map, by the nearest pixel."""
    left, top, right, bottom = box
    steps = (np.arange(side) + 0.5) / side
    rows = np.clip((top + steps * (bottom - top)).astype(int), 0, labels.shape[0] - 1)
    columns = np.clip((left + steps * (right - left)).astype(int), 0, labels.shape[1] - 1)
    cut = labels[np.ix_(rows, columns)]
    return cut[:, ::-1] if mirror else cut


def vary_exposure(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Changes brightness, contrast and saturation of every second picture; never the hue, which words name."""
    if random.random() < 0.5:
        return image
    values = image.astype(np.float32) * random.uniform(0.8, 1.2) + random.uniform(-20, 20)
    mean = values.mean(axis=(0, 1), keepdims=True)
    values = (values - mean) * random.uniform(0.8, 1.2) + mean
    gray = values.mean(axis=2, keepdims=True)
    values = gray + (values - gray) * random.uniform(0.6, 1.3)
    return np.clip(values, 0, 255).astype(np.uint8)


def pick(words: Sequence[str], random: np.random.Generator, first_share: float) -> str:
    """Draws a word: the first of them with the given share, else any."""
    return words[0] if random.random() < first_share else words[int(random.integers(len(words)))]

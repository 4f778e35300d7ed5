# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How much of a picture each word covers, and how sure that is."""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np


class WordShares(ABC):
    """What every answer about a picture says in numbers, whether it is held in memory or in files.

    Attributes:
        class_names: The words.
    """

    class_names: tuple[str, ...]

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """The picture's width and height."""

    @property
    @abstractmethod
    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of each word, and the sum of their confidence."""

    @property
    def _num_pixels(self) -> int:
        return self.size[0] * self.size[1]

    @cached_property
    def shares(self) -> dict[str, float]:
        """Which part of the picture each word covers, in the order of the words; of sum 1 if every pixel has one."""
        counts = self._sums[0]
        return {name: float(count / self._num_pixels) for name, count in zip(self.class_names, counts, strict=True)}

    @cached_property
    def scores(self) -> dict[str, float | None]:
        """Mean probability of each word over its mask; `None` where it is nowhere."""
        return {
            name: float(total / count) if count else None
            for name, count, total in zip(self.class_names, *self._sums, strict=True)
        }

    @property
    def unlabelled_share(self) -> float:
        """Which part of the picture has no word."""
        return float(1 - self._sums[0].sum() / self._num_pixels)

    @property
    def found(self) -> list[str]:
        """The words that are in the picture, the largest first."""
        return sorted((name for name in self.class_names if self.shares[name]), key=lambda name: -self.shares[name])

    def describe(self, max_words: int | None = None) -> str:
        """Writes "sky 41.0%, red car 3.2%, blue house 0.0%", the largest share first."""
        order = sorted(self.class_names, key=lambda name: -self.shares[name])
        parts = [f"{name} {self.shares[name]:.1%}" for name in order[:max_words]]
        if len(order) > len(parts):
            parts.append(f"{len(order) - len(parts)} more")
        if self.unlabelled_share > 0.5 / self._num_pixels:
            parts.append(f"unlabelled {self.unlabelled_share:.1%}")
        return ", ".join(parts)


def sums_of_words(label_map: np.ndarray, confidence: np.ndarray, num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts each word's pixels and sums up their confidence.

    Args:
        label_map: (height, width): places among the words; -1 where there is none.
        confidence: The same shape.
        num_words: How many words there are.

    Returns:
        int64 (words,), and float64 (words,).
    """
    places = label_map.ravel() + 1
    counts = np.bincount(places, minlength=num_words + 1)
    totals = np.bincount(places, confidence.ravel(), num_words + 1)
    return counts[1:], totals[1:]


__all__ = ["WordShares", "sums_of_words"]

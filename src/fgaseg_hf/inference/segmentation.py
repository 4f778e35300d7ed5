# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a picture was segmented into: one object to look at, ask, save and hand on."""

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..model.text_encoding import normalise_phrase
from .visualization import class_palette, draw_overlay, save_label_map

# Pixels whose confidence is summed at once: a bincount takes 16 bytes for each.
PIXELS_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class SegmentedWord:
    """One word's part of a picture.

    Attributes:
        name: The word.
        class_id: Its number in the label map.
        mask: bool (height, width): where it is.
        share: Which part of the picture that is, from 0 to 1.
        score: Mean probability of the word over its mask; `None` if it is nowhere.
        colour: RGB, as in the overlay.
    """

    name: str
    class_id: int
    mask: np.ndarray
    share: float
    score: float | None
    colour: tuple[int, int, int]

    @property
    def area(self) -> int:
        """How many pixels it covers."""
        return int(self.mask.sum())

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """The smallest (left, top, right, bottom) around it, right and bottom excluded; `None` if it is nowhere."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        if len(rows) == 0:
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def __repr__(self) -> str:
        score = "" if self.score is None else f", score {self.score:.2f}"
        return f"SegmentedWord({self.name!r}, {self.share:.1%} of the picture{score})"


class Segmentation:
    """A picture with a word for each pixel.

    Args:
        picture: RGB.
        label_map: (height, width): the place of each pixel's word among `class_names`; -1 where no word is likely
            enough.
        class_names: The words.
        confidence: (height, width): the probability of each pixel's word; of the background and of pixels without a
            word, one minus that of the likeliest.
        name: What to call files of it.

    Example:
        >>> result = segmenter("street.jpg", ["car", "road", "sky"])
        >>> result["car"].share
        0.12
        >>> result.save("out")
    """

    def __init__(
        self,
        picture: Image.Image,
        label_map: np.ndarray,
        class_names: Sequence[str],
        confidence: np.ndarray,
        name: str = "picture",
    ) -> None:
        self.picture = picture
        self.class_names = tuple(class_names)
        # -1 has a place in both; a picture of 12 megapixels takes 24 MB instead of 96.
        self.label_map = label_map.astype(np.int16 if len(self.class_names) < 2**15 else np.int32, copy=False)
        self.confidence = confidence.astype(np.float16, copy=False)
        self.name = name

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as Pillow has it."""
        return self.picture.size

    @cached_property
    def shares(self) -> dict[str, float]:
        """Which part of the picture each word covers, in the order of the words; of sum 1 if every pixel has one."""
        counts = self._sums[0]
        return {name: float(count / self.label_map.size) for name, count in zip(self.class_names, counts, strict=True)}

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
        return float(1 - self._sums[0].sum() / self.label_map.size)

    @cached_property
    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of each word, and the sum of their confidence."""
        counts, totals = np.zeros(len(self.class_names) + 1, np.int64), np.zeros(len(self.class_names) + 1)
        rows = max(PIXELS_AT_ONCE // self.label_map.shape[1], 1)
        for top in range(0, self.label_map.shape[0], rows):
            places = self.label_map[top : top + rows].ravel() + 1
            counts += np.bincount(places, minlength=len(counts))
            totals += np.bincount(places, self.confidence[top : top + rows].ravel(), len(counts))
        return counts[1:], totals[1:]

    def __getitem__(self, word: str) -> SegmentedWord:
        """One word's mask, score and share; letter case and blanks make no difference.

        Raises:
            KeyError: It was not looked for.
        """
        places = {normalise_phrase(name): place for place, name in enumerate(self.class_names)}
        place = places.get(normalise_phrase(word)) if isinstance(word, str) else None
        if place is None:
            raise KeyError(f"{word!r} was not looked for: choose one of {', '.join(self.class_names[:20])}.")
        name = self.class_names[place]
        red, green, blue = (int(part) for part in class_palette(len(self.class_names))[place])
        return SegmentedWord(
            name, place, self.label_map == place, self.shares[name], self.scores[name], (red, green, blue)
        )

    def __iter__(self) -> Iterator[SegmentedWord]:
        """The words that are in the picture, the largest first."""
        for name in self.found:
            yield self[name]

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and normalise_phrase(word) in map(normalise_phrase, self.class_names)

    def __len__(self) -> int:
        return len(self.class_names)

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
        if self.unlabelled_share > 0.5 / self.label_map.size:
            parts.append(f"unlabelled {self.unlabelled_share:.1%}")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"Segmentation({self.name!r}, {self.size[0]} x {self.size[1]}: {self.describe(8)})"

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The picture under the words' colours, with a legend below it.

        Args:
            alpha: Opacity of the colours, from 0 to 1.
        """
        return draw_overlay(self.picture, self.label_map, self.class_names, alpha)

    def show(self, alpha: float = 0.5) -> None:
        """Opens the overlay: in a notebook below the cell, elsewhere in the system's viewer."""
        overlay = self.overlay(alpha)
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:
            overlay.show()
            return
        display(overlay) if get_ipython() is not None else overlay.show()

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        content = io.BytesIO()
        overlay = self.overlay()
        overlay.thumbnail((1600, 1600))
        overlay.save(content, format="PNG")
        return content.getvalue()

    def save(self, folder: str | os.PathLike[str], name: str | None = None) -> list[Path]:
        """Writes NAME_overlay.png, NAME_labels.png (class ids, with a palette) and NAME_labels.json (what they mean).

        Args:
            folder: Where to write; made if it is missing.
            name: What to call the files; the picture's own name if not given.

        Returns:
            The files.
        """
        folder, name = Path(folder), name or self.name
        folder.mkdir(parents=True, exist_ok=True)
        overlay_path, labels_path = folder / f"{name}_overlay.png", folder / f"{name}_labels.png"
        # Pillow's own level makes the file a tenth smaller and takes more time than all else that a picture needs.
        self.overlay().save(overlay_path, compress_level=3)
        return [overlay_path, labels_path, save_label_map(self.label_map, self.class_names, labels_path)]

    def to_numpy(self) -> np.ndarray:
        """The label map as an array (height, width) of whole numbers, -1 where there is no word."""
        return self.label_map.copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.label_map, dtype=dtype, copy=copy)


__all__ = ["SegmentedWord", "Segmentation"]

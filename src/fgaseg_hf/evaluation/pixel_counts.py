# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Three ways to count the pixels of a segmentation: by pair of classes, by class, and by class along contours.

Each keeps whole numbers alone, so that counts can be added over pictures, processes and files without a rounding. Label
maps come here checked: every id is a class, and `num_classes` stands where nothing is to be counted.
"""

import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

# Labels farther from 0 than this, such as 2**31, are looked up one kind after the other.
LARGEST_LABEL_TABLE = 2**17
PIXELS_AT_ONCE = 2**15


class PixelCounts(Protocol):
    """What all three have in common.

    Attributes:
        num_classes: number of classes.
    """

    num_classes: int

    @property
    def counts(self) -> torch.Tensor:
        """What is stored, added and summed over processes, int64."""

    @property
    def totals(self) -> torch.Tensor:
        """Hits, true pixels and predicted pixels of every class, (3, classes): all that a result follows from."""

    def add(self, prediction: torch.Tensor, label: torch.Tensor) -> None:
        """Counts a label map, int64 (..., H, W); `num_classes` in `label` says that nothing is annotated there."""


class PairCounts:
    """Counts each pair of a true and a predicted class: rows are true classes, columns predicted ones."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        # One row more than there is to count, for the pixels that are not annotated.
        self._cells = torch.zeros((num_classes + 1) * num_classes, dtype=torch.int64)

    @property
    def counts(self) -> torch.Tensor:
        """The matrix (classes, classes)."""
        return self._cells.view(-1, self.num_classes)[:-1]

    @property
    def totals(self) -> torch.Tensor:
        """Hits, true pixels and predicted pixels of every class, (3, classes)."""
        return torch.stack([self.counts.diagonal(), self.counts.sum(1), self.counts.sum(0)])

    def add(self, prediction: torch.Tensor, label: torch.Tensor) -> None:
        """Counts a label map; see `PixelCounts`."""
        cells = (label * self.num_classes + prediction).reshape(-1)
        counts = torch.bincount(cells, minlength=len(self._cells))
        self._cells.add_(counts.to(self._cells.device))

    def add_in_one_pass(
        self, prediction: np.ndarray, label: np.ndarray, ignored_ids: Iterable[int], background_id: int | None
    ) -> bool:
        """Checks a label map and counts it in one pass, which takes the least time on a processor.

        Args:
            prediction: int64 ids, flat.
            label: true ids of the same length.
            ignored_ids: labels that are not annotated.
            background_id: class that every prediction from this id on counts as; None without such a rule.

        Returns:
            Whether it was counted. An id that is no class leaves the counts as they were.
        """
        if background_id is not None:
            prediction = np.minimum(prediction, background_id)
        row_starts = self._row_starts(int(label.min()), int(label.max()), ignored_ids)
        if row_starts is None or prediction.min() < 0 or prediction.max() >= self.num_classes:
            return False
        counts = self._cells.numpy()
        # A few thousand pixels at a time, which stay in the processor's cache for all that is done with them. Adding in
        # place needs no second matrix, as bincount does, and takes less time than that and adding the two.
        parts = [slice(start, start + PIXELS_AT_ONCE) for start in range(0, label.size, PIXELS_AT_ONCE)]
        for place, part in enumerate(parts):
            cells = row_starts.take(label[part]) + prediction[part]
            if cells.min() < 0:
                for counted in parts[:place]:
                    np.subtract.at(counts, row_starts.take(label[counted]) + prediction[counted], 1)
                return False
            np.add.at(counts, cells, 1)
        return True

    def _row_starts(self, lowest: int, highest: int, ignored_ids: Iterable[int]) -> np.ndarray | None:
        """Returns where the row of each label begins; None if the labels lie too far from 0 for such a table.

        Negative labels are found from the table's end, as Python counts. What is ignored goes to the row behind the
        matrix, and a wrong label leads to a negative cell.
        """
        num_from_0, num_below_0 = max(highest + 1, 0), max(-lowest, 0)
        if num_from_0 + num_below_0 > LARGEST_LABEL_TABLE:
            return None
        row_starts = np.full(num_from_0 + num_below_0, -self.num_classes)
        num_known = min(num_from_0, self.num_classes)
        row_starts[:num_known] = np.arange(num_known) * self.num_classes
        row_starts[[ignored for ignored in ignored_ids if lowest <= ignored <= highest]] = self.num_classes**2
        return row_starts


class ClassCounts:
    """Counts of each class the pixels that were hit, the true and the predicted ones; no more than long lists allow.

    Attributes:
        counts: (3, classes): hits, true pixels, predicted pixels.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts = torch.zeros(3, num_classes, dtype=torch.int64)

    @property
    def totals(self) -> torch.Tensor:
        """Hits, true pixels and predicted pixels of every class, (3, classes)."""
        return self.counts

    def add(self, prediction: torch.Tensor, label: torch.Tensor) -> None:
        """Counts a label map; see `PixelCounts`."""
        prediction = prediction.where(label < self.num_classes, self.num_classes)
        self.counts.add_(count_classes(prediction, label, self.num_classes).to(self.counts.device))


class ContourCounts:
    """Counts as `ClassCounts`, but only pixels near a contour of their map, for the boundary IoU.

    Cheng et al., arXiv 2103.16562, who take the pixels within 2 % of the picture's diagonal.

    Args:
        num_classes: number of classes.
        boundary_ratio: width of the strip as a share of the picture's diagonal.

    Attributes:
        counts: (3, classes): hits, true pixels, predicted pixels.
    """

    def __init__(self, num_classes: int, boundary_ratio: float) -> None:
        self.num_classes = num_classes
        self.boundary_ratio = boundary_ratio
        self.counts = torch.zeros(3, num_classes, dtype=torch.int64)

    @property
    def totals(self) -> torch.Tensor:
        """Hits, true pixels and predicted pixels of every class, (3, classes)."""
        return self.counts

    def add(self, prediction: torch.Tensor, label: torch.Tensor) -> None:
        """Counts a label map; see `PixelCounts`."""
        if not label.numel():
            return
        distance = max(1, round(self.boundary_ratio * math.hypot(*label.shape[-2:])))
        annotated = label < self.num_classes
        # Where nothing is annotated the prediction ends too, so that such an edge is one in both maps.
        prediction = prediction.where(annotated, self.num_classes)
        prediction, label = (
            ids.where(near_contour(ids, distance) & annotated, self.num_classes) for ids in (prediction, label)
        )
        self.counts.add_(count_classes(prediction, label, self.num_classes).to(self.counts.device))


def count_classes(prediction: torch.Tensor, label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Counts hits, true pixels and predicted pixels of every class.

    Args:
        prediction: int64 ids of any shape; `num_classes` is not counted.
        label: true ids in the same shape, likewise.
        num_classes: number of classes.

    Returns:
        (3, classes) int64.
    """
    hits = label.where(prediction == label, num_classes)
    counted = (torch.bincount(ids.reshape(-1), minlength=num_classes + 1) for ids in (hits, label, prediction))
    return torch.stack([counts[:num_classes] for counts in counted])


def count_classes_of_picture(prediction: np.ndarray, label: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts hits, true pixels and predicted pixels of every class in one picture, in the least time on a processor.

    Args:
        prediction: class ids of any shape, int64.
        label: true ids in the same shape; -1 is not annotated.
        num_classes: number of classes; every id must be below it.

    Returns:
        (3, classes) int64.
    """
    # The first place is for the pixels that do not count.
    counts = np.zeros((3, num_classes + 1), dtype=np.int64)
    prediction, label = prediction.reshape(-1), label.reshape(-1)
    # A few thousand pixels at a time, as in `PairCounts.add_in_one_pass`.
    for start in range(0, label.size, PIXELS_AT_ONCE):
        true, predicted = label[start : start + PIXELS_AT_ONCE] + 1, prediction[start : start + PIXELS_AT_ONCE] + 1
        predicted *= true > 0
        np.add.at(counts[1], true, 1)
        np.add.at(counts[2], predicted, 1)
        true *= true == predicted
        np.add.at(counts[0], true, 1)
    return counts[:, 1:]


def near_contour(ids: torch.Tensor, distance: int) -> torch.Tensor:
    """Finds the pixels of which another class, or the picture's edge, lies within `distance` pixels along the axes.

    These are the pixels that eroding each class's mask `distance` times by a 3 x 3 square takes away, found for all
    classes at once.

    Args:
        ids: (..., H, W) integer class ids, each below 2^24.
        distance: width of the strip in pixels, at least 1.

    Returns:
        bool, (..., H, W).
    """
    maps = ids.reshape(-1, 1, *ids.shape[-2:]).float()
    # An id that no class has, all around the picture.
    padded = F.pad(maps, (distance,) * 4, value=-1.0)
    highest, lowest = padded, -padded
    for window in ((1, 2 * distance + 1), (2 * distance + 1, 1)):
        highest = F.max_pool2d(highest, window, stride=1)
        lowest = F.max_pool2d(lowest, window, stride=1)
    return (highest != -lowest).reshape(ids.shape)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Boundary IoU against its definition, pixel by pixel."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from fgaseg_hf.evaluation.boundary_iou import BoundaryIoU


def by_definition(prediction: np.ndarray, labels: np.ndarray, num_classes: int, distance: int) -> np.ndarray:
    """Intersection and union of the edges of each class, by SciPy's erosion."""
    square = np.ones((2 * distance + 1, 2 * distance + 1), bool)
    counted = ndimage.binary_erosion(labels != 255, square, border_value=1)
    counts = np.zeros((num_classes, 2), int)
    for place in range(num_classes):
        edges = [
            mask & ~ndimage.binary_erosion(mask, square) & counted for mask in (prediction == place, labels == place)
        ]
        counts[place] = (edges[0] & edges[1]).sum(), (edges[0] | edges[1]).sum()
    return counts


def test_the_definition() -> None:
    generator = np.random.default_rng(0)
    measure, expected = BoundaryIoU(3, width=0.05), np.zeros((3, 2), int)
    for _ in range(2):
        labels = np.kron(generator.integers(0, 3, (3, 4)), np.ones((10, 10), int))
        prediction = np.roll(labels, 2, axis=1)
        labels[12:15, 20:24] = 255
        measure.add(torch.tensor(prediction), torch.tensor(labels))
        # A twentieth of a diagonal of 50.
        expected += by_definition(prediction, labels, 3, distance=2)
    assert measure.mean() == pytest.approx((expected[:, 0] / expected[:, 1]).mean())
    only_one = torch.tensor([False, True, False])
    assert measure.mean(only_one) == pytest.approx(expected[1, 0] / expected[1, 1])


def test_edges_count_and_insides_do_not() -> None:
    labels = torch.zeros(60, 60, dtype=torch.long)
    labels[:, 30:] = 1
    same, moved = BoundaryIoU(2), BoundaryIoU(2)
    same.add(labels, labels)
    moved.add(labels.roll(2, dims=1), labels)
    assert same.mean() == 1
    assert moved.mean() < 0.7
    with pytest.raises(ValueError, match="one size"):
        same.add(labels[:30], labels)

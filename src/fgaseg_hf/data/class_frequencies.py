# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How much of a training split each class covers, and what that says about the weight of its pixels."""

from collections.abc import Callable

import numpy as np

from .augmentation import IGNORED_LABEL
from .label_decoding import limit_short_side_of_labels
from .readable_samples import UnreadableRows
from .segmentation_split import SegmentationSplit, UnreadableRow


def count_pixels(
    split: SegmentationSplit,
    *,
    process_index: int = 0,
    num_processes: int = 1,
    num_skippable: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> np.ndarray:
    """Counts the annotated pixels of each class in each picture; all label maps are read once.

    Args:
        split: pictures and label maps.
        process_index: of several processes that share the work, the number of this one.
        num_processes: how many there are.
        num_skippable: label maps that cannot be read which may be left out, as if nothing were annotated in them.
        say: is told of each of these.

    Returns:
        (pictures, classes), int64; 0 in the rows of the others.

    Raises:
        UnreadableRow: more cannot be read.
    """
    unreadable = UnreadableRows(num_skippable, say)
    num_pixels = np.zeros((len(split), len(split.class_names)), dtype=np.int64)
    for index in range(process_index, len(split), num_processes):
        try:
            labels = limit_short_side_of_labels(split.label_map(index), split.max_short_side)
        except UnreadableRow as error:
            unreadable.add(str(error))
            continue
        present, counts = np.unique(labels, return_counts=True)
        is_class = present != IGNORED_LABEL
        num_pixels[index, present[is_class]] = counts[is_class]
    return num_pixels


def require_annotation(num_pixels: np.ndarray) -> None:
    """Refuses a split of which nothing is annotated.

    Args:
        num_pixels: (pictures, classes), what all processes have counted together.

    Raises:
        ValueError: no pixel is.
    """
    if not num_pixels.any():
        raise ValueError("No pixel of the training split is annotated, so there is no class to show.")


def balanced_weights(num_pixels: np.ndarray, power: float) -> list[float]:
    """Weighs pixels of rare classes more (median frequency balancing, Eigen and Fergus, arXiv 1411.4734).

    A pixel of a class with the share `f` of all annotated pixels counts `(median / f) ** power`, with the median share
    of the classes that occur; then all are scaled, so that an annotated pixel counts 1 on average. A class that does
    not occur counts as much as the rarest that does.

    Args:
        num_pixels: (pictures, classes), see [`count_pixels`].
        power: 0 weighs all pixels alike, 1 gives all classes the same weight as a whole.

    Raises:
        ValueError: the power is not between 0 and 1.
    """
    if not 0 <= power <= 1:
        raise ValueError(f"--class_balancing is {power}, but must be between 0 and 1.")
    shares = num_pixels.sum(axis=0) / num_pixels.sum()
    occurring = shares[shares > 0]
    weights = (np.median(occurring) / np.maximum(shares, occurring.min())) ** power
    return (weights / (weights @ shares)).tolist()

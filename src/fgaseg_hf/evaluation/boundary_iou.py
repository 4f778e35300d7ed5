# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Boundary IoU: the intersection over union of what lies near the edges of masks, which mean IoU hardly sees.

After *Boundary IoU: Improving Object-Centric Image Segmentation Evaluation* (Cheng and others, 2021, arXiv 2103.16562).
"""

from dataclasses import dataclass, field

import torch
from torch import nn

# The published width of the edges, as a share of the picture's diagonal.
PUBLISHED_WIDTH = 0.02


@dataclass
class BoundaryIoU:
    """Counts the pixels near edges over many pictures.

    Near an edge is what belongs to a class and lies no further than `width` from what does not, or from the picture's
    border. Pixels without a class, and those near them, count nowhere: where their edges run nobody said.

    Attributes:
        num_classes: How many classes there are.
        ignore_index: Which label means no class.
        width: Share of the picture's diagonal.
    """

    num_classes: int
    ignore_index: int = 255
    width: float = PUBLISHED_WIDTH
    _intersections: torch.Tensor = field(init=False)
    _unions: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._intersections = torch.zeros(self.num_classes, dtype=torch.int64)
        self._unions = torch.zeros(self.num_classes, dtype=torch.int64)

    def add(self, prediction: torch.Tensor, labels: torch.Tensor) -> None:
        """Counts one picture.

        Args:
            prediction: Whole numbers, (height, width); others than the classes' are none.
            labels: The same shape.

        Raises:
            ValueError: The shapes differ.
        """
        if prediction.shape != labels.shape or labels.dim() != 2:
            raise ValueError(
                f"The prediction has shape {tuple(prediction.shape)} and the labels {tuple(labels.shape)}: give two "
                "maps (height, width) of one size."
            )
        height, width = labels.shape
        distance = max(round(self.width * (height**2 + width**2) ** 0.5), 1)
        # Beyond the picture nothing is known to be without a class.
        counted = _eroded((labels != self.ignore_index)[None], distance, outside=True)[0]
        for place in torch.cat((labels.unique(), prediction.unique())).unique().tolist():
            if 0 <= place < self.num_classes and place != self.ignore_index:
                masks = torch.stack((prediction == place, labels == place))
                edges = masks & ~_eroded(masks, distance, outside=False) & counted
                self._intersections[place] += int(edges.all(dim=0).sum())
                self._unions[place] += int(edges.any(dim=0).sum())

    def mean(self, is_present: torch.Tensor | None = None) -> float:
        """The mean over classes, from 0 to 1; NaN if there is none.

        Args:
            is_present: bool (classes,): which classes count; those that have edges in the labels or the predictions,
                if not given.
        """
        counts = self._unions > 0 if is_present is None else is_present & (self._unions > 0)
        return float((self._intersections[counts] / self._unions[counts]).mean())


def _eroded(masks: torch.Tensor, distance: int, outside: bool) -> torch.Tensor:
    """What of masks (any, height, width) lies deeper than `distance`, in squares; `outside` is beyond the border."""
    side = 2 * distance + 1
    holes = nn.functional.pad((~masks).float(), [distance] * 4, value=0.0 if outside else 1.0)
    near = nn.functional.max_pool2d(nn.functional.max_pool2d(holes, (side, 1), 1), (1, side), 1)
    return near == 0


__all__ = ["PUBLISHED_WIDTH", "BoundaryIoU"]

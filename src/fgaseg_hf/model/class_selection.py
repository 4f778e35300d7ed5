# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Which of a picture's classes go on through the decoder: the class limit and TopK."""

from dataclasses import dataclass
from typing import Literal, overload

import torch


@dataclass
class ClassSelection:
    """The classes that each picture keeps.

    Attributes:
        indices: (batch, kept), rising: the kept classes' places among all of the picture's classes.
        is_kept: (batch, kept) bool, or `None` if every place is taken. Pictures that keep fewer classes than their
            neighbours have places left, which point at some class but take no part.
        num_classes: How many classes there were.
    """

    indices: torch.Tensor
    is_kept: torch.Tensor | None
    num_classes: int

    @classmethod
    def of_all(cls, batch_size: int, num_classes: int, device: torch.device) -> "ClassSelection":
        """Keeps every class of every picture."""
        indices = torch.arange(num_classes, device=device).expand(batch_size, -1)
        return cls(indices, None, num_classes)

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Takes the kept classes' rows of (batch, classes, ...) -> (batch, kept, ...)."""
        return gather_classes(values, self.indices)

    @overload
    def scatter(self, values: torch.Tensor) -> torch.Tensor: ...

    @overload
    def scatter(self, values: torch.Tensor | None) -> torch.Tensor | None: ...

    def scatter(self, values: torch.Tensor | None) -> torch.Tensor | None:
        """Puts (batch, kept, ...) back at its classes; all other classes get the most negative finite score.

        Returns:
            (batch, classes, ...); `None` of `None`.
        """
        if values is None:
            return None
        lowest = torch.finfo(values.dtype).min
        if self.is_kept is not None:
            values = values.masked_fill(~self.is_kept[(...,) + (None,) * (values.dim() - 2)], lowest)
        is_static = not torch.compiler.is_compiling()
        if is_static and self.is_kept is None and self.indices.shape[1] == self.num_classes:
            # Indices rise, so these are all the classes in their order.
            return values
        scores = values.new_full((values.shape[0], self.num_classes, *values.shape[2:]), lowest)
        index = self.indices[(...,) + (None,) * (values.dim() - 2)].expand_as(values)
        if self.is_kept is None:
            return scores.scatter_(1, index, values)
        # Places left may point at a class that is kept elsewhere: the larger of both is the kept one's score.
        return scores.scatter_reduce_(1, index, values, reduce="amax")

    def narrow(self, kept_places: torch.Tensor, is_kept: torch.Tensor | None) -> "ClassSelection":
        """The selection of some of this selection's places.

        Args:
            kept_places: (batch, fewer), places among this selection's.
            is_kept: (batch, fewer) bool, or `None` if all are taken.
        """
        return ClassSelection(self.indices.gather(1, kept_places), is_kept, self.num_classes)


def highest_peaks(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, None]:
    """The `count` classes of each picture whose maps peak highest, in their old order.

    Args:
        scores: (batch, classes, height, width).
        count: How many to keep; all, if there are no more.

    Returns:
        Places (batch, count), rising, and `None`: every place is taken.
    """
    count = torch.sym_min(count, scores.shape[1])
    places = scores.flatten(2).amax(dim=-1).topk(count, dim=1).indices
    return places.sort(dim=1).values, None


def highest_softmax_peaks(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, None]:
    """The `count` classes of each picture whose share in a softmax over its classes peaks highest, in their old order.

    What leads weakly in some place goes before what is beaten everywhere by a class that scores still higher.

    Args:
        scores: (batch, classes, height, width).
        count: How many to keep; all, if there are no more.

    Returns:
        As [`highest_peaks`].
    """
    return highest_peaks(scores.float().log_softmax(dim=1), count)


def union_over_pixels(
    scores: torch.Tensor, count: int, is_kept: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The `count` best classes of every pixel, united over each picture by itself (the released rule).

    Args:
        scores: (batch, classes, height, width).
        count: How many classes a pixel keeps.
        is_kept: (batch, classes) bool, `None` = all: which classes take part.

    Returns:
        Places (batch, most kept of any picture), rising, and which of them are taken.
    """
    batch_size, num_classes = scores.shape[:2]
    if is_kept is not None:
        scores = scores.masked_fill(~is_kept[..., None, None], torch.finfo(scores.dtype).min)
    best = scores.flatten(2).topk(min(count, num_classes), dim=1).indices.flatten(1)
    is_best = torch.zeros(batch_size, num_classes, dtype=torch.bool, device=scores.device).scatter(1, best, True)
    if is_kept is not None:
        is_best = is_best & is_kept
    most = int(is_best.sum(dim=1).max())
    # A stable sort brings the kept classes to the front without changing their order.
    places = is_best.int().sort(dim=1, descending=True, stable=True).indices[:, :most]
    taken = is_best.gather(1, places)
    return places, None if bool(taken.all()) else taken


def select_classes(
    scores: torch.Tensor,
    count: int,
    rule: Literal["peak", "softmax_peak", "union"],
    is_kept: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """TopK by the named rule. See [`highest_peaks`], [`highest_softmax_peaks`] and [`union_over_pixels`]."""
    if rule == "union":
        return union_over_pixels(scores, count, is_kept)
    if rule == "softmax_peak":
        return highest_softmax_peaks(scores, count)
    return highest_peaks(scores, count)


def gather_classes(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Takes each picture's rows `places` (batch, kept) of (batch, classes, ...) -> (batch, kept, ...)."""
    index = places[(...,) + (None,) * (values.dim() - 2)].expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)

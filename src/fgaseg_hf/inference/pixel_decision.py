# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Scores of labels -> which label each pixel gets, and how likely it is."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from PIL import Image
from torch import nn

from ..model.label_maps import find_best_classes
from ..model.semantic_postprocessing import UNLABELLED_ID
from .edge_refinement import refine_edges, working_size

# Labels of one picture whose edges are refined: those that cover most of it.
MAX_REFINED_LABELS = 64
# What makes a probability of 0 or 1 in float32.
MAX_LOGIT = 30.0

Parts = Iterable[tuple[int, torch.Tensor]]

# Larger pictures are decided so many pixels at a time, for what that takes to be small beside them.
PIXELS_AT_ONCE = 2**22
# Probabilities of the whole picture are kept for all of its bands up to so many numbers (64 MiB), else made anew.
MOST_KEPT = 2**24


@dataclass(frozen=True)
class PixelDecision:
    """What each pixel got.

    Attributes:
        label_map: int16, or int32 where that does not number all labels, (height, width): places among the labels; -1
            where none is likely enough.
        confidence: float16 (height, width): the probability of the pixel's label; of the background and of pixels
            without a label, one minus that of the likeliest other.
    """

    label_map: torch.Tensor
    confidence: torch.Tensor


def decide_pixels(
    scores: torch.Tensor,
    size: tuple[int, int],
    *,
    parts_of: Callable[[torch.Tensor], Parts] | None = None,
    background_index: int | None = None,
    threshold: float | None = None,
    guide: Image.Image | None = None,
) -> PixelDecision:
    """Finds each pixel's label at the picture's own size, in memory that does not grow with the number of labels.

    Args:
        scores: Logits, (views, labels, any height, any width).
        size: The picture's height and width.
        parts_of: Turns such scores, of some of the labels, into probabilities (labels, height, width) of the whole
            picture, a few labels at a time: what joins the views of a sliding window. Without it there is one view, and
            its logits are resized.
        background_index: Which label is the background's: it is given where its score is above all others'.
        threshold: Pixels whose best label has a lower probability get none.
        guide: The picture, RGB, to whose edges the labels' edges are brought; they stay where they are, if not given.

    Raises:
        ValueError: A score is not a number.
    """
    dtype = torch.int16 if scores.shape[1] <= torch.iinfo(torch.int16).max else torch.int32
    height, width = size
    label_map = torch.empty(size, dtype=dtype, device=scores.device)
    confidence = torch.empty(size, dtype=torch.float16, device=scores.device)
    if background_index is not None and scores.shape[1] == 1:
        background_index = None
    if guide is not None:
        decided = _refined_tiles(
            scores, size, guide, parts_of=parts_of, background_index=background_index, threshold=threshold
        )
        for tile, labels, probabilities in decided:
            label_map[tile], confidence[tile] = labels.to(dtype), probabilities
        return PixelDecision(label_map, confidence)
    named = [place for place in range(scores.shape[1]) if place != background_index]
    parts, background = _parts_again(scores[:, named], parts_of), None
    if background_index is not None:
        background = _parts_again(scores[:, background_index, None], parts_of)
    num_rows = max(PIXELS_AT_ONCE // width, 1)
    for top in range(0, height, num_rows):
        rows = slice(top, min(top + num_rows, height))
        labels, best = find_best_classes(parts(), size, dtype=dtype, rows=rows)
        of_background = None if background is None else find_best_classes(background(), size, rows=rows)[1]
        confidence[rows] = _decide_rows(
            labels, best, of_background, parts_of is None, background_index=background_index, threshold=threshold
        )
        label_map[rows] = labels
    return PixelDecision(label_map, confidence)


def _decide_rows(
    label_map: torch.Tensor,
    best: torch.Tensor,
    of_background: torch.Tensor | None,
    are_logits: bool,
    *,
    background_index: int | None,
    threshold: float | None,
) -> torch.Tensor:
    """Decides some rows of a picture; see [`decide_pixels`].

    Args:
        label_map: The best labels, counted without the background; written over.
        best: Their scores, float32; written over.
        of_background: The background's scores, if there is one.
        are_logits: Whether scores are logits, and not probabilities.
        background_index: See there.
        threshold: See there.

    Returns:
        The rows' confidence in float32.
    """
    is_background = None
    if of_background is not None and background_index is not None:
        # Those behind the background's place move up by it.
        label_map += label_map >= background_index
        is_background = of_background > best
    confidence = best.sigmoid_() if are_logits else best
    _leave_out(label_map, confidence, is_background, background_index, threshold)
    return confidence


def _refined_tiles(
    scores: torch.Tensor,
    size: tuple[int, int],
    guide: Image.Image,
    *,
    parts_of: Callable[[torch.Tensor], Parts] | None,
    background_index: int | None,
    threshold: float | None,
) -> Iterator[tuple[tuple[slice, slice], torch.Tensor, torch.Tensor]]:
    """Decides a picture tile by tile with edges as the picture has them; see [`decide_pixels`].

    Yields:
        Where a tile lies (rows, columns), its label map, and its confidence in float32.
    """
    small = working_size(size)
    coarse, _ = find_best_classes(_parts(scores, parts_of), small)
    labels, areas = coarse.unique(return_counts=True)
    labels = labels[areas.topk(min(len(labels), MAX_REFINED_LABELS)).indices].sort().values
    maps = torch.cat([_resize(part, small) for _, part in _parts(scores[:, labels], parts_of)])
    if parts_of is None:
        maps = maps.sigmoid_()
    for tile, places, values in refine_edges(maps, guide):
        near, values = labels[places], values.clamp(0, 1)
        is_background, is_named = None, near != (-1 if background_index is None else background_index)
        if is_named.any():
            confidence, winners = values[is_named].max(dim=0)
            label_map = near[is_named][winners]
        else:
            # The background alone is near.
            confidence = torch.zeros_like(values[0])
            label_map = near.new_zeros(confidence.shape)
        if background_index is not None:
            is_background = values[~is_named].sum(dim=0) > confidence
        _leave_out(label_map, confidence, is_background, background_index, threshold)
        yield tile, label_map, confidence


def _leave_out(
    label_map: torch.Tensor,
    confidence: torch.Tensor,
    is_background: torch.Tensor | None,
    background_index: int | None,
    threshold: float | None,
) -> None:
    """Takes labels from pixels that are the background's, or not likely enough; in place, as all that is large."""
    if is_background is not None and background_index is not None:
        label_map.masked_fill_(is_background, background_index)
        confidence[is_background] = 1 - confidence[is_background]
    elif threshold is not None:
        is_unlabelled = confidence < threshold
        label_map.masked_fill_(is_unlabelled, UNLABELLED_ID)
        confidence[is_unlabelled] = 1 - confidence[is_unlabelled]


def _resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    # Scores of labels that were left out are the lowest there are, and would become infinite.
    limited = maps.float().clamp(-MAX_LOGIT, MAX_LOGIT)
    return nn.functional.interpolate(limited[None], size=size, mode="bilinear", align_corners=False)[0]


def _parts(scores: torch.Tensor, parts_of: Callable[[torch.Tensor], Parts] | None) -> Parts:
    return [(0, scores[0])] if parts_of is None else parts_of(scores)


def _parts_again(scores: torch.Tensor, parts_of: Callable[[torch.Tensor], Parts] | None) -> Callable[[], Parts]:
    """What gives the parts of scores, as often as it is asked."""
    if parts_of is None:
        return lambda: [(0, scores[0])]
    kept: list[tuple[int, torch.Tensor]] = []
    for part in parts_of(scores):
        kept.append(part)
        if sum(maps.numel() for _, maps in kept) > MOST_KEPT:
            return lambda: parts_of(scores)
    return lambda: kept


__all__ = ["PixelDecision", "decide_pixels"]

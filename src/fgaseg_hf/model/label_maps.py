# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Label maps at a picture's own size from a small map of each class: only what can win a place is brought up to it."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

# Side of the tiles in which classes are ruled out. On a processor so many values of the maps wide, for the fewer these
# are the more classes are ruled out, within bounds in pixels, for what is at work to fit into its cache. Elsewhere so
# many pixels wide that there are few tiles.
PROCESSOR_VALUES_PER_SIDE = 16
PROCESSOR_TILE_SIDES = (64, 256)
ACCELERATOR_TILE_SIDE = 1024
# Size of a tile's largest tensor: 64 MiB of float32.
VALUES_PER_PART = 2**24
# What rounding may add to an interpolated value, as a share of it.
ROUNDING = 16 * torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class ResizedSpan:
    """A stretch of an axis that is resized.

    Attributes:
        target: Where it lies on the new axis.
        source: What of the old axis it is made of.
        weights: How it is made of that, (new length, old length); rows sum to one.
    """

    target: slice
    source: slice
    weights: torch.Tensor


@torch.no_grad()
def find_best_classes(
    parts: Iterable[tuple[int, torch.Tensor]],
    size: tuple[int, int],
    num_classes_at_once: int | None = None,
    dtype: torch.dtype = torch.int64,
    rows: slice | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Finds each pixel's best class of maps that are resized bilinearly (align_corners False) to a picture's size.

    An interpolated value lies between the least and the greatest of those that it is made of. So in each tile of the
    picture, a class whose greatest value there is below another's least cannot win, and is not resized. The result is
    that of resizing every class, but for the last digit.

    Args:
        parts: Some classes at a time: the place of the first, rising, and their maps (classes, height, width), of the
            same size in every part.
        size: Height and width of the picture.
        num_classes_at_once: How many classes of a tile to resize at once; as many as fit into 64 MiB, if not given.
        dtype: Of the label map; a narrow one saves most of the memory that a large picture takes here.
        rows: Which rows of the picture; all of them, if not given.

    Returns:
        The label map and its classes' values in float32, both of the picture's size, or of so many rows of it. Of equal
        classes the first wins, again but for the last digit.

    Raises:
        ValueError: There is no class, a value is not a number or infinite, or `dtype` cannot number all classes.
    """
    rows = slice(0, size[0]) if rows is None else rows
    best = label_map = None
    for start, maps in parts:
        if start + len(maps) - 1 > torch.iinfo(dtype).max:
            raise ValueError(f"There are {start + len(maps)} classes or more: {dtype} cannot number them.")
        if best is None or label_map is None:
            shape = (rows.stop - rows.start, size[1])
            best = torch.full(shape, -torch.inf, dtype=working_dtype(maps.device), device=maps.device)
            label_map = torch.zeros(shape, dtype=dtype, device=maps.device)
            row_spans = spans_of_axis(maps.shape[1], size[0], maps, rows)
            columns = spans_of_axis(maps.shape[2], size[1], maps)
        classes = classes_that_can_win(maps, best)
        for row in row_spans if len(classes) else ():
            # Half precision would make ties out of neighbouring values.
            band = maps[classes, row.source].to(best.dtype)
            for column in columns:
                tile = (row.target, column.target)
                improve_tile(
                    best[tile],
                    label_map[tile],
                    band[:, :, column.source],
                    (classes + start).to(dtype),
                    (row.weights, column.weights),
                    num_classes_at_once,
                )
    if best is None or label_map is None:
        raise ValueError("There is no class; give the maps of at least one.")
    return label_map, best.float()


def improve_tile(
    best: torch.Tensor,
    label_map: torch.Tensor,
    maps: torch.Tensor,
    classes: torch.Tensor,
    weights: tuple[torch.Tensor, torch.Tensor],
    num_classes_at_once: int | None,
) -> None:
    """Resizes the classes that can win a pixel of a tile, and writes down where they do.

    Args:
        best: The best values so far, (tile height, tile width).
        label_map: Whose they are, in the same shape.
        maps: What the tile is made of, (classes, height, width).
        classes: Whose maps these are, (classes,), rising.
        weights: Of rows (tile height, height) and of columns (tile width, width).
        num_classes_at_once: See [`find_best_classes`].
    """
    for some in classes_that_can_win(maps, best).split(num_classes_at_once or max(VALUES_PER_PART // best.numel(), 1)):
        if not len(some):
            return
        # Half of the range, lest the lowest score become infinite on its way.
        limited = maps[some].clamp(torch.finfo(torch.float32).min / 2, torch.finfo(torch.float32).max / 2)
        with torch.autocast(maps.device.type, enabled=False):
            values, places = (weights[0] @ (limited @ weights[1].T)).max(dim=0)
        # Strictly greater: the first of equal classes wins, as in argmax.
        label_map.copy_(torch.where(values > best, classes[some[places]], label_map))
        torch.maximum(best, values, out=best)


def classes_that_can_win(maps: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """Rules out the classes that lose everywhere, whatever their values are weighed with.

    Args:
        maps: (classes, height, width).
        best: What must be beaten, of any shape.

    Returns:
        Places of the other classes, rising.

    Raises:
        ValueError: A value is not a number, or infinite upwards.
    """
    finite = torch.finfo(torch.float32)
    limits = maps.flatten(1).aminmax(dim=1)
    # One look for both: whichever value is no number makes the highest none.
    check_are_numbers(limits.max.max())
    lowest, highest = (limit.to(best.dtype).clamp(finite.min, finite.max) for limit in limits)
    bar = torch.maximum(lowest.max(), best.min())
    return (highest + ROUNDING * highest.abs() >= bar - ROUNDING * bar.abs()).nonzero().flatten()


def check_are_numbers(values: torch.Tensor) -> None:
    """Refuses scores of broken weights and those that overflowed on their way: no pixel may be labelled by them.

    Minus infinity is a class that takes no part.

    Raises:
        ValueError: A value is not a number, or infinite upwards.
    """
    if not (values < torch.inf).all():
        if values.dtype == torch.float16:
            raise ValueError(
                "The scores hold values that are infinite or not numbers: compute them in float32 or bfloat16."
            )
        raise ValueError(
            "The scores hold values that are infinite or not numbers: the weights or the pictures do too, or were "
            "computed in float16, which float32 and bfloat16 replace."
        )


def working_dtype(device: torch.device) -> torch.dtype:
    """In what to resize: where products of float32 may be cut to fewer digits (TF32), in float64."""
    return torch.float64 if device.type == "cuda" else torch.float32


def spans_of_axis(
    source_length: int, target_length: int, like: torch.Tensor, within: slice | None = None
) -> list[ResizedSpan]:
    """Cuts an axis that is resized bilinearly (align_corners False) into stretches.

    Args:
        source_length: Of the old axis.
        target_length: Of the new axis.
        like: A tensor that gives the device.
        within: Which part of the new axis is wanted, from whose start targets are counted; all of it, if not given.
    """
    within = slice(0, target_length) if within is None else within
    identity = torch.eye(source_length, device=like.device)[None, None]
    size = (target_length, source_length)
    weights = nn.functional.interpolate(identity, size=size, mode="bilinear", align_corners=False)[0, 0]
    side = ACCELERATOR_TILE_SIDE
    if like.device.type == "cpu":
        smallest, largest = PROCESSOR_TILE_SIDES
        side = min(max(PROCESSOR_VALUES_PER_SIDE * target_length // source_length, smallest), largest)
    spans = []
    for start in range(within.start, within.stop, side):
        stop = min(start + side, within.stop)
        used = weights[start:stop].any(dim=0).nonzero().flatten()
        source = slice(int(used[0]), int(used[-1]) + 1)
        target = slice(start - within.start, stop - within.start)
        spans.append(ResizedSpan(target, source, weights[start:stop, source].to(working_dtype(like.device))))
    return spans

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Windows of a patch grid, cut out of it, those of each size by themselves: without rolling, filling or a mask."""

import itertools
from collections.abc import Callable, Sequence

import torch

from .partwise_computation import apply_in_parts
from .windows import flatten_windows, merge_windows, view_as_windows


def window_bands(size: int, window_size: int, is_shifted: bool) -> list[tuple[int, int]]:
    """How an axis of the grid falls into windows.

    Shifted windows (arXiv 2103.14030) are the grid cut at other places, with smaller windows at its ends: a patch
    attends to those that were its neighbours before the grid was rolled. A single window has nothing to shift to.

    Args:
        size: Patches along the axis.
        window_size: Side of a window in patches.
        is_shifted: Whether the windows are shifted by half of one.

    Returns:
        Bands of windows of the same length, in their order: (how many, length).
    """
    if size <= window_size:
        return [(1, size)]
    first = window_size // 2 if is_shifted else 0
    number, last = divmod(size - first, window_size)
    return [band for band in ((1, first), (number, window_size), (1, last)) if all(band)]


def apply_in_windows(
    function: Callable[..., torch.Tensor],
    cost_embeddings: torch.Tensor,
    shared: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    bands: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    *,
    values_per_patch: int,
    checkpoint: Callable[..., torch.Tensor] | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Calls a function on the windows of a grid, windows of one size and a few classes at a time.

    Args:
        function: Called as `function(windows, *shared, *weights)` with (batch, classes, windows, window area, channels)
            and (batch, windows, window area, channels); keeps the shape of the first.
        cost_embeddings: (batch, classes, height, width, channels).
        shared: What all classes share, (batch, height, width, channels) each.
        weights: What every window sees whole.
        bands: How the rows and the columns fall into windows, see [`window_bands`].
        values_per_patch: Size of the largest tensor that a patch of a class makes within the function.
        checkpoint: See [`apply_in_parts`].
        out: See [`apply_in_parts`]; may be `cost_embeddings`.

    Returns:
        (batch, classes, height, width, channels).
    """
    heights, widths = ([number * length for number, length in axis] for axis in bands)

    def cut(states: torch.Tensor) -> list[torch.Tensor]:
        regions = (region for rows in states.split(heights, dim=-3) for region in rows.split(widths, dim=-2))
        kinds = itertools.product(*bands)
        return [view_as_windows(region, *kind) for region, kind in zip(regions, kinds, strict=True)]

    def transform(windows: torch.Tensor, *shared: torch.Tensor) -> torch.Tensor:
        return function(flatten_windows(windows), *shared).reshape(windows.shape)

    # Without gradients each region is written to its place; with them, all are joined at the end.
    if out is None and not torch.is_grad_enabled():
        out = torch.empty_like(cost_embeddings)
    regions = cut(cost_embeddings)
    guides = zip(*([flatten_windows(windows) for windows in cut(states)] for states in shared), strict=True)
    places = [None] * len(regions) if out is None else cut(out)
    results = [
        apply_in_parts(
            transform,
            (region,),
            (*guide, *weights),
            dim=1,
            values_per_item=region[:, 0, ..., 0].numel() * values_per_patch,
            checkpoint=checkpoint,
            out=place,
        )
        for region, guide, place in zip(regions, guides, places, strict=True)
    ]
    if out is not None and not results[0].requires_grad:
        return out
    merged = [merge_windows(result) for result in results]
    rows = [torch.cat(merged[start : start + len(widths)], dim=-2) for start in range(0, len(merged), len(widths))]
    return torch.cat(rows, dim=-3)

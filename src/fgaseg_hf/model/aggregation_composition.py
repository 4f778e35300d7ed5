# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""An aggregation layer computed fast: projections as one product, windows and rows in parts, memory written over."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import torch

from .aggregation_layer import FGASegAggregationLayer
from .class_aggregation import FGASegClassAggregation, FGASegClassPadding, FGASegLinearClassAttention
from .cut_windows import apply_in_windows, window_bands
from .device_sizes import DeviceSizes
from .linear_composition import compose_side_by_side
from .partwise_computation import apply_in_parts
from .spatial_aggregation import FGASegFeedForward, FGASegWindowAttention, FGASegWindowBlock
from .symbolic_windows import FGASegSymbolicWindows, window_grid
from .windows import FGASegWindowGrid


class WindowGrids:
    """The windows of one grid, plain and shifted, with their masks: made once for all layers.

    Args:
        costs: (batch, classes, height, width, channels).
        window_size: Side of a window in patches.
    """

    def __init__(self, costs: torch.Tensor, window_size: int) -> None:
        self._costs = costs
        self._window_size = window_size
        self._made: dict[bool, tuple[FGASegWindowGrid | FGASegSymbolicWindows, torch.Tensor | None]] = {}

    def of(self, is_shifted: bool) -> tuple[FGASegWindowGrid | FGASegSymbolicWindows, torch.Tensor | None]:
        """The windows, and the mask of their attention."""
        if is_shifted not in self._made:
            height, width = self._costs.shape[2:4]
            grid = window_grid(height, width, self._window_size, is_shifted, self._costs.device)
            self._made[is_shifted] = grid, grid.mask(self._costs.dtype)
        return self._made[is_shifted]


def aggregate(
    layer: FGASegAggregationLayer,
    costs: torch.Tensor,
    appearance_guidance: torch.Tensor,
    text_guidance: torch.Tensor,
    is_kept: torch.Tensor | None,
    *,
    grids: WindowGrids,
    sizes: DeviceSizes,
    checkpoint: Callable[..., Any] | None,
) -> torch.Tensor:
    """What the layer's `forward` computes.

    What nothing else holds is written over, `costs` too: to fetch fresh memory takes a processor as long as to fill it.

    Args:
        layer: The layer.
        costs: (batch, classes, height, width, channels); not to be used any more.
        appearance_guidance: (batch, height, width, guidance_dim).
        text_guidance: (batch, classes, guidance_dim).
        is_kept: (batch, classes) bool, `None` = all.
        grids: The windows.
        sizes: What is right for the device.
        checkpoint: Gradient checkpointing, or `None`.
    """
    appearance_guidance = layer.spatial_aggregation.guidance_norm(appearance_guidance)
    for block in cast(Iterable[FGASegWindowBlock], layer.spatial_aggregation.blocks):
        if sizes.cuts_windows:
            costs = _attend_in_cut_windows(block, costs, appearance_guidance, checkpoint)
        else:
            costs = _attend_in_window_grid(block, costs, appearance_guidance, grids, checkpoint)
    aggregation = layer.class_aggregation
    if checkpoint is not None:
        return checkpoint(partial(_aggregate_classes, aggregation), costs, text_guidance, is_kept, None)
    return _aggregate_classes(aggregation, costs, text_guidance, is_kept, costs)


def _attend_in_cut_windows(
    block: FGASegWindowBlock,
    costs: torch.Tensor,
    appearance_guidance: torch.Tensor,
    checkpoint: Callable[..., Any] | None,
) -> torch.Tensor:
    """A window block, windows of one size and a few classes at a time."""
    attention = block.attention
    bands = [window_bands(size, block.window_size, block.is_shifted) for size in costs.shape[2:4]]
    return apply_in_windows(
        lambda windows, queries, keys, *weights: _transform_windows(block, windows, queries, keys, None, *weights),
        costs,
        (attention.query_guidance(appearance_guidance), attention.key_guidance(appearance_guidance)),
        compose_side_by_side((attention.query, attention.key, attention.value)),
        (bands[0], bands[1]),
        values_per_patch=4 * costs.shape[-1],
        checkpoint=checkpoint,
        out=costs,
    )


def _attend_in_window_grid(
    block: FGASegWindowBlock,
    costs: torch.Tensor,
    appearance_guidance: torch.Tensor,
    grids: WindowGrids,
    checkpoint: Callable[..., Any] | None,
) -> torch.Tensor:
    """A window block, all windows and many classes at a time."""
    attention = block.attention
    grid, mask = grids.of(block.is_shifted)

    def transform(costs: torch.Tensor, *shared: torch.Tensor) -> torch.Tensor:
        return grid.merge(_transform_windows(block, grid.split(costs), *shared))

    return apply_in_parts(
        transform,
        (costs,),
        (
            grid.split(attention.query_guidance(appearance_guidance)),
            grid.split(attention.key_guidance(appearance_guidance)),
            mask,
            *compose_side_by_side((attention.query, attention.key, attention.value)),
        ),
        dim=1,
        values_per_item=costs[:, 0].numel() * 4,
        checkpoint=checkpoint,
    )


def _transform_windows(
    block: FGASegWindowBlock,
    windows: torch.Tensor,
    query_guidance: torch.Tensor,
    key_guidance: torch.Tensor,
    mask: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """Attention and feed-forward network of a window block; queries, keys and values by one product."""
    attention: FGASegWindowAttention = block.attention
    query, key, value = torch.nn.functional.linear(block.norm_1(windows), weight, bias).chunk(3, dim=-1)
    query, key = query + query_guidance.unsqueeze(1), key + key_guidance.unsqueeze(1)
    windows = windows + attention.output(attention.attend(query, key, value, mask))
    return windows + block.feed_forward(block.norm_2(windows))


def _aggregate_classes(
    aggregation: FGASegClassAggregation,
    costs: torch.Tensor,
    text_guidance: torch.Tensor,
    is_kept: torch.Tensor | None,
    out: torch.Tensor | None,
) -> torch.Tensor:
    """Class aggregation, a few rows at a time where positions are apart from each other."""
    attention: FGASegLinearClassAttention = aggregation.attention
    projection = compose_side_by_side((attention.query, attention.key, attention.value))
    padding = aggregation.padding(is_kept, costs.shape[1])

    def transform(costs: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        return _transform_classes(aggregation, costs, text_guidance, is_kept, padding, *weights)

    if aggregation.pooling_size > 1:
        states = transform(aggregation.pool(costs), *projection)
        return costs + aggregation.unpool(states, costs)
    batch_size, num_classes, _, width, dim = costs.shape
    return apply_in_parts(
        lambda rows, *weights: rows + transform(rows, *weights),
        (costs,),
        projection,
        dim=2,
        values_per_item=batch_size * num_classes * width * 4 * dim,
        out=out,
    )


def _transform_classes(
    aggregation: FGASegClassAggregation,
    costs: torch.Tensor,
    text_guidance: torch.Tensor,
    is_kept: torch.Tensor | None,
    padding: FGASegClassPadding | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """Attention and feed-forward network of class aggregation; queries, keys and values by one product."""
    attention: FGASegLinearClassAttention = aggregation.attention
    query, key, value = torch.nn.functional.linear(aggregation.norm_1(costs), weight, bias).chunk(3, dim=-1)
    query = query + attention.query_guidance(text_guidance)[:, :, None, None]
    key = key + attention.key_guidance(text_guidance)[:, :, None, None]
    costs = costs + attention.attend(query, key, value, is_kept, padding)
    feed_forward: FGASegFeedForward = aggregation.feed_forward
    return costs + feed_forward.fc2(feed_forward.fc1(aggregation.norm_2(costs)).relu_())

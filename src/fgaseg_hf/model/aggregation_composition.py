# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""An aggregation layer computed fast: projections as one product, windows and rows in parts, memory written over."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, cast

import torch

from .aggregation_layer import FGASegAggregationLayer
from .class_aggregation import FGASegClassAggregation, FGASegLinearClassAttention, elu_plus_one
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
    out = costs if sizes.cuts_windows else None
    return _aggregate_classes(aggregation, costs, text_guidance, is_kept, out)


class _Projections(NamedTuple):
    """An attention's queries, keys and values as one product, and the guidance of queries and keys as another.

    Attributes:
        weight: (3 channels, channels).
        bias: (3 channels,).
        guidance_weight: (2 channels, guidance_dim).
    """

    weight: torch.Tensor
    bias: torch.Tensor
    guidance_weight: torch.Tensor

    @classmethod
    def of(cls, attention: FGASegWindowAttention | FGASegLinearClassAttention) -> "_Projections":
        """Puts the layers of an attention side by side."""
        weight, bias = compose_side_by_side((attention.query, attention.key, attention.value))
        return cls(weight, bias, torch.cat((attention.query_guidance.weight, attention.key_guidance.weight)))


def _attend_in_cut_windows(
    block: FGASegWindowBlock,
    costs: torch.Tensor,
    appearance_guidance: torch.Tensor,
    checkpoint: Callable[..., Any] | None,
) -> torch.Tensor:
    """A window block, windows of one size and a few classes at a time."""
    weight, bias, guidance_weight = _Projections.of(block.attention)
    bands = [window_bands(size, block.window_size, block.is_shifted) for size in costs.shape[2:4]]
    return apply_in_windows(
        lambda windows, guidance, *weights: _transform_windows(block, windows, guidance, None, *weights),
        costs,
        (torch.nn.functional.linear(appearance_guidance, guidance_weight),),
        (weight, bias),
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
    weight, bias, guidance_weight = _Projections.of(block.attention)
    grid, mask = grids.of(block.is_shifted)

    def transform(costs: torch.Tensor, *shared: torch.Tensor) -> torch.Tensor:
        return grid.merge(_transform_windows(block, grid.split(costs), *shared))

    return apply_in_parts(
        transform,
        (costs,),
        (grid.split(torch.nn.functional.linear(appearance_guidance, guidance_weight)), mask, weight, bias),
        dim=1,
        values_per_item=costs[:, 0].numel() * 4,
        checkpoint=checkpoint,
    )


def _transform_windows(
    block: FGASegWindowBlock,
    windows: torch.Tensor,
    guidance: torch.Tensor,
    mask: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """Attention and feed-forward network of a window block.

    Args:
        block: The block.
        windows: (batch, classes, windows, window area, channels).
        guidance: Of queries and keys, (batch, windows, window area, 2 channels).
        mask: See [`FGASegWindowAttention`].
        weight: Of [`_Projections`].
        bias: Likewise.
    """
    attention: FGASegWindowAttention = block.attention
    query, key, value = _project(block.norm_1(windows), guidance.unsqueeze(1), weight, bias)
    windows = windows + attention.output(attention.attend(query, key, value, mask))
    return windows + block.feed_forward(block.norm_2(windows))


def _project(
    states: torch.Tensor,
    guidance: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    feature_map: Callable[[torch.Tensor], torch.Tensor] = lambda states: states,
) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values (..., channels) of states, the first two guided and through the feature map."""
    dim = states.shape[-1]
    query_key, value = torch.nn.functional.linear(states, weight, bias).split((2 * dim, dim), dim=-1)
    return *feature_map(query_key + guidance).chunk(2, dim=-1), value


def _aggregate_classes(
    aggregation: FGASegClassAggregation,
    costs: torch.Tensor,
    text_guidance: torch.Tensor,
    is_kept: torch.Tensor | None,
    out: torch.Tensor | None,
) -> torch.Tensor:
    """Class aggregation, a few rows at a time where positions are apart from each other."""
    weight, bias, guidance_weight = _Projections.of(aggregation.attention)
    guidance = torch.nn.functional.linear(text_guidance, guidance_weight)[:, :, None, None]
    padding = aggregation.padding(is_kept, costs.shape[1])

    def transform(costs: torch.Tensor) -> torch.Tensor:
        query, key, value = _project(aggregation.norm_1(costs), guidance, weight, bias, elu_plus_one)
        costs = costs + aggregation.attention.attend(query, key, value, is_kept, padding)
        feed_forward: FGASegFeedForward = aggregation.feed_forward
        return costs + feed_forward.fc2(feed_forward.fc1(aggregation.norm_2(costs)).relu_())

    if aggregation.pooling_size > 1:
        return costs + aggregation.unpool(transform(aggregation.pool(costs)), costs)
    batch_size, num_classes, _, width, dim = costs.shape
    return apply_in_parts(
        lambda rows: rows + transform(rows),
        (costs,),
        dim=2,
        values_per_item=batch_size * num_classes * width * 4 * dim,
        out=out,
    )

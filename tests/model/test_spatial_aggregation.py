# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Spatial aggregation beside a plain loop, window by window."""

import pytest
import torch
from tiny_models import tiny_config
from torch.nn.functional import scaled_dot_product_attention

from fgaseg_hf.model.spatial_aggregation import FGASegWindowBlock


def block_window_by_window(block: FGASegWindowBlock, costs: torch.Tensor, guidance: torch.Tensor) -> torch.Tensor:
    """Every patch attends to the patches of its window that were its neighbours before the grid was rolled."""
    height, width = costs.shape[2:4]
    attention, shared, normalised = block.attention, guidance.unsqueeze(1), block.norm_1(costs)
    query = attention.query(normalised) + attention.query_guidance(shared)
    key = attention.key(normalised) + attention.key_guidance(shared)
    value = attention.value(normalised)

    def window_starts(size: int) -> list[tuple[int, int]]:
        window = min(block.window_size, size)
        shift = window // 2 if block.is_shifted and size > block.window_size else 0
        edges = sorted({0, *range(shift, size, window), size})
        return list(zip(edges[:-1], edges[1:], strict=True))

    attended = torch.zeros_like(costs)
    for top, bottom in window_starts(height):
        for left, right in window_starts(width):
            parts = [
                states[:, :, top:bottom, left:right]
                .flatten(2, 3)
                .unflatten(-1, (attention.num_heads, -1))
                .transpose(2, 3)
                for states in (query, key, value)
            ]
            window = scaled_dot_product_attention(*parts).transpose(2, 3).flatten(-2)
            attended[:, :, top:bottom, left:right] = window.unflatten(2, (bottom - top, right - left))
    costs = costs + attention.output(attended)
    return costs + block.feed_forward(block.norm_2(costs))


@pytest.fixture(params=[False, True], ids=["plain", "shifted"])
def block(request):
    torch.manual_seed(0)
    config = tiny_config(window_size=4)
    config._attn_implementation = "sdpa"
    return FGASegWindowBlock(config, is_shifted=request.param)


GRIDS = [(6, 6), (4, 4), (3, 3), (2, 5), (7, 8), (1, 1), (4, 9), (13, 6)]


def made_up_costs(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cost embeddings of two pictures with three classes, and their guidance."""
    return torch.randn(2, 3, height, width, 32), torch.randn(2, height, width, 8)


@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_window_block_for_any_grid(block, height, width, monkeypatch):
    costs, guidance = made_up_costs(height, width)
    with torch.no_grad():
        expected = block_window_by_window(block, costs, guidance)
        torch.testing.assert_close(block(costs, guidance), expected, atol=1e-5, rtol=1e-4)
        # Compiled programs look up in tables what the grid's size makes of the windows.
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        torch.testing.assert_close(block(costs, guidance), expected, atol=1e-5, rtol=1e-4)

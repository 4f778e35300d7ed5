# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Aggregation beside plain loops: windows one by one, padding tokens written out."""

import pytest
import torch
from tiny_models import tiny_config
from torch.nn.functional import elu, scaled_dot_product_attention

from fgaseg_hf.model import partwise_computation
from fgaseg_hf.model.cost_aggregation import (
    FGASegAggregationLayer,
    FGASegClassAggregation,
    FGASegLinearClassAttention,
    FGASegWindowBlock,
    elu_plus_one,
)


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
def test_window_block_for_any_grid(block, height, width):
    costs, guidance = made_up_costs(height, width)
    with torch.no_grad():
        ours, expected = block(costs, guidance), block_window_by_window(block, costs, guidance)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_compiled_programs_mask_the_windows_that_are_cut_elsewhere(block, height, width, monkeypatch):
    costs, guidance = made_up_costs(height, width)
    with torch.no_grad():
        cut = block(costs, guidance)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        masked = block(costs, guidance)
    torch.testing.assert_close(masked, cut, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_window_block_with_gradients_and_a_class_at_a_time(block, height, width, monkeypatch):
    costs, guidance = made_up_costs(height, width)
    costs.requires_grad_()
    expected = block_window_by_window(block, costs, guidance)
    (wanted,) = torch.autograd.grad(expected.square().sum(), costs)
    monkeypatch.setattr(partwise_computation, "PROCESSOR_VALUES_PER_PART", 1)
    ours = block(costs, guidance)
    (gradient,) = torch.autograd.grad(ours.square().sum(), costs)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradient, wanted, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(block(costs, guidance), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(block(costs, guidance, out=costs), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(costs, expected, atol=1e-5, rtol=1e-4)


def attention_token_by_token(
    module: FGASegLinearClassAttention, costs: torch.Tensor, guidance: torch.Tensor
) -> torch.Tensor:
    """Linear attention over all tokens, padding written out. costs (tokens, dim), guidance (tokens, guidance_dim)."""
    query = elu(module.query(costs) + module.query_guidance(guidance)) + 1
    key = elu(module.key(costs) + module.key_guidance(guidance)) + 1
    value = module.value(costs)
    heads = []
    for q, k, v in zip(*(states.chunk(module.num_heads, dim=-1) for states in (query, key, value)), strict=True):
        weights = q @ k.T
        heads.append(weights @ v / (weights.sum(dim=-1, keepdim=True) + 1e-6))
    return torch.cat(heads, dim=-1)


@pytest.mark.parametrize("num_kept", [[5, 5], [5, 2], [1, 3]])
def test_padding_tokens_are_one_token_repeated(num_kept):
    torch.manual_seed(0)
    module = FGASegLinearClassAttention(tiny_config())
    costs, guidance = torch.randn(2, 5, 2, 3, 32), torch.randn(2, 5, 8)
    token, token_guidance = torch.randn(32), torch.randn(8)
    is_kept = torch.arange(5) < torch.tensor(num_kept)[:, None]
    counts = 8 - is_kept.sum(dim=1)
    with torch.no_grad():
        ours = module(costs, guidance, is_kept, token, token_guidance, counts)
        for picture, (kept, count) in enumerate(zip(num_kept, counts.tolist(), strict=True)):
            for row in range(2):
                for column in range(3):
                    tokens = torch.cat((costs[picture, :kept, row, column], token.expand(count, -1)))
                    all_guidance = torch.cat((guidance[picture, :kept], token_guidance.expand(count, -1)))
                    expected = attention_token_by_token(module, tokens, all_guidance)[:kept]
                    torch.testing.assert_close(ours[picture, :kept, row, column], expected, atol=1e-5, rtol=1e-4)


def test_class_aggregation_pools_in_training_only():
    torch.manual_seed(0)
    module = FGASegClassAggregation(tiny_config())
    costs, guidance = torch.randn(1, 3, 5, 4, 32), torch.randn(1, 3, 8)
    with torch.no_grad():
        trained, evaluated = module.train()(costs, guidance), module.eval()(costs, guidance)
    assert trained.shape == evaluated.shape == costs.shape
    assert not torch.allclose(trained, evaluated, atol=1e-3)


def test_elu_plus_one_and_its_gradient():
    states = torch.tensor([-100.0, -3.0, -1e-3, 0.0, 1e-3, 2.0, 100.0], dtype=torch.float64, requires_grad=True)
    ours, expected = elu_plus_one(states), elu(states) + 1
    torch.testing.assert_close(ours, expected)
    gradients = (torch.autograd.grad(values.sum(), states)[0] for values in (ours, expected))
    torch.testing.assert_close(*gradients)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    config = tiny_config(window_size=4)
    config._attn_implementation = "sdpa"
    return FGASegAggregationLayer(config).eval()


def test_aggregation_leaves_its_input_as_it_is(layer):
    costs, guidance = made_up_costs(5, 6)
    kept = costs.clone()
    with torch.no_grad():
        layer(costs, guidance, torch.randn(2, 3, 8))
    assert torch.equal(costs, kept)


@pytest.mark.parametrize(
    "name", ["spatial_aggregation", "spatial_aggregation.blocks.0", "spatial_aggregation.blocks.1"]
)
def test_what_a_hook_keeps_is_not_written_over(layer, name):
    seen = []
    layer.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: seen.append((output, output.clone()))
    )
    with torch.no_grad():
        layer(*made_up_costs(5, 6), torch.randn(2, 3, 8))
    ((held, as_it_was),) = seen
    assert torch.equal(held, as_it_was)

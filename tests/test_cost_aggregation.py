"""Aggregation beside plain loops: windows one by one, padding tokens written out."""

import pytest
import torch
from tiny_models import tiny_config
from torch.nn.functional import elu, scaled_dot_product_attention

from fgaseg_hf.cost_aggregation import (
    FGASegClassAggregation,
    FGASegLinearClassAttention,
    FGASegWindowAttention,
    merge_windows,
    split_into_windows,
)


def attention_window_by_window(
    module: FGASegWindowAttention, costs: torch.Tensor, guidance: torch.Tensor
) -> torch.Tensor:
    """Every patch attends to the patches of its window that were its neighbours before the grid was rolled."""
    batch_size, num_classes, height, width, dim = costs.shape
    shared = guidance.unsqueeze(1)
    query = module.query(costs) + module.query_guidance(shared)
    key = module.key(costs) + module.key_guidance(shared)
    value = module.value(costs)

    def window_starts(size: int) -> list[tuple[int, int]]:
        window = min(module.window_size, size)
        shift = window // 2 if module.is_shifted and size > module.window_size else 0
        edges = sorted({0, *range(shift, size, window), size})
        return list(zip(edges[:-1], edges[1:], strict=True))

    out = torch.empty_like(costs)
    for top, bottom in window_starts(height):
        for left, right in window_starts(width):
            parts = [
                states[:, :, top:bottom, left:right].flatten(2, 3).unflatten(-1, (module.num_heads, -1)).transpose(2, 3)
                for states in (query, key, value)
            ]
            attended = scaled_dot_product_attention(*parts).transpose(2, 3).flatten(-2)
            out[:, :, top:bottom, left:right] = attended.unflatten(2, (bottom - top, right - left))
    return module.output(out)


@pytest.mark.parametrize("is_shifted", [False, True])
@pytest.mark.parametrize(("height", "width"), [(6, 6), (4, 4), (3, 3), (2, 5), (7, 8), (1, 1), (4, 9)])
def test_window_attention_for_any_grid(is_shifted, height, width):
    torch.manual_seed(0)
    config = tiny_config(window_size=4)
    config._attn_implementation = "sdpa"
    module = FGASegWindowAttention(config, is_shifted)
    costs, guidance = torch.randn(2, 3, height, width, 32), torch.randn(2, height, width, 8)
    with torch.no_grad():
        ours, expected = module(costs, guidance), attention_window_by_window(module, costs, guidance)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shift", [(0, 0), (2, 2), (0, 1)])
def test_merging_undoes_splitting(shift):
    states = torch.randn(2, 3, 7, 9, 8)
    windows = split_into_windows(states, (4, 4), shift, num_heads=2)
    assert windows.shape == (6, 2 * 3 * 2, 16, 4)
    assert torch.equal(merge_windows(windows.transpose(1, 2), (4, 4), shift, states.shape), states)


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

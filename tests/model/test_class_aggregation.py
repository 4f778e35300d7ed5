# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Class aggregation beside plain attention with padding tokens written out."""

import pytest
import torch
from tiny_models import tiny_config
from torch.nn.functional import elu

from fgaseg_hf.model.class_aggregation import FGASegClassAggregation, FGASegLinearClassAttention, elu_plus_one


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
        ours = module(costs, guidance, is_kept, module.pad(token, token_guidance, counts))
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


@pytest.mark.parametrize("num_classes", [1, 3, 8, 9])
def test_the_padding_token_takes_part_whatever_the_number_of_classes(num_classes):
    """It counts 0 beside enough classes, and its gradient is there and 0."""
    torch.manual_seed(0)
    module = FGASegClassAggregation(tiny_config(class_padding=8))
    module(torch.randn(1, num_classes, 3, 2, 32), torch.randn(1, num_classes, 8)).square().sum().backward()
    for parameter in (module.padding_token, module.padding_guidance):
        assert parameter.grad is not None
        assert bool(parameter.grad.any()) == (num_classes < 8)

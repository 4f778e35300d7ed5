# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Linear steps put together beside the steps one after another."""

import pytest
import torch
from tiny_models import tiny_config

from fgaseg_hf.model.cost_embeddings import FGASegCostEmbedding, costs_to_maps
from fgaseg_hf.model.linear_composition import compose_embedding_and_raising, embed_and_raise, sum_of_taps
from fgaseg_hf.model.upsampling_stages import FGASegLocalUpsampling, FGASegMaskHead


@pytest.mark.parametrize("grid", [(1, 1), (2, 5), (3, 3), (4, 7), (24, 24)])
def test_local_embedding_and_upsampling_as_one_step(grid):
    embedding = FGASegCostEmbedding(tiny_config()).double()
    raising = FGASegLocalUpsampling(tiny_config()).double()
    masks = torch.randn(2, 3, *grid, dtype=torch.float64, requires_grad=True)
    upsampling, convolution = raising.upsampling, raising.convolutions.convolution_1
    composed = compose_embedding_and_raising(embedding.convolution, upsampling, convolution)
    found = embed_and_raise(masks.flatten(0, 1), *composed)
    expected = convolution(upsampling(costs_to_maps(embedding(masks))))
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)

    inputs = (masks, *embedding.parameters(), *upsampling.parameters(), convolution.weight)
    direction = torch.randn_like(expected)
    gradients = torch.autograd.grad(found, inputs, direction)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, inputs, direction), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize("grid", [(5, 4), (1, 1), (1, 7)])
def test_a_convolution_to_one_channel_is_the_sum_of_its_taps(channels, grid):
    torch.manual_seed(0)
    head = FGASegMaskHead(channels).double()
    costs = torch.randn(2, 3, *grid, channels, dtype=torch.float64, requires_grad=True)
    needed = (costs, head.convolution.weight, head.convolution.bias)
    expected = head(costs)
    scores = sum_of_taps(costs.flatten(0, 1), *needed[1:]).view(2, 3, *grid)
    torch.testing.assert_close(scores, expected)
    weights = torch.randn_like(expected)
    gradients = (torch.autograd.grad((maps * weights).sum(), needed) for maps in (scores, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)

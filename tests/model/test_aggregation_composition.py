# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""An aggregation layer computed fast beside its blocks' own `forward`s."""

from dataclasses import replace

import pytest
import torch
from test_spatial_aggregation import GRIDS, made_up_costs
from tiny_models import tiny_config

from fgaseg_hf.model import device_sizes
from fgaseg_hf.model.aggregation_composition import WindowGrids, aggregate
from fgaseg_hf.model.aggregation_layer import FGASegAggregationLayer


@pytest.fixture
def layer():
    torch.manual_seed(0)
    config = tiny_config(window_size=4)
    config._attn_implementation = "sdpa"
    return FGASegAggregationLayer(config)


@pytest.fixture(params=["whole", "parts", "masked windows"])
def sizes(request, monkeypatch):
    """A processor's sizes, so that everything is one part or every class and row its own, or an accelerator's form."""
    chosen = device_sizes.PROCESSOR
    if request.param == "parts":
        chosen = replace(chosen, values_per_part=1)
    if request.param == "masked windows":
        chosen = replace(chosen, cuts_windows=False, values_per_part=1)
    monkeypatch.setattr(device_sizes, "PROCESSOR", chosen)
    return chosen


def composed(layer, costs, guidance, text_guidance, is_kept, sizes):
    return aggregate(
        layer, costs, guidance, text_guidance, is_kept, grids=WindowGrids(costs, 4), sizes=sizes, checkpoint=None
    )


@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_values_and_gradients_are_the_layers(layer, sizes, height, width):
    costs, guidance = made_up_costs(height, width)
    text_guidance, is_kept = torch.randn(2, 3, 8), torch.tensor([[True, True, False], [True, True, True]])
    leaves = [states.requires_grad_() for states in (costs, guidance, text_guidance)]
    leaves += list(layer.parameters())
    expected = layer(costs, guidance, text_guidance, is_kept)
    ours = composed(layer, costs, guidance, text_guidance, is_kept, sizes)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    wanted = torch.autograd.grad(expected.square().mean(), leaves)
    for gradient, other in zip(torch.autograd.grad(ours.square().mean(), leaves), wanted, strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-5, rtol=1e-3)
    layer.eval()
    with torch.no_grad():
        expected = layer(costs, guidance, text_guidance)
        # Last, for it writes over what it is given.
        ours = composed(layer, costs.clone(), guidance, text_guidance, None, sizes)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)

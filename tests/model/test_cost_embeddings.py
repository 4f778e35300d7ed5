# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Cost embeddings: what they see, how they are fused, and how they lie in memory."""

import torch
from tiny_models import tiny_config

from fgaseg_hf.model.cost_embeddings import FGASegCostEmbedding, FGASegFusion, costs_to_maps, maps_to_costs


def test_fusion_modes():
    torch.manual_seed(0)
    first, second = torch.randn(1, 2, 3, 3, 8), torch.randn(1, 2, 3, 3, 8)
    assert torch.equal(FGASegFusion(8, 8, 8, "add")(first, second), first + second)
    fusion = FGASegFusion(8, 8, 8, "cat")
    expected = fusion.linear(torch.cat((first, second), dim=-1))
    assert torch.equal(fusion(first, second), expected) and not torch.allclose(expected, first + second)


def test_an_embedding_sees_seven_patches_around():
    module = FGASegCostEmbedding(tiny_config())
    masks = torch.zeros(1, 1, 11, 11)
    changed = masks.clone()
    changed[0, 0, 5, 5] = 1
    with torch.no_grad():
        reached = (module(changed) - module(masks)).abs().amax(dim=-1)[0, 0] > 0
    rows, columns = torch.nonzero(reached, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 8, 2, 8)


def test_costs_and_maps_are_views_of_each_other():
    costs = torch.randn(2, 3, 4, 5, 6)
    maps = costs_to_maps(costs)
    assert maps.shape == (6, 6, 4, 5) and maps.data_ptr() == costs.data_ptr()
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(maps_to_costs(maps, 2), costs)

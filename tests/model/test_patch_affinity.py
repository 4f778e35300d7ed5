# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Smoothing by the affinity of patches, beside the formula written out."""

import math

import torch

from fgaseg_hf.model.patch_affinity import patch_affinity, smooth_by_affinity


def test_affinity_is_the_formula_written_out():
    patches = torch.randn(2, 6, 8) + 3
    affinity = patch_affinity(patches, temperature=0.2)
    for picture, rows in zip(patches, affinity, strict=True):
        centred = picture - picture.mean(dim=0)
        for i in range(6):
            weights = []
            for j in range(6):
                cosine = float(torch.cosine_similarity(centred[i], centred[j], dim=0))
                weights.append(math.exp(cosine / 0.2) if cosine >= 0 else 0.0)
            torch.testing.assert_close(rows[i], torch.tensor(weights) / sum(weights), atol=1e-5, rtol=1e-4)


def test_a_direction_that_all_patches_share_changes_nothing():
    patches = torch.randn(1, 9, 8)
    shifted = patches + 20 * torch.randn(8)
    torch.testing.assert_close(patch_affinity(shifted, 0.1), patch_affinity(patches, 0.1), atol=1e-4, rtol=1e-3)


def test_patches_of_one_kind_share_their_maps_and_the_others_keep_out():
    kinds = torch.tensor([0, 1, 0, 1, 1, 0])
    patches = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[kinds][None]
    maps = torch.randn(1, 3, 2, 3)
    smoothed = smooth_by_affinity(maps, patch_affinity(patches, 0.1)).flatten(2)[0]
    for kind in (0, 1):
        expected = maps.flatten(2)[0][:, kinds == kind].mean(dim=1, keepdim=True)
        torch.testing.assert_close(smoothed[:, kinds == kind], expected.expand(-1, 3))


def test_patches_without_any_difference_are_all_alike():
    affinity = patch_affinity(torch.ones(1, 4, 8), 0.1)
    torch.testing.assert_close(affinity, torch.full((1, 4, 4), 0.25))
    assert torch.equal(patch_affinity(torch.ones(1, 1, 8), 0.1), torch.ones(1, 1, 1))


def test_a_high_temperature_forgets_how_alike_patches_are():
    patches = torch.randn(1, 9, 8)
    sharp, flat = patch_affinity(patches, 0.01), patch_affinity(patches, 100.0)
    assert sharp.diagonal(dim1=1, dim2=2).min() > 0.9
    assert (flat.amax(dim=-1) * (flat > 0).sum(dim=-1)).max() < 1.01

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pseudo-masks beside their definition, patch by patch."""

import pytest
import torch
from tiny_models import tiny_config
from torch.nn.functional import cosine_similarity, normalize, pad

from fgaseg_hf.model.category_supplementation import FGASegLocalPseudoMasks, global_pseudo_masks


def test_global_masks_are_cosines():
    text, patches = torch.randn(2, 3, 16), torch.randn(2, 16, 4, 5)
    masks = global_pseudo_masks(text, patches)
    expected = cosine_similarity(text[:, :, :, None, None], patches[:, None], dim=2)
    torch.testing.assert_close(masks, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_local_masks_weigh_a_neighbourhood_channel_by_channel(kernel_size):
    torch.manual_seed(0)
    module = FGASegLocalPseudoMasks(tiny_config(local_kernel_size=kernel_size))
    text, patches = torch.randn(1, 2, 16), torch.randn(1, 16, 4, 5)
    with torch.no_grad():
        masks = module(text, patches)
        kernels = module.kernel_projection(normalize(text, dim=-1))[0]
    margin = kernel_size // 2
    surrounded = pad(normalize(patches, dim=1)[0], (margin,) * 4)
    for index in range(2):
        weights = kernels[index, :-1].view(16, kernel_size**2).softmax(dim=-1).view(16, kernel_size, kernel_size)
        for row in range(4):
            for column in range(5):
                around = surrounded[:, row : row + kernel_size, column : column + kernel_size]
                expected = (weights * around).sum() + kernels[index, -1]
                torch.testing.assert_close(masks[0, index, row, column], expected, atol=1e-5, rtol=1e-4)


def test_classes_beyond_the_limit_have_no_local_masks():
    torch.manual_seed(0)
    module = FGASegLocalPseudoMasks(tiny_config(class_limit=3))
    text, patches = torch.randn(2, 7, 16), torch.randn(2, 16, 4, 5)
    with torch.no_grad():
        every = module(text, patches)
        limited = module(text, patches, global_pseudo_masks(text, patches))
    best = global_pseudo_masks(text, patches).flatten(2).amax(dim=-1).topk(3, dim=1).indices
    is_kept = torch.zeros(2, 7, dtype=torch.bool).scatter(1, best, True)
    torch.testing.assert_close(limited[is_kept], every[is_kept], atol=1e-6, rtol=1e-5)
    assert (limited[~is_kept] == torch.finfo(torch.float32).min).all()

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Refinement of step 4: pseudo-masks smoothed by how alike patches are to a middle layer of the image tower."""

import torch
from torch import nn


def patch_affinity(patches: torch.Tensor, temperature: float) -> torch.Tensor:
    """How alike the patches of a picture are.

    A_ij = exp(c_ij / t) / sum_k exp(c_ik / t) over those j, k with c >= 0, and 0 elsewhere, where c_ij is the cosine of
    f_i - m and f_j - m, f the patches' features, m their mean over the picture and t the temperature. ProxyCLIP
    (arXiv 2408.04883) has this form with another model's features, and thresholds the cosines at 1.2 of their mean
    instead. CLIP's own features share one large direction, so that all their cosines lie close to 1; without their mean
    they tell regions apart.

    Args:
        patches: (batch, patches, channels), without the class token.
        temperature: The lower, the more only the most alike patches count.

    Returns:
        (batch, patches, patches); rows sum to 1.
    """
    # In float32: half precision does not resolve the temperature's exponent.
    centred = patches.float() - patches.float().mean(dim=1, keepdim=True)
    directions = nn.functional.normalize(centred, dim=-1)
    cosines = directions @ directions.transpose(1, 2)
    # A patch is always like itself, even where all patches are the same and none has a direction.
    is_alike = (cosines >= 0) | torch.eye(cosines.shape[1], dtype=torch.bool, device=cosines.device)
    return (cosines / temperature).masked_fill(~is_alike, -torch.inf).softmax(dim=-1)


def smooth_by_affinity(maps: torch.Tensor, affinity: torch.Tensor) -> torch.Tensor:
    """Gives every patch the mean of the maps over the patches that are like it.

    Args:
        maps: (batch, classes, height, width).
        affinity: (batch, height * width, height * width), patches row by row; rows sum to 1.

    Returns:
        (batch, classes, height, width).
    """
    smoothed = maps.flatten(2) @ affinity.to(maps.dtype).transpose(1, 2)
    return smoothed.unflatten(2, maps.shape[-2:])

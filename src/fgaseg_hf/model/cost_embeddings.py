# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 5, first part: pseudo-masks become cost embeddings, and embeddings of both kinds are fused.

Cost embeddings travel as (batch, classes, height, width, channels): channels last for linear layers, and a view away
from channels-last pictures for convolutions.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from .configuration_fgaseg import FGASegConfig


class FGASegCostEmbedding(nn.Module):
    """Embeds a pseudo-mask: the similarities around a patch become its cost embedding."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, config.decoder_hidden_dim, kernel_size=7, padding=3)

    def forward(self, pseudo_masks: torch.Tensor) -> torch.Tensor:
        """(batch, classes, height, width) -> (batch, classes, height, width, channels)."""
        maps = self.convolution(pseudo_masks.flatten(0, 1).unsqueeze(1))
        return maps_to_costs(maps, pseudo_masks.shape[0]).contiguous()


class FGASegFusion(nn.Module):
    """Fuses the embedding on its way with the local one, by a linear layer on both (`cat`) or by their sum (`add`)."""

    def __init__(self, in_dim: int, local_dim: int, out_dim: int, mode: Literal["cat", "add"]) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim + local_dim, out_dim) if mode == "cat" else None

    def forward(self, cost_embeddings: torch.Tensor, local_embeddings: torch.Tensor) -> torch.Tensor:
        """(..., in_dim) and (..., local_dim) -> (..., out_dim)."""
        if self.linear is None:
            return cost_embeddings + local_embeddings
        return by_rows(self.linear, torch.cat((cost_embeddings, local_embeddings), dim=-1))


def by_rows(layer: nn.Module, states: torch.Tensor) -> torch.Tensor:
    """Calls a linear layer with rows, (..., channels before) -> (..., channels after).

    That is how it computes anyhow; quantised layers take no more than three axes.
    """
    return layer(states.reshape(-1, states.shape[-1])).unflatten(0, states.shape[:-1])


def costs_to_maps(cost_embeddings: torch.Tensor) -> torch.Tensor:
    """Views (batch, classes, height, width, channels) as pictures (batch * classes, channels, height, width)."""
    return cost_embeddings.flatten(0, 1).permute(0, 3, 1, 2)


def maps_to_costs(maps: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Undoes [`costs_to_maps`]."""
    return maps.permute(0, 2, 3, 1).unflatten(0, (batch_size, -1))


def resize_costs(cost_embeddings: torch.Tensor, resize: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Applies a resizing of pictures to cost embeddings."""
    return maps_to_costs(resize(costs_to_maps(cost_embeddings)), cost_embeddings.shape[0])

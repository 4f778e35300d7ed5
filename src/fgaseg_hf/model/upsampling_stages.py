# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 5, last part: the ways up to 4 x the patch grid, with guidance, and the heads."""

import torch
from torch import nn

from .configuration_fgaseg import FGASegConfig
from .cost_embeddings import costs_to_maps, maps_to_costs


class FGASegGuidanceProjection(nn.Module):
    """A convolution with ReLU that narrows guidance maps."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_dim, out_dim, kernel_size=3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(batch, in_dim, height, width) -> (batch, out_dim, height, width)."""
        return self.convolution(maps).relu()


class FGASegGuidedConvolutions(nn.Module):
    """Twice convolution, group normalisation, ReLU.

    The first convolution sees the cost embedding and the guidance side by side. The guidance is the same for every
    class, so it is convolved once a picture and added.
    """

    def __init__(self, in_dim: int, guidance_dim: int, out_dim: int) -> None:
        super().__init__()
        self.convolution_1 = nn.Conv2d(in_dim, out_dim, kernel_size=3, padding=1, bias=False)
        self.guidance_convolution = (
            nn.Conv2d(guidance_dim, out_dim, kernel_size=3, padding=1, bias=False) if guidance_dim else None
        )
        self.norm_1 = nn.GroupNorm(out_dim // 16, out_dim)
        self.convolution_2 = nn.Conv2d(out_dim, out_dim, kernel_size=3, padding=1, bias=False)
        self.norm_2 = nn.GroupNorm(out_dim // 16, out_dim)

    def forward(self, maps: torch.Tensor, guidance: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            maps: (batch * classes, in_dim, height, width).
            guidance: (batch, guidance_dim, height, width), if the module has guidance.

        Returns:
            (batch * classes, out_dim, height, width).
        """
        maps = self.convolution_1(maps)
        if self.guidance_convolution is not None:
            assert guidance is not None
            maps = add_to_every_class(maps, self.guidance_convolution(guidance))
        maps = self.norm_1(maps).relu()
        return self.norm_2(self.convolution_2(maps)).relu()


class FGASegUpsamplingStage(nn.Module):
    """Doubles the resolution and brings in guidance of that resolution."""

    def __init__(self, in_dim: int, guidance_dim: int, out_dim: int) -> None:
        super().__init__()
        self.upsampling = nn.ConvTranspose2d(in_dim, in_dim - guidance_dim, kernel_size=2, stride=2)
        self.convolutions = FGASegGuidedConvolutions(in_dim - guidance_dim, guidance_dim, out_dim)

    def forward(self, cost_embeddings: torch.Tensor, guidance: torch.Tensor) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, in_dim).
            guidance: (batch, guidance_dim, 2 height, 2 width).

        Returns:
            (batch, classes, 2 height, 2 width, out_dim).
        """
        maps = self.upsampling(costs_to_maps(cost_embeddings))
        return maps_to_costs(self.convolutions(maps, guidance), cost_embeddings.shape[0])


class FGASegLocalUpsampling(nn.Module):
    """Brings the local embedding to the resolution of the second upsampling stage, without guidance."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        dim = config.decoder_dims[0]
        self.upsampling = nn.ConvTranspose2d(config.decoder_hidden_dim, dim, kernel_size=2, stride=2)
        self.convolutions = FGASegGuidedConvolutions(dim, 0, dim)

    def forward(self, local_embeddings: torch.Tensor) -> torch.Tensor:
        """(batch, classes, height, width, channels) -> (batch, classes, 2 height, 2 width, decoder_dims[0])."""
        maps = self.upsampling(costs_to_maps(local_embeddings))
        return maps_to_costs(self.convolutions(maps), local_embeddings.shape[0])


class FGASegMaskHead(nn.Module):
    """One logit a class and position."""

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_dim, 1, kernel_size=3, padding=1)

    def forward(self, cost_embeddings: torch.Tensor) -> torch.Tensor:
        """(batch, classes, height, width, channels) -> (batch, classes, height, width)."""
        return self.convolution(costs_to_maps(cost_embeddings)).squeeze(1).unflatten(0, cost_embeddings.shape[:2])


def add_to_every_class(maps: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """Adds a picture's map (batch, channels, height, width) to each of its classes' (batch * classes, ...)."""
    return (maps.unflatten(0, (shared.shape[0], -1)) + shared.unsqueeze(1)).flatten(0, 1)

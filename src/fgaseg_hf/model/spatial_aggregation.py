# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 5: aggregation over space, each class by itself, by attention in shifted windows."""

from collections.abc import Callable

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

from .configuration_fgaseg import FGASegConfig
from .cost_embeddings import by_rows
from .symbolic_windows import window_grid


class FGASegFeedForward(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.activation = activation
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., dim) -> (..., dim)."""
        return by_rows(self.fc2, self.activation(by_rows(self.fc1, states)))


class FGASegWindowAttention(nn.Module):
    """Attention within windows of the patch grid, each class by itself, guided by the picture's appearance.

    Queries and keys see the cost embedding and the appearance guidance side by side. The guidance is the same for every
    class, so its share of the linear layers is computed once a picture and added.
    """

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.decoder_hidden_dim
        self.num_heads = config.num_aggregation_heads
        self.scaling = (dim // self.num_heads) ** -0.5
        self.is_causal = False
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.query_guidance = nn.Linear(config.appearance_guidance_dim, dim, bias=False)
        self.key_guidance = nn.Linear(config.appearance_guidance_dim, dim, bias=False)
        self.output = nn.Linear(dim, dim)

    def forward(
        self,
        windows: torch.Tensor,
        query_guidance: torch.Tensor,
        key_guidance: torch.Tensor,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            windows: Cost embeddings, normalised, (batch, classes, windows, window area, channels).
            query_guidance: The guidance's share of the queries, (batch, windows, window area, channels).
            key_guidance: Its share of the keys, likewise.
            mask: Additive, (windows, window area, window area); `None`: each window attends to all of itself.

        Returns:
            (batch, classes, windows, window area, channels).
        """
        query = by_rows(self.query, windows) + query_guidance.unsqueeze(1)
        key = by_rows(self.key, windows) + key_guidance.unsqueeze(1)
        return by_rows(self.output, self.attend(query, key, by_rows(self.value, windows), mask))

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention of several heads within each window; all in the shape of `windows` above."""
        shape = query.shape
        # (batch, classes, windows, heads, window area, channels / heads)
        query, key, value = (
            states.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2) for states in (query, key, value)
        )
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        if mask is None:
            in_windows = (states.flatten(0, 2) for states in (query, key, value))
            return attention(self, *in_windows, None, scaling=self.scaling, dropout=0.0)[0].reshape(shape)
        # A mask for each window: as heads, windows share it with all classes.
        mask = mask.repeat_interleave(self.num_heads, dim=0).unsqueeze(0)
        in_windows = (states.flatten(2, 3).flatten(0, 1) for states in (query, key, value))
        attended = attention(self, *in_windows, mask, scaling=self.scaling, dropout=0.0)[0]
        return attended.unflatten(2, (shape[2], -1)).transpose(1, 2).reshape(shape)


class FGASegWindowBlock(nn.Module):
    """A Swin block (arXiv 2103.14030): window attention, then a feed-forward network, each with a residual."""

    def __init__(self, config: FGASegConfig, is_shifted: bool) -> None:
        super().__init__()
        dim = config.decoder_hidden_dim
        self.window_size = config.window_size
        self.is_shifted = is_shifted
        self.norm_1 = nn.LayerNorm(dim)
        self.attention = FGASegWindowAttention(config)
        self.norm_2 = nn.LayerNorm(dim)
        self.feed_forward = FGASegFeedForward(dim, nn.GELU())

    def forward(self, cost_embeddings: torch.Tensor, appearance_guidance: torch.Tensor) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels).
            appearance_guidance: (batch, height, width, guidance_dim), normalised.

        Returns:
            (batch, classes, height, width, channels).
        """
        height, width = cost_embeddings.shape[2:4]
        grid = window_grid(height, width, self.window_size, self.is_shifted, cost_embeddings.device)
        windows = grid.split(cost_embeddings)  # (batch, classes, windows, window area, channels)
        query_guidance = grid.split(by_rows(self.attention.query_guidance, appearance_guidance))
        key_guidance = grid.split(by_rows(self.attention.key_guidance, appearance_guidance))
        mask = grid.mask(windows.dtype)
        windows = windows + self.attention(self.norm_1(windows), query_guidance, key_guidance, mask)
        windows = windows + self.feed_forward(self.norm_2(windows))
        return grid.merge(windows)


class FGASegSpatialAggregation(nn.Module):
    """Two Swin blocks a class, the second with shifted windows."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.guidance_norm = nn.LayerNorm(config.appearance_guidance_dim)
        self.blocks = nn.ModuleList([FGASegWindowBlock(config, is_shifted) for is_shifted in (False, True)])

    def forward(self, cost_embeddings: torch.Tensor, appearance_guidance: torch.Tensor) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels).
            appearance_guidance: (batch, height, width, guidance_dim).
        """
        appearance_guidance = self.guidance_norm(appearance_guidance)
        for block in self.blocks:
            cost_embeddings = block(cost_embeddings, appearance_guidance)
        return cost_embeddings

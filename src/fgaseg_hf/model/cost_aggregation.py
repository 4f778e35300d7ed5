# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Aggregation of cost embeddings: over space in shifted windows, over classes by linear attention.

Cost embeddings travel as (batch, classes, height, width, channels): channels last for linear layers, and a view away
from channels-last pictures for convolutions.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

from .configuration_fgaseg import FGASegConfig
from .linear_composition import apply_side_by_side
from .partwise_computation import apply_in_parts
from .symbolic_windows import FGASegSymbolicWindows
from .windows import apply_in_windows, window_bands


class FGASegFeedForward(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.activation = activation
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., dim) -> (..., dim)."""
        return self.fc2(self.activation(self.fc1(states)))


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
        query, key, value = apply_side_by_side((self.query, self.key, self.value), windows)
        query = query + query_guidance.unsqueeze(1)
        key = key + key_guidance.unsqueeze(1)
        # (batch, classes, windows, heads, window area, channels / heads)
        query, key, value = (
            states.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2) for states in (query, key, value)
        )
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        if mask is None:
            in_windows = (states.flatten(0, 2) for states in (query, key, value))
            attended = attention(self, *in_windows, None, scaling=self.scaling, dropout=0.0)[0]
        else:
            # A mask for each window: as heads, windows share it with all classes.
            mask = mask.repeat_interleave(self.num_heads, dim=0).unsqueeze(0)
            in_windows = (states.flatten(2, 3).flatten(0, 1) for states in (query, key, value))
            attended = attention(self, *in_windows, mask, scaling=self.scaling, dropout=0.0)[0]
            attended = attended.unflatten(2, (windows.shape[2], -1)).transpose(1, 2)
        return self.output(attended.reshape(windows.shape))


class FGASegWindowBlock(nn.Module):
    """A Swin block (arXiv 2103.14030): window attention, then a feed-forward network, each with a residual."""

    # Transformers sets both; see `apply_in_parts`.
    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable | None = None

    def __init__(self, config: FGASegConfig, is_shifted: bool) -> None:
        super().__init__()
        dim = config.decoder_hidden_dim
        self.window_size = config.window_size
        self.is_shifted = is_shifted
        self.norm_1 = nn.LayerNorm(dim)
        self.attention = FGASegWindowAttention(config)
        self.norm_2 = nn.LayerNorm(dim)
        self.feed_forward = FGASegFeedForward(dim, nn.GELU())

    def forward(
        self, cost_embeddings: torch.Tensor, appearance_guidance: torch.Tensor, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels).
            appearance_guidance: (batch, height, width, guidance_dim), normalised.
            out: See [`apply_in_parts`]; may be `cost_embeddings`.

        Returns:
            (batch, classes, height, width, channels).
        """
        height, width, dim = cost_embeddings.shape[2:]
        guidance = self.attention.query_guidance(appearance_guidance), self.attention.key_guidance(appearance_guidance)
        if torch.compiler.is_compiling():
            # One program for grids of every size.
            grid = FGASegSymbolicWindows(height, width, self.window_size, self.is_shifted, cost_embeddings.device)
            windows, queries, keys = (grid.split(states) for states in (cost_embeddings, *guidance))
            return grid.merge(self._transform(windows, queries, keys, grid.mask(cost_embeddings.dtype)))
        return apply_in_windows(
            self._transform,
            cost_embeddings,
            guidance,
            (
                window_bands(height, self.window_size, self.is_shifted),
                window_bands(width, self.window_size, self.is_shifted),
            ),
            values_per_patch=4 * dim,
            checkpoint=self._gradient_checkpointing_func if self.gradient_checkpointing and self.training else None,
            out=out,
        )

    def _transform(
        self,
        windows: torch.Tensor,
        query_guidance: torch.Tensor,
        key_guidance: torch.Tensor,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        windows = windows + self.attention(self.norm_1(windows), query_guidance, key_guidance, mask)
        return windows + self.feed_forward(self.norm_2(windows))


class FGASegSpatialAggregation(nn.Module):
    """Two Swin blocks a class, the second with shifted windows."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.guidance_norm = nn.LayerNorm(config.appearance_guidance_dim)
        self.blocks = nn.ModuleList([FGASegWindowBlock(config, is_shifted) for is_shifted in (False, True)])

    def forward(
        self, cost_embeddings: torch.Tensor, appearance_guidance: torch.Tensor, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels).
            appearance_guidance: (batch, height, width, guidance_dim).
            out: See [`apply_in_parts`]; may be `cost_embeddings`.
        """
        appearance_guidance = self.guidance_norm(appearance_guidance)
        cost_embeddings = self.blocks[0](cost_embeddings, appearance_guidance, out)
        out = None if is_watched(self) else cost_embeddings
        return self.blocks[1](cost_embeddings, appearance_guidance, out)


class FGASegLinearClassAttention(nn.Module):
    """Linear attention (arXiv 2006.16236) over a picture's classes, at each position by itself."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        dim = config.decoder_hidden_dim
        self.num_heads = config.num_aggregation_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.query_guidance = nn.Linear(config.text_guidance_dim, dim, bias=False)
        self.key_guidance = nn.Linear(config.text_guidance_dim, dim, bias=False)

    def forward(
        self,
        cost_embeddings: torch.Tensor,
        text_guidance: torch.Tensor,
        is_kept: torch.Tensor | None,
        padding_token: torch.Tensor | None,
        padding_guidance: torch.Tensor | None,
        padding_count: torch.Tensor | int,
    ) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels), normalised.
            text_guidance: (batch, classes, guidance_dim).
            is_kept: (batch, classes) bool: which classes take part; `None` = all.
            padding_token: (1, channels), normalised, or `None`.
            padding_guidance: (1, guidance_dim), or `None`.
            padding_count: How often the padding token stands beside the classes: one number, or one a picture (batch,).

        Returns:
            (batch, classes, height, width, channels).
        """
        query, key, value = apply_side_by_side((self.query, self.key, self.value), cost_embeddings)
        query = query + self.query_guidance(text_guidance)[:, :, None, None]
        key = key + self.key_guidance(text_guidance)[:, :, None, None]
        query, key, value = (states.unflatten(-1, (self.num_heads, -1)) for states in (query, key, value))
        query, key = elu_plus_one(query), elu_plus_one(key)
        if is_kept is not None:
            key = key * is_kept[:, :, None, None, None, None]

        # (batch, classes, height, width, heads, channels): sum over classes at each position and head.
        key_values = torch.einsum("btxyhd,btxyhe->bxyhde", key, value)
        key_sums = key.sum(dim=1)
        if padding_token is not None:
            # The padding token is one token repeated: its keys and values add up to a multiple.
            padding_key = self.key(padding_token) + self.key_guidance(padding_guidance)
            padding_key = elu_plus_one(padding_key.view(self.num_heads, -1))
            padding_value = self.value(padding_token).view(self.num_heads, -1)
            if isinstance(padding_count, torch.Tensor):
                padding_count = padding_count.to(key.dtype)[:, None, None, None, None]
            key_sums = key_sums + padding_count * padding_key
            if isinstance(padding_count, torch.Tensor):
                padding_count = padding_count.unsqueeze(-1)
            key_values = key_values + padding_count * torch.einsum("hd,he->hde", padding_key, padding_value)
        # The weights' sum is one more channel of the same product.
        attended = torch.einsum("btxyhd,bxyhde->btxyhe", query, torch.cat((key_values, key_sums.unsqueeze(-1)), dim=-1))
        return (attended[..., :-1] / (attended[..., -1:] + 1e-6)).flatten(-2)


class FGASegClassAggregation(nn.Module):
    """Classes exchange what they know at each position, guided by their words."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.decoder_hidden_dim
        self.norm_1 = nn.LayerNorm(dim)
        self.attention = FGASegLinearClassAttention(config)
        self.norm_2 = nn.LayerNorm(dim)
        self.feed_forward = FGASegFeedForward(dim, nn.ReLU(inplace=True))
        if config.class_padding:
            self.padding_token = nn.Parameter(torch.zeros(dim))
            self.padding_guidance = nn.Parameter(torch.zeros(config.text_guidance_dim))

    def forward(
        self,
        cost_embeddings: torch.Tensor,
        text_guidance: torch.Tensor,
        is_kept: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels).
            text_guidance: (batch, classes, guidance_dim).
            is_kept: (batch, classes) bool: which classes take part; `None` = all.
            out: See [`apply_in_parts`]; may be `cost_embeddings`.

        Returns:
            (batch, classes, height, width, channels).
        """
        config = self.config
        pooling = config.training_class_pooling_size if self.training else config.class_pooling_size
        if pooling == 1:
            # Positions are apart from each other: a few rows at a time.
            batch_size, num_classes, _, width, dim = cost_embeddings.shape
            return apply_in_parts(
                lambda rows, *shared: rows + self._aggregate(rows, *shared),
                (cost_embeddings,),
                (text_guidance, is_kept),
                dim=2,
                values_per_item=batch_size * num_classes * width * 4 * dim,
                out=out,
            )
        pooled = resize_costs(cost_embeddings, lambda maps: nn.functional.avg_pool2d(maps, pooling, ceil_mode=True))
        pooled = self._aggregate(pooled, text_guidance, is_kept)
        grid = cost_embeddings.shape[2:4]
        return cost_embeddings + resize_costs(
            pooled, lambda maps: nn.functional.interpolate(maps, size=grid, mode="bilinear", align_corners=True)
        )

    def _aggregate(
        self, cost_embeddings: torch.Tensor, text_guidance: torch.Tensor, is_kept: torch.Tensor | None
    ) -> torch.Tensor:
        padding_token = padding_guidance = None
        padding_count: torch.Tensor | int = 0
        if is_kept is not None and self.config.class_padding:
            padding_count = (self.config.class_padding - is_kept.sum(dim=1)).clamp(min=0)
        elif self.config.class_padding:
            padding_count = torch.sym_max(self.config.class_padding - cost_embeddings.shape[1], 0)
        if isinstance(padding_count, torch.Tensor | torch.SymInt) or padding_count:
            padding_token, padding_guidance = self.norm_1(self.padding_token)[None], self.padding_guidance[None]

        cost_embeddings = cost_embeddings + self.attention(
            self.norm_1(cost_embeddings), text_guidance, is_kept, padding_token, padding_guidance, padding_count
        )
        return cost_embeddings + self.feed_forward(self.norm_2(cost_embeddings))


class FGASegAggregationLayer(nn.Module):
    """Spatial, then class aggregation."""

    # Transformers sets both; see `apply_in_parts`.
    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable | None = None

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.spatial_aggregation = FGASegSpatialAggregation(config)
        self.class_aggregation = FGASegClassAggregation(config)

    def forward(
        self,
        cost_embeddings: torch.Tensor,
        appearance_guidance: torch.Tensor,
        text_guidance: torch.Tensor,
        is_kept: torch.Tensor | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See [`FGASegSpatialAggregation`] and [`FGASegClassAggregation`]."""
        cost_embeddings = self.spatial_aggregation(cost_embeddings, appearance_guidance, out)
        checkpoint = self._gradient_checkpointing_func if self.gradient_checkpointing and self.training else None
        if checkpoint is not None:
            return checkpoint(self.class_aggregation, cost_embeddings, text_guidance, is_kept)
        out = None if is_watched(self) else cost_embeddings
        return self.class_aggregation(cost_embeddings, text_guidance, is_kept, out)


def is_watched(module: nn.Module) -> bool:
    """Whether hooks may hold on to what a module is given or returns.

    What nothing holds on to is written over: to fetch fresh memory takes a processor as long as to fill it.
    """
    return any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def elu_plus_one(states: torch.Tensor) -> torch.Tensor:
    """`elu(states) + 1`, the feature map of linear attention: `exp(x)` below zero, `x + 1` above."""
    return states.clamp(max=0).exp() + states.relu()


def costs_to_maps(cost_embeddings: torch.Tensor) -> torch.Tensor:
    """Views (batch, classes, height, width, channels) as pictures (batch * classes, channels, height, width)."""
    return cost_embeddings.flatten(0, 1).permute(0, 3, 1, 2)


def maps_to_costs(maps: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Undoes [`costs_to_maps`]."""
    return maps.permute(0, 2, 3, 1).unflatten(0, (batch_size, -1))


def resize_costs(cost_embeddings: torch.Tensor, resize: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Applies a resizing of pictures to cost embeddings."""
    return maps_to_costs(resize(costs_to_maps(cost_embeddings)), cost_embeddings.shape[0])

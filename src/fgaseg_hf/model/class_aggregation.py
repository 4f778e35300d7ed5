# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 5: aggregation over a picture's classes, each position by itself, by linear attention."""

from dataclasses import dataclass

import torch
from torch import nn

from .configuration_fgaseg import FGASegConfig
from .cost_embeddings import by_rows, resize_costs
from .spatial_aggregation import FGASegFeedForward


@dataclass(frozen=True)
class FGASegClassPadding:
    """The padding token that fills up few classes: one token, repeated.

    Attributes:
        key: (channels,), through the feature map.
        value: (channels,).
        count: How often it stands beside the classes: one number, or one a picture (batch,).
    """

    key: torch.Tensor
    value: torch.Tensor
    count: torch.Tensor | int


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
        padding: FGASegClassPadding | None,
    ) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels), normalised.
            text_guidance: (batch, classes, guidance_dim).
            is_kept: (batch, classes) bool: which classes take part; `None` = all.
            padding: Of [`pad`], or `None`.

        Returns:
            (batch, classes, height, width, channels).
        """
        query_guidance, key_guidance = self.query_guidance(text_guidance), self.key_guidance(text_guidance)
        query = elu_plus_one(by_rows(self.query, cost_embeddings) + query_guidance[:, :, None, None])
        key = elu_plus_one(by_rows(self.key, cost_embeddings) + key_guidance[:, :, None, None])
        return self.attend(query, key, by_rows(self.value, cost_embeddings), is_kept, padding)

    def pad(self, token: torch.Tensor, guidance: torch.Tensor, count: torch.Tensor | int) -> FGASegClassPadding:
        """Key and value of the padding token, normalised (channels,), with its guidance (guidance_dim,)."""
        # As rows of one: adapters and quantised layers expect two axes.
        key = elu_plus_one(self.key(token[None]) + self.key_guidance(guidance[None]))
        return FGASegClassPadding(key[0], self.value(token[None])[0], count)

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        is_kept: torch.Tensor | None,
        padding: FGASegClassPadding | None,
    ) -> torch.Tensor:
        """What each class takes of all, (batch, classes, height, width, channels) like queries, keys and values.

        Queries and keys have been through the feature map, so that all of their products are positive.
        """
        query, key, value = (states.unflatten(-1, (self.num_heads, -1)) for states in (query, key, value))
        if is_kept is not None:
            key = key * is_kept[:, :, None, None, None, None]

        # (batch, classes, height, width, heads, channels): sum over classes at each position and head.
        key_values = torch.einsum("btxyhd,btxyhe->bxyhde", key, value)
        key_sums = key.sum(dim=1)
        if padding is not None:
            # One token repeated: its keys and values add up to a multiple.
            padding_key = padding.key.view(self.num_heads, -1)
            padding_value = padding.value.view(self.num_heads, -1)
            count = padding.count
            if isinstance(count, torch.Tensor):
                count = count.to(key.dtype)[:, None, None, None, None]
            key_sums = key_sums + count * padding_key
            if isinstance(count, torch.Tensor):
                count = count.unsqueeze(-1)
            # Multiplied by the count first, compiled programs lose digits of other gradients (PyTorch 2.13).
            key_values = key_values + count * torch.einsum("hd,he->hde", padding_key, padding_value)
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
        self.feed_forward = FGASegFeedForward(dim, nn.ReLU())
        if config.class_padding:
            self.padding_token = nn.Parameter(torch.zeros(dim))
            self.padding_guidance = nn.Parameter(torch.zeros(config.text_guidance_dim))

    def forward(
        self, cost_embeddings: torch.Tensor, text_guidance: torch.Tensor, is_kept: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels).
            text_guidance: (batch, classes, guidance_dim).
            is_kept: (batch, classes) bool: which classes take part; `None` = all.

        Returns:
            (batch, classes, height, width, channels).
        """
        pooled = self.pool(cost_embeddings)
        padding = self.padding(is_kept, pooled.shape[1])
        states = pooled + self.attention(self.norm_1(pooled), text_guidance, is_kept, padding)
        states = states + self.feed_forward(self.norm_2(states))
        return cost_embeddings + self.unpool(states, cost_embeddings)

    @property
    def pooling_size(self) -> int:
        """Side of what becomes one position before classes are aggregated; 1: nothing is pooled."""
        return self.config.training_class_pooling_size if self.training else self.config.class_pooling_size

    def pool(self, cost_embeddings: torch.Tensor) -> torch.Tensor:
        """(batch, classes, height, width, channels) -> the same, averaged over squares of `pooling_size`."""
        size = self.pooling_size
        if size == 1:
            return cost_embeddings
        return resize_costs(cost_embeddings, lambda maps: nn.functional.avg_pool2d(maps, size, ceil_mode=True))

    def unpool(self, states: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Brings what [`pool`] returned back to the grid of `like`."""
        if self.pooling_size == 1:
            return states
        grid = like.shape[2:4]
        return resize_costs(
            states, lambda maps: nn.functional.interpolate(maps, size=grid, mode="bilinear", align_corners=True)
        )

    def padding(self, is_kept: torch.Tensor | None, num_classes: int) -> FGASegClassPadding | None:
        """The padding that fills up to `config.class_padding` classes; `None` if the configuration has none.

        With enough classes it counts 0, and still takes part: the same parameters get gradients whatever the number of
        classes is, which training on several devices relies on.
        """
        if not self.config.class_padding:
            return None
        count: torch.Tensor | int
        if is_kept is None:
            count = torch.sym_max(self.config.class_padding - num_classes, 0)
        else:
            count = (self.config.class_padding - is_kept.sum(dim=1)).clamp(min=0)
        return self.attention.pad(self.norm_1(self.padding_token[None])[0], self.padding_guidance, count)


def elu_plus_one(states: torch.Tensor) -> torch.Tensor:
    """`elu(states) + 1`, the feature map of linear attention: `exp(x)` up to zero, `x + 1` above.

    Its gradient at exactly 0 is ELU's, 1, whatever gradient PyTorch gives to the corner of `relu` or `clamp`.
    """
    above = states.relu()
    return (states - above).exp() + above

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

    def __init__(self, config: FGASegConfig, is_shifted: bool) -> None:
        super().__init__()
        self.config = config
        dim = config.decoder_hidden_dim
        self.window_size = config.window_size
        self.is_shifted = is_shifted
        self.num_heads = config.num_aggregation_heads
        self.scaling = (dim // self.num_heads) ** -0.5
        self.is_causal = False
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.query_guidance = nn.Linear(config.appearance_guidance_dim, dim, bias=False)
        self.key_guidance = nn.Linear(config.appearance_guidance_dim, dim, bias=False)
        self.output = nn.Linear(dim, dim)

    def forward(self, cost_embeddings: torch.Tensor, appearance_guidance: torch.Tensor) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels), normalised.
            appearance_guidance: (batch, height, width, guidance_dim), normalised.

        Returns:
            (batch, classes, height, width, channels).
        """
        query, key, value = apply_side_by_side((self.query, self.key, self.value), cost_embeddings)
        query = query + self.query_guidance(appearance_guidance).unsqueeze(1)
        key = key + self.key_guidance(appearance_guidance).unsqueeze(1)

        height, width = cost_embeddings.shape[2:4]
        if isinstance(height, torch.SymInt) or isinstance(width, torch.SymInt):
            return self._attend_in_unknown_grid(query, key, value)
        window = (min(self.window_size, height), min(self.window_size, width))
        # A single window along an axis has nothing to shift to.
        shift = tuple(
            self.window_size // 2 if self.is_shifted and size > self.window_size else 0 for size in (height, width)
        )
        mask = window_mask(height, width, window, shift, query)
        query, key, value = (
            split_into_windows(states, window, shift, self.num_heads) for states in (query, key, value)
        )
        attended = self._attend(query, key, value, mask)
        return self.output(merge_windows(attended, window, shift, cost_embeddings.shape))

    def _attend_in_unknown_grid(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        height, width = query.shape[2:4]
        windows = FGASegSymbolicWindows(height, width, self.window_size, self.is_shifted, query.device)
        in_windows = [windows.split(states, self.num_heads) for states in (query, key, value)]
        attended = self._attend(in_windows[0], in_windows[1], in_windows[2], windows.mask(query.dtype))
        return self.output(windows.merge(attended, query))

    def _attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        if mask is not None:
            mask = mask.repeat_interleave(self.num_heads, dim=0).unsqueeze(0)
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        return attention(self, query, key, value, mask, scaling=self.scaling, dropout=0.0)[0]


class FGASegWindowBlock(nn.Module):
    """A Swin block (arXiv 2103.14030): window attention, then a feed-forward network, each with a residual."""

    def __init__(self, config: FGASegConfig, is_shifted: bool) -> None:
        super().__init__()
        dim = config.decoder_hidden_dim
        self.norm_1 = nn.LayerNorm(dim)
        self.attention = FGASegWindowAttention(config, is_shifted)
        self.norm_2 = nn.LayerNorm(dim)
        self.feed_forward = FGASegFeedForward(dim, nn.GELU())

    def forward(self, cost_embeddings: torch.Tensor, appearance_guidance: torch.Tensor) -> torch.Tensor:
        """See [`FGASegWindowAttention`]; the cost embeddings need not be normalised."""
        cost_embeddings = cost_embeddings + self.attention(self.norm_1(cost_embeddings), appearance_guidance)
        return cost_embeddings + self.feed_forward(self.norm_2(cost_embeddings))


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
        query, key = nn.functional.elu(query).add_(1), nn.functional.elu(key).add_(1)
        if is_kept is not None:
            key = key * is_kept[:, :, None, None, None, None]

        # (batch, classes, height, width, heads, channels): sum over classes at each position and head.
        key_values = torch.einsum("btxyhd,btxyhe->bxyhde", key, value)
        key_sums = key.sum(dim=1)
        if padding_token is not None:
            # The padding token is one token repeated: its keys and values add up to a multiple.
            padding_key = self.key(padding_token) + self.key_guidance(padding_guidance)
            padding_key = nn.functional.elu(padding_key.view(self.num_heads, -1)) + 1
            padding_value = self.value(padding_token).view(self.num_heads, -1)
            if isinstance(padding_count, torch.Tensor):
                padding_count = padding_count.to(key.dtype)[:, None, None, None, None]
            key_sums = key_sums + padding_count * padding_key
            if isinstance(padding_count, torch.Tensor):
                padding_count = padding_count.unsqueeze(-1)
            key_values = key_values + padding_count * torch.einsum("hd,he->hde", padding_key, padding_value)
        weight_sums = torch.einsum("btxyhd,bxyhd->btxyh", query, key_sums)
        attended = torch.einsum("btxyhd,bxyhde->btxyhe", query, key_values)
        return (attended / (weight_sums + 1e-6).unsqueeze(-1)).flatten(-2)


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
        self, cost_embeddings: torch.Tensor, text_guidance: torch.Tensor, is_kept: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            cost_embeddings: (batch, classes, height, width, channels).
            text_guidance: (batch, classes, guidance_dim).
            is_kept: (batch, classes) bool: which classes take part; `None` = all.
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
    ) -> torch.Tensor:
        """See [`FGASegSpatialAggregation`] and [`FGASegClassAggregation`]."""
        checkpoint = self._gradient_checkpointing_func if self.gradient_checkpointing and self.training else None
        batch_size, _, height, width, dim = cost_embeddings.shape
        # Classes are apart from each other here: a few at a time.
        cost_embeddings = apply_in_parts(
            self.spatial_aggregation,
            (cost_embeddings,),
            (appearance_guidance,),
            dim=1,
            values_per_item=batch_size * height * width * 4 * dim,
            checkpoint=checkpoint,
        )
        if checkpoint is not None:
            return checkpoint(self.class_aggregation, cost_embeddings, text_guidance, is_kept)
        return self.class_aggregation(cost_embeddings, text_guidance, is_kept)


def costs_to_maps(cost_embeddings: torch.Tensor) -> torch.Tensor:
    """Views (batch, classes, height, width, channels) as pictures (batch * classes, channels, height, width)."""
    return cost_embeddings.flatten(0, 1).permute(0, 3, 1, 2)


def maps_to_costs(maps: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Undoes [`costs_to_maps`]."""
    return maps.permute(0, 2, 3, 1).unflatten(0, (batch_size, -1))


def resize_costs(cost_embeddings: torch.Tensor, resize: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Applies a resizing of pictures to cost embeddings."""
    return maps_to_costs(resize(costs_to_maps(cost_embeddings)), cost_embeddings.shape[0])


def split_into_windows(
    states: torch.Tensor, window: tuple[int, int], shift: tuple[int, ...], num_heads: int
) -> torch.Tensor:
    """Cuts (batch, classes, height, width, channels) into windows.

    The grid is filled up to whole windows at the bottom and right, and rolled up and left by `shift`.

    Returns:
        (batch * classes, windows * heads, window area, channels / heads).
    """
    height, width = states.shape[2:4]
    fill = (-height % window[0], -width % window[1])
    if any(fill):
        states = nn.functional.pad(states, (0, 0, 0, fill[1], 0, fill[0]))
    if any(shift):
        states = states.roll((-shift[0], -shift[1]), dims=(2, 3))
    states = states.flatten(0, 1).unflatten(-1, (num_heads, -1))
    states = states.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    # (pictures, rows of windows, window height, columns of windows, window width, heads, channels)
    return states.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5).flatten(1, 3)


def merge_windows(
    attended: torch.Tensor, window: tuple[int, int], shift: tuple[int, ...], shape: torch.Size
) -> torch.Tensor:
    """Undoes [`split_into_windows`] on attention's output (batch * classes, window area, windows * heads, channels)."""
    batch_size, num_classes, height, width, channels = shape
    rows, columns = -(-height // window[0]), -(-width // window[1])
    states = attended.reshape(-1, *window, rows, columns, channels)
    states = states.permute(0, 3, 1, 4, 2, 5)
    states = states.reshape(batch_size, num_classes, rows * window[0], columns * window[1], channels)
    if any(shift):
        states = states.roll(shift, dims=(2, 3))
    return states[:, :, :height, :width]


def window_mask(
    height: int, width: int, window: tuple[int, int], shift: tuple[int, ...], like: torch.Tensor
) -> torch.Tensor | None:
    """What may attend to what in each window: only patches that were neighbours before rolling, never the filling.

    Args:
        height: Rows of the patch grid.
        width: Columns of the patch grid.
        window: A window's height and width.
        shift: By how much the grid was rolled up and left.
        like: A tensor that gives dtype and device.

    Returns:
        An additive mask (windows, window area, window area), or `None` where everything may attend to everything.
    """
    if not any(shift) and height % window[0] == 0 and width % window[1] == 0:
        return None

    def regions(size: int, window_size: int, axis_shift: int) -> torch.Tensor:
        whole = -(-size // window_size) * window_size
        places = (torch.arange(whole, device=like.device) + axis_shift) % whole
        wrapped = torch.arange(whole, device=like.device) + axis_shift >= whole
        return torch.where(places >= size, 2, wrapped.int())

    region = 3 * regions(height, window[0], shift[0])[:, None] + regions(width, window[1], shift[1])
    region = (
        region.unflatten(1, (-1, window[1]))
        .unflatten(0, (-1, window[0]))
        .transpose(1, 2)
        .reshape(-1, window[0] * window[1])
    )
    is_apart = region[:, :, None] != region[:, None, :]
    return torch.zeros_like(is_apart, dtype=like.dtype).masked_fill(is_apart, torch.finfo(like.dtype).min)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 3: pixel-text alignment. The P2Tformer moves words towards a picture's patches; the alignment head checks it."""

import math
from collections.abc import Callable

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

from .configuration_fgaseg import FGASegConfig


class FGASegCrossAttention(nn.Module):
    """Multi-head attention from one set of tokens to another."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.projection_dim
        self.head_dim = dim // config.p2tformer_num_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """
        Args:
            queries: (batch, num_queries, dim).
            keys: (batch, num_keys, dim).
            values: (batch, num_keys, dim).

        Returns:
            (batch, num_queries, dim).
        """
        query, key, value = (
            projection(states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for projection, states in ((self.q_proj, queries), (self.k_proj, keys), (self.v_proj, values))
        )
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        attended, _ = attention(self, query, key, value, None, scaling=self.scaling, dropout=0.0)
        return self.out_proj(attended.flatten(2))


class FGASegP2TformerLayer(nn.Module):
    """One update of tokens by others: `tokens = LayerNorm(tokens + Linear(Attention(tokens, others)))`."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        self.attention = FGASegCrossAttention(config)
        self.linear = nn.Linear(config.projection_dim, config.projection_dim)
        self.norm = nn.LayerNorm(config.projection_dim)

    def forward(
        self, tokens: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, positions: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Args:
            tokens: (batch, num_tokens, dim), updated.
            keys: (batch, num_others, dim).
            values: (batch, num_others, dim).
            positions: (num_tokens, dim), added to the tokens when they ask; none for words.
        """
        queries = tokens if positions is None else tokens + positions
        return self.norm(tokens + self.linear(self.attention(queries, keys, values)))


class FGASegP2Tformer(nn.Module):
    """P2Tformer (FGAseg, pixel-text alignment): words attend to patches; in the dual form patches to words, too.

    A model of half precision computes it in float32: a word's rounding moves its whole map, at every pixel alike, and
    which way a product of a few rows is rounded depends on how many pictures are computed together.
    """

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        num_layers, dim = config.p2tformer_num_layers, config.projection_dim
        self.text_layers = nn.ModuleList([FGASegP2TformerLayer(config) for _ in range(num_layers)])
        self.text_scale = nn.Parameter(torch.full((dim,), float(config.p2tformer_scale_init)))
        self.is_dual = config.p2tformer_direction == "dual"
        if self.is_dual:
            self.patch_layers = nn.ModuleList([FGASegP2TformerLayer(config) for _ in range(num_layers)])
            self.patch_scale = nn.Parameter(torch.full((dim,), float(config.p2tformer_scale_init)))

    def forward(self, text_embeddings: torch.Tensor, patch_features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            text_embeddings: (batch, classes, dim).
            patch_features: (batch, dim, height, width).

        Returns:
            The aligned text embeddings and the patch features (updated in the dual form only), in the same shapes.
        """
        grid, dtype = patch_features.shape[-2:], text_embeddings.dtype
        is_exact = _computes_in_float32(self, text_embeddings)
        if is_exact:
            text_embeddings, patch_features = text_embeddings.float(), patch_features.float()
        positions = sine_positions(grid[0], grid[1], patch_features.shape[1], patch_features)
        first_text, first_patches = text_embeddings, patch_features.flatten(2).transpose(1, 2)
        text, patches = first_text, first_patches
        for index, layer in enumerate(self.text_layers):
            text_before = text
            text = _call(layer, is_exact, text, patches + positions, patches)
            if self.is_dual:
                patch_layer = self.patch_layers[index]
                patches = _call(patch_layer, is_exact, patches, text_before, text_before, positions)
        aligned_text = (first_text + self.text_scale * text).to(dtype)
        if not self.is_dual:
            return aligned_text, patch_features.to(dtype)
        patches = first_patches + self.patch_scale * patches
        return aligned_text, patches.transpose(1, 2).unflatten(2, grid).to(dtype)


def _computes_in_float32(module: nn.Module, states: torch.Tensor) -> bool:
    """Whether a module of half precision can be called with its weights in float32.

    Not those that bring their weights in when they are called, quantised ones, compiled programs, or under autocast,
    which has precisions of its own.
    """
    if states.dtype not in (torch.float16, torch.bfloat16) or torch.compiler.is_compiling():
        return False
    if torch.is_autocast_enabled(states.device.type) or any(hasattr(part, "_hf_hook") for part in module.modules()):
        return False
    return all(weight.dtype == states.dtype and type(weight) is nn.Parameter for weight in module.parameters())


def _call(module: nn.Module, is_exact: bool, *inputs: torch.Tensor) -> torch.Tensor:
    """Calls a module, with its weights in float32 if the call shall be exact."""
    if not is_exact:
        return module(*inputs)
    weights = {name: weight.float() for name, weight in module.named_parameters()}
    return torch.func.functional_call(module, weights, inputs)


class FGASegAlignmentHead(nn.Module):
    """Text-pixel alignment (T2P) head, for training: each word becomes a kernel that slides over upsampled patches."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        dim = config.projection_dim
        self.kernel_size = config.alignment_kernel_size
        self.convolution_1 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(dim)
        self.convolution_2 = nn.Conv2d(dim, dim // 2, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(dim // 2)
        self.projection = nn.Conv2d(dim // 2, dim // 2, 1)
        self.kernel_projection = nn.Linear(dim, dim // 2 * self.kernel_size**2 + 1)

    def forward(self, aligned_text_embeddings: torch.Tensor, patch_features: torch.Tensor) -> torch.Tensor:
        """
        Args:
            aligned_text_embeddings: (batch, classes, dim).
            patch_features: (batch, dim, height, width).

        Returns:
            Alignment logits (batch, classes, 4 height, 4 width).
        """
        features = self.norm_1(self.convolution_1(upsample_twice(patch_features))).relu()
        features = self.norm_2(self.convolution_2(upsample_twice(features))).relu()
        kernels = self.kernel_projection(aligned_text_embeddings)
        weights, biases = kernels[..., :-1], kernels[..., -1]
        weights = weights.unflatten(-1, (-1, self.kernel_size, self.kernel_size))
        return convolve_with_class_kernels(self.projection(features), weights, biases)


def upsample_twice(features: torch.Tensor) -> torch.Tensor:
    """Bilinear upsampling by 2 (align_corners False)."""
    return nn.functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def convolve_with_class_kernels(features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
    """Slides each picture's own class kernels over its features.

    Args:
        features: (batch, channels, height, width).
        weights: (batch, classes, channels, kernel, kernel), kernel odd.
        biases: (batch, classes).

    Returns:
        (batch, classes, height, width); beyond the edge, features are zero.
    """
    batch_size, _, height, width = features.shape
    if torch.compiler.is_compiling():
        # How many groups a convolution has is part of the program, which shall serve batches of every size.
        return _convolve_by_shifts(features, weights, biases)
    maps = nn.functional.conv2d(
        features.reshape(1, -1, height, width),
        weights.flatten(0, 1),
        biases.flatten(),
        padding=weights.shape[-1] // 2,
        groups=batch_size,
    )
    return maps.view(batch_size, -1, height, width)


def _convolve_by_shifts(features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
    """The same by one matrix product, and a sum over the kernels' positions of its shifted parts."""
    kernel_size = weights.shape[-1]
    height, width = features.shape[-2:]
    kernels = weights.permute(0, 3, 4, 1, 2).flatten(1, 3)
    products = torch.matmul(kernels, features.flatten(2)).unflatten(1, (kernel_size, kernel_size, -1))
    edge = kernel_size // 2
    products = nn.functional.pad(products.unflatten(-1, (height, width)), (edge, edge, edge, edge))
    maps = biases[..., None, None]
    for row in range(kernel_size):
        for column in range(kernel_size):
            maps = maps + products[:, row, column, :, row : row + height, column : column + width]
    return maps


def sine_positions(height: int, width: int, dim: int, like: torch.Tensor) -> torch.Tensor:
    """Two-dimensional sine positions of DETR (arXiv 2005.12872), normalised to 2 pi, half of `dim` an axis, y first.

    Args:
        height: Rows of the grid.
        width: Columns of the grid.
        dim: Channels, a multiple of 4.
        like: A tensor that gives dtype and device.

    Returns:
        (height * width, dim).
    """
    frequencies = torch.arange(dim // 4, dtype=torch.float32, device=like.device)
    frequencies = 10000.0 ** (-4.0 * frequencies / dim)

    def encode(length: int) -> torch.Tensor:
        steps = torch.arange(1, length + 1, dtype=torch.float32, device=like.device)
        angles = (steps / (length + 1e-6) * 2 * math.pi)[:, None] * frequencies
        return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)

    along_height = encode(height)
    # A compiled program shall serve grids of every form.
    is_square = not torch.compiler.is_compiling() and height == width
    along_width = along_height if is_square else encode(width)
    rows = along_height[:, None].expand(-1, width, -1)
    columns = along_width[None].expand(height, -1, -1)
    return torch.cat((rows, columns), dim=-1).flatten(0, 1).to(like.dtype)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Steps 1 and 2: CLIP's image tower kept dense, guidance maps, and text embeddings."""

from collections import OrderedDict
from typing import Any, Literal

import torch
from torch import nn
from transformers import CLIPVisionConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.clip.modeling_clip import (
    CLIPAttention,
    CLIPEncoderLayer,
    CLIPTextModel,
    CLIPVisionEmbeddings,
    CLIPVisionModel,
)
from transformers.utils.output_capturing import (
    _CAN_RECORD_REGISTRY,
    install_all_output_capturing_hooks,
    maybe_install_capturing_hooks,
)

from .configuration_fgaseg import FGASegConfig

DenseAttention = Literal["value", "self_correlation", "neighbour"]
DenseResidual = Literal["class", "patch", "none"]

CLIP_MODULES = ("text_model", "vision_model", "visual_projection", "text_projection", "logit_scale")


class FGASegDenseAttention(CLIPAttention):
    """The last block's attention, changed such that patches stay where they are.

    With q, k, v the block's own projections of the tokens, d the channels of a head, and the head's index left out:

    - `"value"`: v. Every token keeps its own value (MaskCLIP, arXiv 2112.01071; CAT-Seg and FGASeg).
    - `"self_correlation"`: (softmax(q qᵀ / √d) + softmax(k kᵀ / √d)) v. Tokens attend to tokens that ask for and offer
      the same (SCLIP, arXiv 2312.01597).
    - `"neighbour"`: softmax(k kᵀ / √d + ω) v with ω_ij = exp(-|i - j|² / (2 s²)), where |i - j| is the distance of two
      patches on the grid and s is `neighbour_std`; ω is 0 where the class token is concerned. Alike patches that lie
      near count most (NACLIP, arXiv 2404.08181).
    """

    def __init__(self, config: CLIPVisionConfig, kind: DenseAttention, neighbour_std: float) -> None:
        super().__init__(config)
        self.kind = kind
        self.neighbour_std = neighbour_std

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        patch_grid: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        """(batch, 1 + patches, width), class token first -> the same, and no attention map."""
        values = self.v_proj(hidden_states)
        if self.kind != "value":
            attended = self._weights(hidden_states, patch_grid) @ self._split_heads(values)
            values = attended.transpose(1, 2).flatten(2)
        return self.out_proj(values), None

    def _weights(self, hidden_states: torch.Tensor, patch_grid: tuple[int, int] | None) -> torch.Tensor:
        """(batch, heads, tokens, tokens): how much each token (row) takes of each token (column)."""
        keys = self._split_heads(self.k_proj(hidden_states))
        scores = keys @ keys.transpose(-1, -2) * self.scale
        if self.kind == "neighbour":
            assert patch_grid is not None
            nearness = patch_nearness(patch_grid, self.neighbour_std, scores.device)
            return (scores + nn.functional.pad(nearness, (1, 0, 1, 0)).to(scores.dtype)).softmax(dim=-1)
        queries = self._split_heads(self.q_proj(hidden_states))
        return (queries @ queries.transpose(-1, -2) * self.scale).softmax(dim=-1) + scores.softmax(dim=-1)

    def _split_heads(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


class FGASegDenseEncoderLayer(CLIPEncoderLayer):
    """The last block of the image tower, with dense attention.

    What the attention is added to is `residual`: the class token, the same for every patch, as in the released code
    (`"class"`); each patch itself, as in CLIP (`"patch"`); or nothing, in which case there is no feed-forward layer
    either (`"none"`, as in NACLIP).
    """

    def __init__(
        self, config: CLIPVisionConfig, attention: DenseAttention, residual: DenseResidual, neighbour_std: float
    ) -> None:
        super().__init__(config)
        self.self_attn = FGASegDenseAttention(config, attention, neighbour_std)
        self.residual = residual

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """(batch, 1 + patches, width) -> the same; class token first."""
        attended, _ = self.self_attn(self.layer_norm1(hidden_states), **kwargs)
        if self.residual == "none":
            return attended
        hidden_states = attended + (hidden_states[:, :1] if self.residual == "class" else hidden_states)
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))


class FGASegVisionEmbeddings(CLIPVisionEmbeddings):
    """CLIP's patch and position embeddings, for grids of any size, known or not."""

    def interpolate_pos_encoding(self, embeddings: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Resizes the position table to a picture's grid (bicubic, align_corners False).

        Args:
            embeddings: (batch, 1 + patches, width), not used.
            height: The picture's height in pixels.
            width: Its width in pixels.

        Returns:
            (1, 1 + patches, width), class position first.
        """
        # By the module, not by its weight: a module that is offloaded brings its weight in when it is called.
        positions = self.position_embedding(self.position_ids)
        side = self.image_size // self.patch_size
        grid = (height // self.patch_size, width // self.patch_size)
        # A compiled program shall serve every grid; resizing to the same size changes nothing.
        if not torch.compiler.is_compiling() and grid == (side, side):
            return positions
        table = tokens_to_map(positions[:, 1:], (side, side))
        table = nn.functional.interpolate(table, size=grid, mode="bicubic", align_corners=False)
        return torch.cat((positions[:, :1], table.flatten(2).transpose(1, 2)), dim=1)


class _PicklableTower(PreTrainedModel):
    """A tower that can be pickled: Transformers' hooks that capture hidden states are functions without a name."""

    def __getstate__(self) -> dict[str, Any]:
        return {**_without_capturing_hooks(self, {}).__dict__, "_output_capturing_hooks_installed": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # What a class can record is written down where it is made, which may be in another process than this one; older
        # versions of Transformers write it down by the class's name.
        is_by_name = type(_CAN_RECORD_REGISTRY) is dict
        _CAN_RECORD_REGISTRY[str(self.__class__) if is_by_name else self] = self._can_record_outputs  # type: ignore
        # Transformers would install these at the first call, under a lock, which `torch.compile` cannot look through.
        maybe_install_capturing_hooks(self)


def _without_capturing_hooks(module: nn.Module, done: dict[int, nn.Module]) -> nn.Module:
    """A module of the same tensors and submodules, but for the hooks that a pickle cannot hold."""
    if id(module) not in done:
        copied = done[id(module)] = module.__class__.__new__(module.__class__)
        copied.__dict__ = {**module.__dict__}
        copied._forward_hooks = OrderedDict(
            (number, hook)
            for number, hook in module._forward_hooks.items()
            if getattr(hook, "__module__", None) != install_all_output_capturing_hooks.__module__
        )
        copied._modules = {
            name: child if child is None else _without_capturing_hooks(child, done)
            for name, child in module._modules.items()
        }
    return done[id(module)]


class FGASegVisionModel(_PicklableTower, CLIPVisionModel):
    """CLIP's image tower whose last block is dense. Loads CLIP's weights under CLIP's names.

    Args:
        config: CLIP's configuration of the tower.
        dense_attention: See [`FGASegDenseAttention`].
        dense_residual: See [`FGASegDenseEncoderLayer`].
        neighbour_std: Of `dense_attention="neighbour"`, in patches.
    """

    _no_split_modules = ["FGASegVisionEmbeddings", "CLIPEncoderLayer", "FGASegDenseEncoderLayer"]

    def __init__(
        self,
        config: CLIPVisionConfig,
        dense_attention: DenseAttention = "value",
        dense_residual: DenseResidual = "class",
        neighbour_std: float = 5.0,
    ) -> None:
        super().__init__(config)
        self.embeddings = FGASegVisionEmbeddings(config)
        self.encoder.layers[-1] = FGASegDenseEncoderLayer(config, dense_attention, dense_residual, neighbour_std)
        self.post_init()
        # See [`_PicklableTower`].
        maybe_install_capturing_hooks(self)

    @classmethod
    def is_custom_code(cls) -> bool:
        """Says no: see below."""
        # Transformers skips container modules when it initialises "custom code"; CLIP initialises by container.
        return False


class FGASegTextModel(_PicklableTower, CLIPTextModel):
    """CLIP's text tower, unchanged."""

    _no_split_modules = ["CLIPTextEmbeddings", "CLIPEncoderLayer"]

    @classmethod
    def is_custom_code(cls) -> bool:
        """Says no, see [`FGASegVisionModel`]."""
        return False


class FGASegUpsamplingGuidance(nn.Module):
    """Brings the two guidance states of the image tower to 2 x and 4 x the patch grid."""

    def __init__(self, config: FGASegConfig) -> None:
        super().__init__()
        width = config.vision_config.hidden_size
        coarse_dim, fine_dim = config.upsampling_guidance_dims
        self.coarse = nn.ConvTranspose2d(width, coarse_dim, kernel_size=2, stride=2)
        self.fine = nn.ConvTranspose2d(width, fine_dim, kernel_size=4, stride=4)

    def forward(
        self, hidden_states: tuple[torch.Tensor, torch.Tensor], grid: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states: Two token sequences (batch, 1 + height * width, width), class token first.
            grid: The patch grid (height, width).

        Returns:
            Maps (batch, coarse_dim, 2 height, 2 width) and (batch, fine_dim, 4 height, 4 width).
        """
        coarse, fine = (tokens_to_map(states[:, 1:], grid) for states in hidden_states)
        return self.coarse(coarse), self.fine(fine)


def tokens_to_map(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Lays patch tokens (batch, height * width, channels) out as a map (batch, channels, height, width)."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def patch_nearness(grid: tuple[int, int], std: float, device: torch.device) -> torch.Tensor:
    """A bell curve of the distance between every two patches of a grid, 1 where they are the same.

    Args:
        grid: The patch grid (height, width).
        std: Width of the bell, in patches.
        device: Where to compute.

    Returns:
        (height * width, height * width), row by row.
    """
    rows, columns = (
        torch.exp(-((places[:, None] - places) ** 2) / (2 * std**2))
        for places in (torch.arange(side, dtype=torch.float32, device=device) for side in grid)
    )
    return torch.kron(rows, columns)


def default_image_size(patch_size: int) -> int:
    """The side in pixels at which an image tower of this patch size is run by default.

    384 if that is a multiple of the patch size, or else 24 patches: the published 384 for patches of 16, 336 for 14.
    """
    return 384 if 384 % patch_size == 0 else 24 * patch_size


def is_clip_parameter(name: str) -> bool:
    """Whether a parameter of [`FGASegForSemanticSegmentation`] or [`FGASegModel`], named so, belongs to CLIP."""
    return name.removeprefix("fgaseg.").split(".")[0] in CLIP_MODULES


def is_trainable_parameter(name: str, config: FGASegConfig) -> bool:
    """Whether a parameter trains under `config.trainable_clip`.

    What no output depends on never does: the last image block's query and key, as far as its dense attention does not
    use them; its feed-forward layer, if it is left out; and CLIP's temperature, unless it scales the logits.

    Args:
        name: The parameter's name in the model.
        config: The model's configuration.
    """
    if not is_clip_parameter(name):
        return True
    if config.trainable_clip == "none" or _is_unused(name, config):
        return False
    if config.trainable_clip == "query_value":
        return name.endswith((".q_proj.weight", ".v_proj.weight"))
    return True


def _is_unused(name: str, config: FGASegConfig) -> bool:
    if name.endswith("logit_scale"):
        return config.decoder_type != "cosine"
    last_block = f"vision_model.encoder.layers.{config.vision_config.num_hidden_layers - 1}."
    if last_block not in name:
        return False
    unused: tuple[str, ...] = () if config.dense_residual != "none" else ("mlp.", "layer_norm2.")
    if config.dense_attention != "self_correlation":
        unused += ("self_attn.q_proj.",)
    if config.dense_attention == "value":
        unused += ("self_attn.k_proj.",)
    return name.split(last_block)[1].startswith(unused)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""State dicts of OpenAI's CLIP and of OpenCLIP: architecture from shapes, names as in the Hub's `CLIPModel`."""

import re
from collections.abc import Mapping
from typing import Any

import torch

# OpenCLIP's later models keep the text tower in a module of its own.
_TEXT_TOWER = r"(?:text\.)?"
_RENAMED = [
    (r"visual\.class_embedding", "vision_model.embeddings.class_embedding"),
    (r"visual\.conv1\.weight", "vision_model.embeddings.patch_embedding.weight"),
    (r"visual\.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    (r"visual\.ln_pre\.(weight|bias)", r"vision_model.pre_layrnorm.\1"),
    (r"visual\.ln_post\.(weight|bias)", r"vision_model.post_layernorm.\1"),
    (_TEXT_TOWER + r"token_embedding\.weight", "text_model.embeddings.token_embedding.weight"),
    (_TEXT_TOWER + r"positional_embedding", "text_model.embeddings.position_embedding.weight"),
    (_TEXT_TOWER + r"ln_final\.(weight|bias)", r"text_model.final_layer_norm.\1"),
    (r"logit_scale", "logit_scale"),
]
_BLOCK = re.compile(rf"(visual\.|{_TEXT_TOWER})transformer\.resblocks\.(\d+)\.(.+)")
# Parts of a transformer block, as OpenAI and all who follow it name them.
RENAMED_BLOCK_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
# Numbers that OpenAI's archives hold as tensors, and the causal mask, which is made anew for each length.
_NOT_WEIGHTS = re.compile(r"input_resolution|context_length|vocab_size|(.*\.)?attn_mask")
_OPENAI_MARKS = ("input_resolution", "context_length", "vocab_size")
# Channels of an attention head where they are not 64: published towers are told by their width (H/14, g/14, bigG, e).
_HEAD_DIMS = {1280: 80, 1408: 88, 1664: 104, 1792: 112}


def is_clip_state_dict(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a state dict has the two towers of CLIP under OpenAI's or OpenCLIP's names."""
    has_text = any(re.fullmatch(_TEXT_TOWER + r"token_embedding\.weight", name) for name in tensors)
    return has_text and any(name.startswith("visual.") for name in tensors)


def has_openai_marks(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a CLIP state dict holds the numbers that OpenAI's own files hold beside the weights."""
    return any(name in tensors for name in _OPENAI_MARKS)


def clip_config_fields(tensors: Mapping[str, torch.Tensor], activation: str) -> dict[str, Any]:
    """Reads both towers off the shapes of a CLIP state dict.

    Shapes do not tell attention heads, see [`num_attention_heads`], nor the activation.

    Args:
        tensors: The state dict.
        activation: `"gelu"` or `"quick_gelu"`.

    Returns:
        `text_config`, `vision_config` and `projection_dim` for [`FGASegConfig`].

    Raises:
        ValueError: The image tower is no vision transformer, or a tensor is missing or of another rank.
    """
    if "visual.layer1.0.conv1.weight" in tensors:
        raise ValueError("The CLIP's image tower is a ResNet, which has no patches to keep dense: give a CLIP ViT.")
    if any(name.startswith("visual.trunk.") for name in tensors):
        raise ValueError("The CLIP's image tower is a timm model, not CLIP's own ViT: give another CLIP.")

    width, _, patch_size, _ = _shape(tensors, r"visual\.conv1\.weight", 4)
    positions, _ = _shape(tensors, r"visual\.positional_embedding", 2)
    grid = round((positions - 1) ** 0.5)
    if grid**2 != positions - 1:
        raise ValueError(
            f"The CLIP state dict's visual.positional_embedding has {positions} rows, which are no square grid and a "
            "class token: give an untouched checkpoint."
        )
    vocabulary, text_width = _shape(tensors, _TEXT_TOWER + r"token_embedding\.weight", 2)
    _, projection_dim = _shape(tensors, r"visual\.proj", 2)
    text = {
        "vocab_size": vocabulary,
        "hidden_size": text_width,
        "intermediate_size": _shape(tensors, _TEXT_TOWER + r"transformer\.resblocks\.0\.mlp\.c_fc\.weight", 2)[0],
        "num_hidden_layers": _depth(tensors, _TEXT_TOWER),
        "num_attention_heads": num_attention_heads(text_width),
        "max_position_embeddings": _shape(tensors, _TEXT_TOWER + r"positional_embedding", 2)[0],
        "projection_dim": projection_dim,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "hidden_act": activation,
    }
    vision = {
        "hidden_size": width,
        "intermediate_size": _shape(tensors, r"visual\.transformer\.resblocks\.0\.mlp\.c_fc\.weight", 2)[0],
        "num_hidden_layers": _depth(tensors, r"visual\."),
        "num_attention_heads": num_attention_heads(width, is_vision=True),
        "patch_size": patch_size,
        "image_size": grid * patch_size,
        "projection_dim": projection_dim,
        "hidden_act": activation,
    }
    return {"text_config": text, "vision_config": vision, "projection_dim": projection_dim}


def _shape(tensors: Mapping[str, torch.Tensor], pattern: str, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there."""
    name = next((name for name in tensors if re.fullmatch(pattern, name)), None)
    if name is None:
        raise ValueError(f"The CLIP state dict lacks {_plain(pattern)}: give the whole state dict.")
    if tensors[name].dim() != rank:
        raise ValueError(
            f"The CLIP state dict's {name} has shape {tuple(tensors[name].shape)}, which is not CLIP's: give an "
            "untouched checkpoint."
        )
    return tuple(tensors[name].shape)


def _depth(tensors: Mapping[str, torch.Tensor], prefix: str) -> int:
    """How many blocks a tower has."""
    found = [re.match(prefix + r"transformer\.resblocks\.(\d+)\.", name) for name in tensors]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def num_attention_heads(width: int, is_vision: bool = False) -> int:
    """How many attention heads a tower of CLIP has, which its shapes do not tell.

    A head has 64 channels; in image towers that are 1280, 1408, 1664 or 1792 wide, as those of H/14, g/14, bigG and e,
    it has 80, 88, 104 or 112.

    Args:
        width: Channels of the tower.
        is_vision: Whether it is the image tower.
    """
    return max(width // (_HEAD_DIMS.get(width, 64) if is_vision else 64), 1)


def convert_clip_state_dict(
    tensors: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], list[str], list[str]]:
    """Renames, splits and transposes the tensors of a CLIP state dict.

    Args:
        tensors: The state dict of OpenAI's CLIP or of OpenCLIP.

    Returns:
        The tensors under the names of [`FGASegForSemanticSegmentation`]; names that hold no weights (masks, the
        archive's own numbers); and unknown names.
    """
    converted: dict[str, torch.Tensor] = {}
    left_out: list[str] = []
    unknown: list[str] = []
    for name, tensor in tensors.items():
        if _NOT_WEIGHTS.fullmatch(name):
            left_out.append(name)
        elif renamed := _convert_tensor(name, tensor):
            converted.update({f"fgaseg.{ours}": part for ours, part in renamed.items()})
        else:
            unknown.append(name)
    return converted, left_out, unknown


def _convert_tensor(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """One tensor -> the tensors that it becomes; none if its name is unknown."""
    # Projections are (in, out) matrices, or linear layers, which hold them the other way round.
    if name == "visual.proj":
        return {"visual_projection.weight": tensor.T.contiguous()}
    if re.fullmatch(_TEXT_TOWER + "text_projection", name):
        return {"text_projection.weight": tensor.T.contiguous()}
    if re.fullmatch(_TEXT_TOWER + r"text_projection\.weight", name):
        return {"text_projection.weight": tensor}
    for pattern, replacement in _RENAMED:
        if match := re.fullmatch(pattern, name):
            return {match.expand(replacement): tensor}
    block = _BLOCK.fullmatch(name)
    if block is None:
        return {}
    tower = "vision_model" if block[1] == "visual." else "text_model"
    prefix, rest = f"{tower}.encoder.layers.{block[2]}", block[3]
    if fused := re.fullmatch(r"attn\.in_proj_(weight|bias)", rest):
        if tensor.shape[0] % 3:
            return {}
        return {
            f"{prefix}.self_attn.{letter}_proj.{fused[1]}": part
            for letter, part in zip("qkv", tensor.chunk(3), strict=True)
        }
    part, _, kind = rest.rpartition(".")
    if part not in RENAMED_BLOCK_PARTS or kind not in ("weight", "bias"):
        return {}
    return {f"{prefix}.{RENAMED_BLOCK_PARTS[part]}.{kind}": tensor}


def _plain(pattern: str) -> str:
    return pattern.replace(_TEXT_TOWER, "").replace("\\", "")


__all__ = [
    "clip_config_fields",
    "convert_clip_state_dict",
    "has_openai_marks",
    "is_clip_state_dict",
    "num_attention_heads",
]

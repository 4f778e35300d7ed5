# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The architecture of a released FGA-seg or CAT-Seg checkpoint, read off its shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..model.configuration_fgaseg import FGASegConfig
from .clip_conversion import num_attention_heads
from .released_names import CLIP, DECODER, PREDICTOR


@dataclass(frozen=True)
class _ReleasedShapes:
    """What the shapes of a released state dict tell."""

    state_dict: Mapping[str, torch.Tensor]

    def __contains__(self, name: str) -> bool:
        return name in self.state_dict

    def of(self, name: str) -> torch.Size:
        """The shape of a tensor that must be there, and of its rank."""
        if name not in self:
            raise ValueError(f"The state dict lacks {name!r}: give the whole checkpoint of FGA-seg or CAT-Seg.")
        shape = self.state_dict[name].shape
        if len(shape) < (4 if name.endswith("conv1.weight") else 2):
            raise ValueError(
                f"The released tensor {name!r} has shape {tuple(shape)}, which is not FGA-seg's nor CAT-Seg's: give an "
                "untouched checkpoint."
            )
        return shape

    def depth(self, prefix: str) -> int:
        """How many modules are numbered after a prefix."""
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        return len({int(match[1]) for match in map(pattern.match, self.state_dict) if match})


def released_config(state_dict: Mapping[str, torch.Tensor], **overrides: Any) -> FGASegConfig:
    """Reads the architecture off the shapes of a released state dict.

    Shapes do not tell attention heads, windows or guidance layers; CLIP's rule (see [`num_attention_heads`]) and the
    published values stand for them unless overridden.

    Args:
        state_dict: The released model's tensors under their released names.
        **overrides: Fields of [`FGASegConfig`] that replace what was read; `text_config` and `vision_config` as partial
            dictionaries.

    Raises:
        ValueError: If the state dict is not one of FGA-seg or CAT-Seg.
    """
    missing = [name for name in (CLIP + "visual.proj", DECODER + "conv1.weight") if name not in state_dict]
    if missing:
        raise ValueError(
            f"The state dict has no {missing[0]!r}, so it is not one of FGA-seg or CAT-Seg; give a checkpoint of "
            f"their code."
        )
    shapes = _ReleasedShapes(state_dict)
    vision_config = _read_vision_tower(shapes) | overrides.pop("vision_config", {})
    text_config = _read_text_tower(shapes) | overrides.pop("text_config", {})
    fields = {**_read_guidance_and_blocks(shapes), **_read_decoder(shapes)}
    return FGASegConfig(**{**fields, "text_config": text_config, "vision_config": vision_config, **overrides})


def _read_vision_tower(shapes: _ReleasedShapes) -> dict[str, Any]:
    width, _, patch_size, _ = shapes.of(CLIP + "visual.conv1.weight")
    positions = shapes.of(CLIP + "visual.positional_embedding")[0] - 1
    if round(positions**0.5) ** 2 != positions:
        raise ValueError(
            f"The released tensor {CLIP + 'visual.positional_embedding'!r} has {positions + 1} rows, which are no "
            "square grid and a class token: give an untouched checkpoint."
        )
    return {
        "hidden_size": width,
        "intermediate_size": shapes.of(CLIP + "visual.transformer.resblocks.0.mlp.c_fc.weight")[0],
        "num_hidden_layers": shapes.depth(CLIP + "visual.transformer.resblocks."),
        "num_attention_heads": num_attention_heads(width, is_vision=True),
        "patch_size": patch_size,
        "image_size": round(positions**0.5) * patch_size,
        "projection_dim": shapes.of(CLIP + "visual.proj")[1],
    }


def _read_text_tower(shapes: _ReleasedShapes) -> dict[str, Any]:
    vocabulary, width = shapes.of(CLIP + "token_embedding.weight")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shapes.of(CLIP + "transformer.resblocks.0.mlp.c_fc.weight")[0],
        "num_hidden_layers": shapes.depth(CLIP + "transformer.resblocks."),
        "num_attention_heads": num_attention_heads(width),
        "max_position_embeddings": shapes.of(CLIP + "positional_embedding")[0],
        "projection_dim": shapes.of(CLIP + "visual.proj")[1],
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }


def _read_guidance_and_blocks(shapes: _ReleasedShapes) -> dict[str, Any]:
    projection_dim = shapes.of(CLIP + "visual.proj")[1]
    kernel_outputs = {
        "alignment_kernel_size": (PREDICTOR + "proj.txt.weight", projection_dim // 2),
        "local_kernel_size": (DECODER + "Local_align.txt.weight", projection_dim),
    }
    kernel_sizes = {
        field: round(((shapes.of(name)[0] - 1) / channels) ** 0.5)
        for field, (name, channels) in kernel_outputs.items()
        if name in shapes
    }
    is_fgaseg = DECODER + "conv2.weight" in shapes
    return {
        "projection_dim": projection_dim,
        "image_size": 24 * shapes.of(CLIP + "visual.conv1.weight")[2],
        "upsampling_guidance_dims": [shapes.of("upsample1.weight")[1], shapes.of("upsample2.weight")[1]],
        "p2tformer_num_layers": shapes.depth(PREDICTOR + "DCDT.cross_atten_text."),
        "use_alignment_head": PREDICTOR + "proj.txt.weight" in shapes,
        "use_local_pseudo_masks": is_fgaseg,
        "fusion": "cat" if not is_fgaseg or DECODER + "conv_cat.weight" in shapes else "add",
        "use_auxiliary_heads": DECODER + "head_auxi_0.weight" in shapes,
        **kernel_sizes,
    }


def _read_decoder(shapes: _ReleasedShapes) -> dict[str, Any]:
    return {
        "decoder_hidden_dim": shapes.of(DECODER + "conv1.weight")[0],
        "num_aggregation_layers": shapes.depth(DECODER + "layers."),
        "appearance_guidance_dim": shapes.of(DECODER + "guidance_projection.0.weight")[0],
        "text_guidance_dim": shapes.of(DECODER + "text_guidance_projection.0.weight")[0],
        "projected_guidance_dims": [
            shapes.of(DECODER + f"decoder_guidance_projection.{stage}.0.weight")[0] for stage in range(2)
        ],
        "decoder_dims": [shapes.of(DECODER + f"decoder{stage}.conv.double_conv.0.weight")[0] for stage in (1, 2)],
    }


def released_layout(config: FGASegConfig) -> str:
    """Says which released code has an architecture: `"catseg"` or `"fga-seg"`.

    Raises:
        ValueError: Neither has it; the message names the field that is in the way.
    """
    blocks = {
        "p2tformer_num_layers": config.p2tformer_num_layers > 0,
        "use_alignment_head": config.use_alignment_head,
        "use_local_pseudo_masks": config.use_local_pseudo_masks,
        "use_auxiliary_heads": config.use_auxiliary_heads,
    }
    if not any(blocks.values()):
        return "catseg"
    for field in ("p2tformer_num_layers", "use_alignment_head", "use_local_pseudo_masks"):
        if not blocks[field]:
            raise ValueError(
                f"The model has `{field}` {getattr(config, field)}, which neither released code has: FGA-seg has all "
                "blocks, CAT-Seg none of them."
            )
    if config.p2tformer_direction != "text":
        raise ValueError("The model's P2Tformer is dual, which the released FGA-seg is not: only `text` can go back.")
    return "fga-seg"


__all__ = ["released_config", "released_layout"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Tiny random CLIP checkpoints in the Hub's layout, for the tests."""

from pathlib import Path
from typing import Any

import torch
from tiny_models import tiny_config
from tiny_tokenizer import tiny_tokenizer
from transformers import CLIPConfig, CLIPModel

# Different depth, width, patch, projection and size of towers; the second has 14 x 14 patches as L/14 has.
SHAPES: dict[str, dict[str, Any]] = {
    "patch_8": {},
    "patch_14": {
        "projection_dim": 24,
        "vision_config": {
            "hidden_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "patch_size": 14,
            "image_size": 56,
        },
        "text_config": {"hidden_size": 24, "num_hidden_layers": 1},
    },
}


def tiny_clip(**fields: Any) -> CLIPModel:
    """A random CLIP in evaluation mode; `fields` as in [`SHAPES`]."""
    config = tiny_config(
        **{"image_size": fields.get("vision_config", {}).get("image_size", 24), "p2tformer_num_layers": 0, **fields}
    )
    torch.manual_seed(5)
    clip = CLIPModel(
        CLIPConfig(
            text_config=config.text_config.to_dict(),
            vision_config=config.vision_config.to_dict(),
            projection_dim=config.projection_dim,
        )
    )
    return clip.eval()


def save_tiny_clip(folder: Path, **fields: Any) -> CLIPModel:
    """Writes a random CLIP with its tokenizer."""
    clip = tiny_clip(**fields)
    clip.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return clip

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Tiny random models, processors and inputs for the tests."""

from typing import Any

import torch
from tiny_tokenizer import tiny_tokenizer

from fgaseg_hf import (
    FGASegConfig,
    FGASegForSemanticSegmentation,
    FGASegImageProcessorPil,
    FGASegProcessor,
    FGASegVocabulary,
)

IMAGE_SIZE = 32
CLASS_NAMES = ["sky", "red car", "tree", "water", "blue house"]

TINY_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
}
TINY_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "patch_size": 8,
    "image_size": 24,
}
TINY: dict[str, Any] = {
    "projection_dim": 16,
    "image_size": IMAGE_SIZE,
    "upsampling_guidance_dims": (12, 8),
    "p2tformer_num_heads": 4,
    "decoder_hidden_dim": 32,
    "window_size": 3,
    "appearance_guidance_dim": 8,
    "text_guidance_dim": 8,
    "projected_guidance_dims": (8, 4),
    "decoder_dims": (16, 16),
    "class_limit": 8,
    "class_padding": 8,
}

# The fields of `FGASegConfig.training_free`.
TRAINING_FREE: dict[str, Any] = {
    "decoder_type": "cosine",
    "p2tformer_num_layers": 0,
    "use_alignment_head": False,
    "use_local_pseudo_masks": False,
    "use_auxiliary_heads": False,
}


def tiny_config(**fields: Any) -> FGASegConfig:
    """A configuration of a few thousand parameters; `text_config` and `vision_config` may be given in part."""
    tokenizer = tiny_tokenizer()
    text = {
        **TINY_TEXT,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **fields.pop("text_config", {}),
    }
    vision = {**TINY_VISION, **fields.pop("vision_config", {})}
    return FGASegConfig(**{**TINY, "text_config": text, "vision_config": vision, **fields})


def tiny_model(seed: int = 0, **fields: Any) -> FGASegForSemanticSegmentation:
    """A tiny random model in evaluation mode."""
    torch.manual_seed(seed)
    return FGASegForSemanticSegmentation(tiny_config(**fields)).eval()


def tiny_processor(**fields: Any) -> FGASegProcessor:
    """A processor that fits [`tiny_model`]."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return FGASegProcessor(FGASegImageProcessorPil(size=size), tiny_tokenizer(), **fields)


def tiny_inputs(
    batch_size: int = 2, num_classes: int = 5, height: int = IMAGE_SIZE, width: int = IMAGE_SIZE, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random pictures and text embeddings for [`tiny_model`]."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(num_classes, TINY["projection_dim"], generator=generator)
    return {
        "pixel_values": torch.randn(batch_size, 3, height, width, generator=generator),
        "text_embeddings": torch.nn.functional.normalize(text, dim=-1),
    }


def tiny_prompts(num_classes: int) -> torch.Tensor:
    """Random token ids of prompts for [`tiny_model`], each between a beginning and an end."""
    text: Any = tiny_config().text_config
    ids = torch.randint(3, text.vocab_size - 3, (num_classes, 6), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[:, -1] = text.bos_token_id, text.eos_token_id
    return ids


def tiny_vocabulary() -> FGASegVocabulary:
    """A vocabulary with each of its features, not encoded."""
    return FGASegVocabulary(
        ["car", "bus", "sofa", "sky"],
        synonyms={"sofa": ["couch", "settee"], "Sky": ["heaven"]},
        groups={"vehicle": ["bus", "CAR"]},
        background="none of these",
    )

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What `rehearse.py` computes with: a model of the published size with random weights, and a batch for it."""

from typing import Any

import torch

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation

# Classes of COCO-Stuff, and the longest of its prompts in tokens, roughly.
NUM_CLASSES = 171
NUM_TOKENS = 12

# A model of the same parts that a processor rehearses in seconds.
TINY: dict[str, Any] = {
    "projection_dim": 16,
    "image_size": 32,
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
    },
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "patch_size": 8,
        "image_size": 32,
    },
    "upsampling_guidance_dims": (12, 8),
    "p2tformer_num_heads": 4,
    "decoder_hidden_dim": 32,
    "window_size": 3,
    "appearance_guidance_dim": 8,
    "text_guidance_dim": 8,
    "projected_guidance_dims": (8, 4),
    "decoder_dims": (16, 16),
}


def random_model(tiny: bool, seed: int = 0) -> FGASegForSemanticSegmentation:
    """Makes the published model on CLIP ViT-B/16 at 384 pixels, or the tiny one, with random weights."""
    torch.manual_seed(seed)
    return FGASegForSemanticSegmentation(FGASegConfig(**(TINY if tiny else {})))


def random_batch(config: FGASegConfig, num_pictures: int, tiny: bool, seed: int = 0) -> dict[str, torch.Tensor]:
    """Makes the inputs of a training step: pictures, labels in patches of a class, and prompts."""
    generator = torch.Generator().manual_seed(seed)
    num_classes = 7 if tiny else NUM_CLASSES
    side = config.image_size
    text_config: Any = config.text_config
    patches = torch.randint(0, num_classes, (num_pictures, 1, 8, 8), generator=generator).float()
    labels = torch.nn.functional.interpolate(patches, size=(side, side), mode="nearest")[:, 0].long()
    labels[:, : side // 16] = config.semantic_loss_ignore_index
    highest = text_config.vocab_size - 2
    input_ids = torch.randint(1, highest, (num_classes, NUM_TOKENS), generator=generator)
    input_ids[:, -1] = text_config.eos_token_id
    return {
        "pixel_values": torch.randn(num_pictures, 3, side, side, generator=generator),
        "labels": labels,
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
    }

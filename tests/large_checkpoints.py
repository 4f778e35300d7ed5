# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Random CAT-Seg checkpoints of published size, under the released names.

    python tests/large_checkpoints.py L model_large.pth tokenizer

The tokenizer that goes with them has CLIP's 49,408 tokens, most of them made up.
"""

import sys
from pathlib import Path

import torch
from tiny_tokenizer import tiny_tokenizer
from transformers import CLIPTokenizer

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation
from fgaseg_hf.conversion.checkpoint_conversion import to_released_state_dict

# ViT-B/16 and ViT-L/14@336 as CAT-Seg has them.
TOWERS = {
    "B": {
        "vision_config": {"patch_size": 16},
        "image_size": 384,
    },
    "L": {
        "projection_dim": 768,
        "image_size": 336,
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
            "image_size": 336,
        },
        "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    },
}
VOCABULARY_SIZE = 49408


def write_released_catseg(tower: str, path: Path) -> None:
    """Writes the checkpoint, of float32 numbers."""
    torch.manual_seed(0)
    model = FGASegForSemanticSegmentation(FGASegConfig.catseg(**TOWERS[tower]))
    torch.save({"model": to_released_state_dict(model.state_dict(), model.config)}, path)


def write_tokenizer(folder: Path) -> None:
    """Writes a tokenizer with as many tokens as CLIP's."""
    tiny = tiny_tokenizer()
    tokens = [token for token, _ in sorted(tiny.get_vocab().items(), key=lambda item: item[1])]
    filled = tokens[:-2] + [f"<filler {index}>" for index in range(VOCABULARY_SIZE - len(tokens))] + tokens[-2:]
    vocabulary = {token: index for index, token in enumerate(filled)}
    merges = [tuple(pair) for pair in tiny.init_kwargs.get("merges", [])]
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77).save_pretrained(folder)


if __name__ == "__main__":
    write_released_catseg(sys.argv[1], Path(sys.argv[2]))
    write_tokenizer(Path(sys.argv[3]))

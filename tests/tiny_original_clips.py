# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Tiny CLIPs in the layout of OpenAI's code and of OpenCLIP: PyTorch's own attention, fused projections, matrices."""

import functools
import io
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from tiny_tokenizer import tiny_tokenizer
from torch import nn
from transformers import CLIPConfig, CLIPModel

# Width, heads, depth, patch, positions along a side of the image tower, multiple of the width between linear layers;
# width of the text tower; activation. In small what the published towers differ in; heads of 80 and 104 channels too.
FAMILIES: dict[str, dict[str, Any]] = {
    "B/32": {
        "width": 64,
        "heads": 1,
        "depth": 3,
        "patch": 32,
        "grid": 7,
        "ratio": 4.0,
        "text": 64,
        "activation": "quick_gelu",
    },
    "B/16": {
        "width": 64,
        "heads": 1,
        "depth": 3,
        "patch": 16,
        "grid": 14,
        "ratio": 4.0,
        "text": 64,
        "activation": "quick_gelu",
    },
    "L/14": {
        "width": 128,
        "heads": 2,
        "depth": 6,
        "patch": 14,
        "grid": 16,
        "ratio": 4.0,
        "text": 64,
        "activation": "quick_gelu",
    },
    "L/14@336": {
        "width": 128,
        "heads": 2,
        "depth": 6,
        "patch": 14,
        "grid": 24,
        "ratio": 4.0,
        "text": 64,
        "activation": "quick_gelu",
    },
    "H/14": {
        "width": 160,
        "heads": 2,
        "depth": 8,
        "patch": 14,
        "grid": 16,
        "ratio": 4.0,
        "text": 128,
        "activation": "gelu",
    },
    "bigG": {
        "width": 208,
        "heads": 2,
        "depth": 9,
        "patch": 14,
        "grid": 16,
        "ratio": 4.9231,
        "text": 128,
        "activation": "gelu",
    },
    "MetaCLIP": {
        "width": 64,
        "heads": 1,
        "depth": 3,
        "patch": 16,
        "grid": 14,
        "ratio": 4.0,
        "text": 128,
        "activation": "quick_gelu",
    },
}
TEXT_LAYERS = 2
CONTEXT_LENGTH = 40
PROJECTION_DIM = 32


class QuickGELU(nn.Module):
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states * torch.sigmoid(1.702 * states)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        between = QuickGELU() if activation == "quick_gelu" else nn.GELU()
        parts = [("c_fc", nn.Linear(width, hidden)), ("gelu", between), ("c_proj", nn.Linear(hidden, width))]
        self.mlp = nn.Sequential(OrderedDict(parts))

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        normed = self.ln_1(states)
        states = states + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return states + self.mlp(self.ln_2(states))


class Transformer(nn.Module):
    def __init__(self, width: int, heads: int, depth: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList([Block(width, heads, hidden, activation) for _ in range(depth)])

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        for block in self.resblocks:
            states = block(states, mask)
        return states


class ImageTower(nn.Module):
    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        width, patch, grid = shape["width"], shape["patch"], shape["grid"]
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(grid**2 + 1, width) / 5)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(
            width, shape["heads"], shape["depth"], int(width * shape["ratio"]), shape["activation"]
        )
        self.proj = nn.Parameter(torch.randn(width, PROJECTION_DIM) * width**-0.5)

    def embed(self, pictures: torch.Tensor) -> torch.Tensor:
        patches = self.conv1(pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_embedding.expand(len(patches), 1, -1), patches), dim=1)
        return self.ln_pre(tokens + self.positional_embedding)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.ln_post(self.transformer(self.embed(pictures))[:, 0]) @ self.proj


class OpenAIClip(nn.Module):
    """The mathematics and the names of OpenAI's CLIP, with a causal mask as OpenCLIP keeps it."""

    def __init__(self, family: str = "B/16") -> None:
        super().__init__()
        shape = FAMILIES[family]
        text_width = shape["text"]
        self.visual = ImageTower(shape)
        self.transformer = Transformer(text_width, text_width // 64, TEXT_LAYERS, 4 * text_width, shape["activation"])
        self.token_embedding = nn.Embedding(len(tiny_tokenizer()), text_width)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT_LENGTH, text_width) / 5)
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(torch.randn(text_width, PROJECTION_DIM) * text_width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))
        # Nothing stays at the ones and zeros that it starts with: a mix-up would not show.
        for name, parameter in self.named_parameters():
            if name.endswith("bias") or ".ln_" in name or name.startswith("ln_"):
                nn.init.normal_(parameter, mean=0.0 if name.endswith("bias") else 1.0, std=0.2)

    def encode_text(self, input_ids: torch.Tensor) -> torch.Tensor:
        length = input_ids.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)
        states = self.token_embedding(input_ids) + self.positional_embedding[:length]
        states = self.ln_final(self.transformer(states, mask))
        return states[torch.arange(len(states)), input_ids.argmax(dim=-1)] @ self.text_projection

    def forward(self, pictures: torch.Tensor, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.visual(pictures), self.encode_text(input_ids)


def tiny_openai_clip(family: str = "B/16", seed: int = 0) -> OpenAIClip:
    """A tiny random CLIP of a family's shape, in evaluation mode."""
    torch.manual_seed(seed)
    return OpenAIClip(family).eval()


def prompts(count: int = 4, length: int = 12) -> torch.Tensor:
    """Random token ids (count, length), each row with its end of text."""
    tokenizer = tiny_tokenizer()
    rows = torch.randint(0, tokenizer.bos_token_id, (count, length))
    rows[:, 0] = tokenizer.bos_token_id
    rows[torch.arange(count), torch.arange(count) % (length - 2) + 2] = tokenizer.eos_token_id
    return rows


@functools.cache
def _torchscript_archive(dtype: torch.dtype) -> bytes:
    model = tiny_openai_clip()
    for name, number in (("input_resolution", 224), ("context_length", CONTEXT_LENGTH), ("vocab_size", 7)):
        model.register_buffer(name, torch.tensor(number))
    file = io.BytesIO()
    with warnings.catch_warnings():
        # TorchScript says that it is old, and that a trace is for inputs of one shape.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, (torch.randn(1, 3, 224, 224), prompts(2)), check_trace=False)
        torch.jit.save(traced.to(dtype), file)
    return file.getvalue()


def save_torchscript(path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes `tiny_openai_clip()` as OpenAI publishes CLIP: traced, with its sizes as tensors beside the weights."""
    path.write_bytes(_torchscript_archive(dtype))


def tiny_hub_clip(family: str = "B/16", seed: int = 0) -> CLIPModel:
    """A tiny random CLIP of a family's shape as Transformers has it."""
    torch.manual_seed(seed)
    shape, tokenizer = FAMILIES[family], tiny_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape["text"],
        "intermediate_size": 4 * shape["text"],
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": shape["text"] // 64,
        "max_position_embeddings": CONTEXT_LENGTH,
        "hidden_act": shape["activation"],
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "hidden_size": shape["width"],
        "intermediate_size": int(shape["width"] * shape["ratio"]),
        "num_hidden_layers": shape["depth"],
        "num_attention_heads": shape["heads"],
        "patch_size": shape["patch"],
        "image_size": shape["grid"] * shape["patch"],
        "hidden_act": shape["activation"],
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=PROJECTION_DIM)).eval()


# Fields that make the head around a tiny CLIP tiny, too.
SMALL_HEAD: dict[str, Any] = {
    "upsampling_guidance_dims": [12, 8],
    "p2tformer_num_heads": 4,
    "decoder_hidden_dim": 32,
    "appearance_guidance_dim": 8,
    "text_guidance_dim": 8,
    "projected_guidance_dims": [8, 4],
    "decoder_dims": [16, 16],
    "class_limit": 8,
    "class_padding": 8,
}

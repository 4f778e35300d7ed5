# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A small CLIP text tower that is taught a teacher's vectors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from word_tokenizer import END_OF_WORD

# How the tower starts: what attention passes on of the tokens themselves, and how large their vectors are.
PASSED_ON = 0.6
ROW_SCALE = 0.5


class TextStudent(nn.Module):
    """A CLIP text tower with its projection.

    A token that is a whole word starts from that word's vector, and attention starts by passing tokens on, so that the
    first answer to a phrase is about the mean of its words.

    Args:
        tokenizer: Of the tower.
        words: Words with a vector.
        vectors: (words, dim), the teacher's.
        hidden_size: Width of the tower, at least dim.
        num_layers: Blocks.
        num_heads: Heads a block.

    Raises:
        ValueError: If the tower is narrower than the vectors.
    """

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        words: Sequence[str],
        vectors: torch.Tensor,
        hidden_size: int = 192,
        num_layers: int = 2,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        dim = vectors.shape[1]
        if hidden_size < dim:
            raise ValueError(f"The tower's width {hidden_size} is below the vectors' {dim}; widen it.")
        # A copy: calls leave their truncation in a tokenizer, which would be saved with it.
        self.tokenizer: Any = copy.deepcopy(tokenizer)
        self.config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=4 * hidden_size,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        self.text_model: Any = CLIPTextModel(self.config)
        self.text_projection = nn.Linear(hidden_size, dim, bias=False)
        self._start(words, vectors)

    @torch.no_grad()
    def _start(self, words: Sequence[str], vectors: torch.Tensor) -> None:
        dim, vocab = vectors.shape[1], self.tokenizer.get_vocab()
        table = self.token_table()
        table.normal_(std=0.02)
        for word, vector in zip(words, vectors, strict=True):
            if word + END_OF_WORD in vocab:
                table[vocab[word + END_OF_WORD], :dim] = ROW_SCALE * vector
        self.text_projection.weight.normal_(std=0.01)
        self.text_projection.weight[:, :dim] += torch.eye(dim)
        for module in self.text_model.modules():
            for name in ("v_proj", "out_proj"):
                linear = getattr(module, name, None)
                if isinstance(linear, nn.Linear):
                    linear.weight.mul_(0.3).add_(PASSED_ON * torch.eye(linear.weight.shape[0]))

    def token_table(self) -> torch.Tensor:
        """The tokens' vectors, (tokens, hidden_size)."""
        return self.text_model.get_input_embeddings().weight

    def is_one_token(self, word: str) -> bool:
        """Whether the tokenizer has a token for the whole word."""
        return word + END_OF_WORD in self.tokenizer.get_vocab()

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Returns unit vectors (texts, dim)."""
        inputs = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        pooled = self.text_model(**inputs.to(self.text_projection.weight.device)).pooler_output
        return nn.functional.normalize(self.text_projection(pooled), dim=-1)

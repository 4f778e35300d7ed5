# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a model is asked for on behalf of a class name, and the text tower's inputs for that."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

# What is asked for of a name such as "building, edifice": "building"; both words, of which the best counts; or the line
# as one text.
PromptedSynonyms = Literal["first", "all", "line"]


def split_synonyms(name: str) -> list[str]:
    """Cuts "building, edifice" into its synonyms; one that differs by letter case or blanks alone is left out."""
    by_key: dict[str, str] = {}
    for synonym in name.split(","):
        key = " ".join(synonym.split()).casefold()
        if key:
            by_key.setdefault(key, synonym.strip())
    return list(by_key.values()) or [name]


def first_synonyms(class_names: Sequence[str]) -> list[str]:
    """Cuts "building, edifice" to "building": the prompts of the published protocol, of which some may be the same."""
    return [name.split(",")[0].strip() for name in class_names]


def encode_prompts(processor: Any, prompts: Sequence[str]) -> dict[str, Any]:
    """Turns prompts into the text tower's inputs, also where several classes share one.

    Args:
        processor: a `FGASegProcessor`, which takes every name once only.
        prompts: what is asked for, in the order of the model's outputs.

    Returns:
        `input_ids` and `attention_mask`, a row a prompt: equal prompts have equal rows.
    """
    keys = [" ".join(prompt.split()).casefold() for prompt in prompts]
    first_with: dict[str, str] = {}
    for key, prompt in zip(keys, prompts, strict=True):
        first_with.setdefault(key, prompt)
    row_of = {key: row for row, key in enumerate(first_with)}
    encoded = processor(text=list(first_with.values()), return_tensors="pt")
    return {name: rows[[row_of[key] for key in keys]] for name, rows in encoded.items()}


def prompts_of_classes(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, rows: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Selects the prompts of some class names and cuts off the padding that all of them share.

    Args:
        input_ids: (N, L) or, with P templates, (N, P, L).
        attention_mask: the same shape.
        rows: (T,) the chosen names.

    Returns:
        `input_ids` and `attention_mask`, (T, L') or (T, P, L').
    """
    mask = attention_mask[rows]
    length = int(mask.sum(-1).max())
    return {"input_ids": input_ids[rows][..., :length], "attention_mask": mask[..., :length]}

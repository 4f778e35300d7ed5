# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A CLIP tokenizer small enough to be made in a test: bytes, a few merges and the two marks around a text."""

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

# The default template's words are whole tokens, so that names of up to 23 letters fit into 32 tokens.
MERGED_WORDS = ("in", "the", "of", "photo", "scene", "sky")


def _merges(word: str) -> list[tuple[str, str]]:
    units = [*word[:-1], f"{word[-1]}</w>"]
    return [("".join(units[:end]), units[end]) for end in range(1, len(units))]


def tiny_tokenizer(model_max_length: int = 32) -> CLIPTokenizer:
    """Makes a tokenizer of about 530 tokens; the last two are start and end of text (the end also pads, as in CLIP).

    Args:
        model_max_length: The longest prompt that the text tower takes, in tokens.
    """
    byte_units = sorted(ByteLevel.alphabet())
    merges = list(dict.fromkeys(pair for word in MERGED_WORDS for pair in _merges(word)))
    tokens = byte_units + [f"{unit}</w>" for unit in byte_units] + ["".join(pair) for pair in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=merges,
        model_max_length=model_max_length,
    )

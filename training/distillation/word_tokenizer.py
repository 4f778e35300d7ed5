# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A small CLIP tokenizer learned from counted words, in which as many as fit are one token each."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

END_OF_WORD = "</w>"
# A trainer sees words, not counts; more than this many of one word change nothing.
MOST_REPEATS = 200


def learn_word_tokenizer(
    word_counts: Mapping[str, int], vocab_size: int = 16000, model_max_length: int = 32
) -> CLIPTokenizer:
    """Learns CLIP's byte-level BPE on words.

    Args:
        word_counts: Lower-case words, and how often each counts.
        vocab_size: Most tokens beside the special ones. About 1.6 a word make every word one token.
        model_max_length: Greatest number of tokens in a prompt, with its two special tokens.

    Returns:
        The tokenizer; any other text is spelled of pieces and bytes.

    Raises:
        ValueError: If there is no word.
    """
    if not word_counts:
        raise ValueError("There is no word to learn a tokenizer from; give at least one.")
    units = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=1,
        initial_alphabet=units,
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    repeated = (word for word, count in word_counts.items() for _ in range(min(count, MOST_REPEATS)))
    learner.train_from_iterator(repeated, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*units, *(unit + END_OF_WORD for unit in units), *(first + second for first, second in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    # Annotated as strings there, but handed on to `tokenizers`, which takes pairs.
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=model_max_length)  # type: ignore[arg-type]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Builds the small tokenizer of the built-in model: CLIP's byte-level BPE, with one token for every word of the scenes.

`python training/scenes/build_tokenizer.py --out DIR` writes a folder that `AutoTokenizer.from_pretrained(DIR)` loads.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from scene_vocabulary import CLASS_NAMES
from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

PROMPT_TEMPLATE = "A photo of a {} in the scene"
END_OF_WORD = "</w>"


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Learns byte-pair merges until every word is a single token.

    Args:
        words: lower-case words, each counted once however often it comes; letters outside ASCII are merged as the
            byte units that CLIP's tokenizer splits them into.

    Returns:
        The merges in order: the pair that most words share comes first, ties in alphabetical order.
    """
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = []
    for word in sorted(set(words)):
        units = "".join(piece for piece, _ in byte_level.pre_tokenize_str(word))
        pieces.append([*units[:-1], units[-1] + END_OF_WORD])
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for units in pieces for pair in zip(units, units[1:], strict=False))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = [_merge(units, best) for units in pieces]


def _merge(units: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    index = 0
    while index < len(units):
        if tuple(units[index : index + 2]) == pair:
            merged.append(units[index] + units[index + 1])
            index += 2
        else:
            merged.append(units[index])
            index += 1
    return merged


def build_tokenizer(
    class_names: Iterable[str] = CLASS_NAMES, prompt_template: str = PROMPT_TEMPLATE, model_max_length: int = 32
) -> CLIPTokenizer:
    """Builds a tokenizer in which each word of the class names and of the prompt is one token.

    Any other text is still encoded without loss, in single bytes or the pieces that the words share.

    Args:
        class_names: names whose words become tokens.
        prompt_template: prompt whose words become tokens; `{}` stands for the name.
        model_max_length: greatest number of tokens in a prompt, with its two special tokens.

    Returns:
        The tokenizer. Ids: 256 byte units, their 256 forms at a word's end, the merges, then `<|startoftext|>` and
        `<|endoftext|>`, which also pads.

    Raises:
        ValueError: if there is no word, or no room for a word between the special tokens.
    """
    # The same splitting as CLIP's own, so that a word here is a word there.
    words = re.findall(r"[^\W\d_]+", " ".join(class_names).lower())
    if not words:
        raise ValueError("no class name holds a word; name at least one class.")
    words += re.findall(r"[^\W\d_]+", prompt_template.lower())
    if model_max_length < 3:
        raise ValueError(f"model_max_length must be 3 or more (two are special tokens), got {model_max_length}.")
    merges = learn_merges(words)
    units = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*units, *(unit + END_OF_WORD for unit in units), *(first + second for first, second in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    # Annotated as strings there, but handed on to `tokenizers`, which takes pairs.
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=model_max_length)  # type: ignore[arg-type]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code (2 for bad input)."""
    parser = argparse.ArgumentParser(description="Builds a small CLIP tokenizer for a list of class names.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--class_names", type=Path, help="text file, one name a line (default: the generated scenes')")
    parser.add_argument("--model_max_length", type=int, default=32, help="tokens of a prompt (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        names: Iterable[str] = CLASS_NAMES
        if options.class_names is not None:
            names = options.class_names.read_text(encoding="utf-8").splitlines()
        if options.out.exists() and not options.out.is_dir():
            raise ValueError(f"{options.out} is a file; name a folder.")
        tokenizer = build_tokenizer(names, model_max_length=options.model_max_length)
        tokenizer.save_pretrained(options.out)
    except (ValueError, OSError) as error:
        print(f"build_tokenizer.py: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {len(tokenizer)} tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main())

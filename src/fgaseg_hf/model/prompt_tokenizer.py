# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What makes token ids of words: class names, templates, and the tokenizer that a checkpoint brings."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BatchFeature, CLIPTokenizer
from transformers.utils import PROCESSOR_NAME, cached_file

from .json_reading import parse_json
from .phrases import check_phrase, normalise_phrase
from .quoting import quote

DEFAULT_PROMPT_TEMPLATE = "A photo of a {} in the scene"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
# All that `save_pretrained` of a CLIP tokenizer may write.
TOKENIZER_FILES = (
    TOKENIZER_CONFIG_FILE,
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


def check_class_names(class_names: Sequence[str]) -> list[str]:
    """Checks a list of class names and strips the blanks around them.

    Args:
        class_names: One name a class, in the order of the logits. A name may hold several words and commas.

    Returns:
        The names without blanks at their ends.

    Raises:
        ValueError: The list is empty; or a name is not a string, is blank, or stands there twice (letter case and the
            number of blanks make no difference: the tokenizer does not see them), or holds a line break.
    """
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise ValueError(f"The class names are {quote(class_names)}: give a list of strings.")
    if len(class_names) == 0:
        raise ValueError("The list of class names is empty: give at least one name.")
    names: list[str] = []
    number_of: dict[str, int] = {}
    for number, name in enumerate(class_names, start=1):
        if not isinstance(name, str):
            raise ValueError(
                f"Class name {number} is a {type(name).__name__}: give one string a class (of several synonyms, one)."
            )
        names.append(check_phrase(name, f"Class name {number} of {len(class_names)}"))
        first = number_of.setdefault(normalise_phrase(name), number)
        if first != number:
            raise ValueError(
                f"The class name {quote(name)} is given twice (numbers {first} and {number}): leave one out."
            )
    return names


def check_templates(templates: Sequence[str]) -> list[str]:
    """Checks prompt templates.

    Raises:
        ValueError: There is none, or one of them has no `{}` or several.
    """
    if isinstance(templates, str) or len(templates) == 0:
        raise ValueError(f"`prompt_templates` is {quote(templates)}: give a list with at least one template.")
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise ValueError(f"The prompt template {quote(template)} must hold {{}} exactly once, for the class name.")
    return list(templates)


def check_tokenizer(tokenizer: Any, text_config: Any, source: str | os.PathLike[str]) -> None:
    """Refuses a tokenizer that is not that of a text tower.

    Args:
        tokenizer: What `AutoTokenizer` made of a checkpoint, which may be an empty one where there were no files.
        text_config: The text tower's configuration.
        source: The checkpoint, for the error.

    Raises:
        ValueError: It has more tokens than the text tower, or ends texts with another one.
    """
    # 2 is what early checkpoints say; they mean the last token.
    end_of_text = text_config.vocab_size - 1 if text_config.eos_token_id == 2 else text_config.eos_token_id
    if len(tokenizer) > text_config.vocab_size or tokenizer.eos_token_id != end_of_text:
        raise ValueError(
            f"{os.fspath(source)} has no tokenizer that fits its text tower, which ends texts with token {end_of_text} "
            f"of {text_config.vocab_size}; save the tokenizer into the same folder."
        )


def tokenize_class_names(
    tokenizer: Any, text: str | Sequence[str], templates: Sequence[str], **tokenizer_kwargs: Any
) -> dict[str, Any]:
    """Turns class names into token ids.

    Args:
        tokenizer: The tokenizer of the text tower.
        text: The class names; a single string is a single class.
        templates: Sentences with one `{}` for the name.
        **tokenizer_kwargs: Of the tokenizer's call.

    Returns:
        `input_ids` and `attention_mask` of shape (classes, length), or (classes, templates, length) with several
        templates.

    Raises:
        ValueError: The names are empty, blank or repeated, or a prompt is longer than the tokenizer's
            `model_max_length` and not to be truncated.
    """
    names = check_class_names([text] if isinstance(text, str) else text)
    # `replace`, not `format`: names and templates may hold other braces.
    prompts = [template.replace("{}", name) for name in names for template in templates]
    if not tokenizer_kwargs.get("truncation"):
        _check_prompt_lengths(tokenizer, prompts, tokenizer_kwargs.get("add_special_tokens", True))
    if len(templates) == 1:
        # A single string stays a single sequence, as tokenizers have it.
        return dict(tokenizer(prompts[0] if isinstance(text, str) else prompts, **tokenizer_kwargs))
    grouped: dict[str, Any] = {}
    for key, rows in tokenizer(prompts, **tokenizer_kwargs).items():
        if isinstance(rows, list):
            grouped[key] = [rows[start : start + len(templates)] for start in range(0, len(rows), len(templates))]
        else:
            grouped[key] = rows.reshape(len(names), len(templates), -1)
    return grouped


def _check_prompt_lengths(tokenizer: Any, prompts: Sequence[str], add_special_tokens: bool) -> None:
    limit = tokenizer.model_max_length
    rows = tokenizer(list(prompts), add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    for prompt, row in zip(prompts, rows, strict=True):
        if len(row) > limit:
            raise ValueError(
                f"The prompt {quote(prompt)} has {len(row)} tokens but the text tower takes {limit}: shorten the "
                "class name."
            )


@dataclass(frozen=True)
class FGASegPromptTokenizer:
    """The words' half of a checkpoint's processor, which a model that knows its classes keeps and saves.

    Attributes:
        tokenizer: The tokenizer of the text tower.
        prompt_templates: Sentences with one `{}` for a class name.
    """

    tokenizer: Any
    prompt_templates: list[str]

    @classmethod
    def from_checkpoint(
        cls, source: str | os.PathLike[str], text_config: Any, hub_kwargs: Mapping[str, Any]
    ) -> "FGASegPromptTokenizer":
        """Reads the tokenizer and the templates that lie beside a checkpoint's weights.

        Args:
            source: A folder, or an id on the Hub; of any CLIP, too.
            text_config: The text tower's configuration, which the tokenizer must fit.
            hub_kwargs: `revision`, `token`, ... for the Hub.

        Raises:
            ValueError: There is no tokenizer, or one of another text tower.
        """
        found = {
            name: cached_file(os.fspath(source), name, **hub_kwargs, _raise_exceptions_for_missing_entries=False)
            for name in (TOKENIZER_CONFIG_FILE, PROCESSOR_NAME)
        }
        tokenizer_file = found[TOKENIZER_CONFIG_FILE]
        if tokenizer_file is None:
            raise ValueError(f"{os.fspath(source)} has no tokenizer; save the tokenizer into the same folder.")
        try:
            settings = parse_json(Path(tokenizer_file).read_text(encoding="utf-8"))
            if str(settings.get("tokenizer_class")).startswith("CLIPTokenizer"):
                # By its own class: the automatic one asks whether the checkpoint's code may run, and needs none of it.
                tokenizer: Any = CLIPTokenizer.from_pretrained(source, **hub_kwargs)
            else:
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **hub_kwargs)
        # What a broken file raises depends on where it is broken.
        except Exception as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise ValueError(
                f"The tokenizer of {os.fspath(source)} cannot be read ({reason}): save it anew."
            ) from error
        check_tokenizer(tokenizer, text_config, source)
        tokenizer.model_max_length = min(tokenizer.model_max_length, text_config.max_position_embeddings)
        settings = {}
        processor_file = found[PROCESSOR_NAME]
        if processor_file is not None:
            settings = parse_json(Path(processor_file).read_text(encoding="utf-8"))
        return cls(tokenizer, check_templates(settings.get("prompt_templates") or [DEFAULT_PROMPT_TEMPLATE]))

    def __call__(self, text: Sequence[str], return_tensors: str = "pt") -> BatchFeature:
        """Makes token ids as the processor makes them, padded to the longest: see [`tokenize_class_names`]."""
        return BatchFeature(
            tokenize_class_names(
                self.tokenizer, text, self.prompt_templates, padding=True, return_tensors=return_tensors
            )
        )

    def save_missing(self, folder: str | os.PathLike[str], auto_map: Mapping[str, str] | None = None) -> None:
        """Writes what a folder lacks for words to be asked of it: the tokenizer's files and the templates.

        What lies there already, which a processor has saved, is left as it is.

        Args:
            folder: A checkpoint's.
            auto_map: Where the processor's code lies, if it travels with the checkpoint.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / TOKENIZER_CONFIG_FILE).exists():
            self.tokenizer.save_pretrained(folder)
        path = folder / PROCESSOR_NAME
        if not path.exists():
            # Without the image processor's settings, which have a file of their own beside this one.
            settings: dict[str, Any] = {
                "processor_class": "FGASegProcessor",
                "prompt_templates": self.prompt_templates,
                **({"auto_map": dict(auto_map)} if auto_map else {}),
            }
            path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def is_prompt_file(name: str) -> bool:
    """Whether [`FGASegPromptTokenizer.save_missing`] may have written a file of this name."""
    return name == PROCESSOR_NAME or name in TOKENIZER_FILES


__all__ = [
    "DEFAULT_PROMPT_TEMPLATE",
    "FGASegPromptTokenizer",
    "check_class_names",
    "check_templates",
    "check_tokenizer",
    "is_prompt_file",
    "tokenize_class_names",
]

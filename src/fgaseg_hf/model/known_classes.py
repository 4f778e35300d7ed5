# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The names that a configuration has for its classes, told from the placeholders that Transformers fills in."""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from transformers import PreTrainedConfig

from .prompt_tokenizer import check_class_names

_PLACEHOLDER = re.compile(r"LABEL_\d+")


def known_class_names(config: Any) -> list[str] | None:
    """The names of a model's classes, in the order of their ids.

    Args:
        config: A configuration with `id2label`.

    Returns:
        One name a class; `None` if there are only placeholders (`LABEL_0` and so on).

    Raises:
        ValueError: If ids are missing, or a name is a placeholder among others, blank, no string, or there twice.
    """
    return _names(getattr(config, "id2label", None))


def _names(id2label: Mapping[Any, Any] | None) -> list[str] | None:
    if not id2label or all(_PLACEHOLDER.fullmatch(str(name)) for name in id2label.values()):
        return None
    name_of = {int(index): name for index, name in id2label.items()}
    missing = [index for index in range(len(name_of)) if index not in name_of]
    if missing:
        raise ValueError(
            f"`id2label` names {len(name_of)} classes, but none of the id {missing[0]}: number them from 0 (label maps "
            "that count from 1 are read so with `do_reduce_labels=True`)."
        )
    names = [name_of[index] for index in range(len(name_of))]
    for index, name in enumerate(names):
        if isinstance(name, str) and _PLACEHOLDER.fullmatch(name):
            raise ValueError(f"`id2label` has the placeholder {name!r} for the id {index}: name every class.")
    try:
        return check_class_names(names)
    except ValueError as error:
        raise ValueError(f"`id2label` cannot be used. {error}") from error


class StoredClassNames(NamedTuple):
    """What a checkpoint's own configuration says of its classes.

    Attributes:
        names: Their names, or `None`.
        has_vocabulary: Whether a vocabulary was saved with it.
    """

    names: list[str] | None
    has_vocabulary: bool


def stored_class_names(source: str | os.PathLike[str], hub_kwargs: Mapping[str, Any]) -> StoredClassNames:
    """Reads what a checkpoint's `config.json` says of its classes, whatever was asked of it when it was loaded.

    Args:
        source: A folder, or an id on the Hub.
        hub_kwargs: `revision`, `token`, ... for the Hub.
    """
    settings, _ = PreTrainedConfig.get_config_dict(os.fspath(source), **hub_kwargs)
    try:
        names = _names(settings.get("id2label"))
    except (TypeError, ValueError):
        names = None
    return StoredClassNames(names, settings.get("vocabulary_key") is not None)

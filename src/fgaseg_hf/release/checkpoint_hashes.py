# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Hashes that tell checkpoints apart: of all weights, of the text tower, of the configuration."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..model.configuration_fgaseg import FGASegConfig
from ..model.text_encoding import TEXT_TOWER_MODULES, hash_tensors
from .checkpoint_files import check_architecture, find_local_folder, read_config, read_tensors

# Fields of a configuration that say how it was saved and what its answers are called, but not what it computes.
DESCRIPTIVE_FIELDS = {
    "_name_or_path",
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "id2label",
    "label2id",
    "transformers_version",
    "vocabulary_key",
}


def hash_weights(folder: str | os.PathLike[str]) -> str:
    """Hashes the names, types, shapes and values of all tensors of a checkpoint, one tensor at a time.

    How they are spread over files makes no difference, nor does what else lies in the folder.

    Args:
        folder: A checkpoint's folder.

    Returns:
        A SHA-256.

    Raises:
        ValueError: There are no weights, or they cannot be read.
    """
    folder = Path(folder)
    return hash_tensors(read_tensors(folder))


def hash_stored_text_tower(folder: str | os.PathLike[str]) -> str | None:
    """Hashes a checkpoint's text tower, as [`fgaseg_hf.model.text_encoding.hash_text_tower`] does for a model loaded
    in the precision of the files.

    Args:
        folder: A checkpoint's folder.

    Returns:
        A SHA-256; `None` if the files hold no text tower.

    Raises:
        ValueError: There are no weights, or they cannot be read.
    """
    prefixes = tuple(f"{module}." for module in TEXT_TOWER_MODULES)
    tensors = read_tensors(Path(folder), prefixes)
    first = next(tensors, None)
    if first is None:
        return None
    return hash_tensors(_chain(first, tensors))


def hash_config(config: FGASegConfig) -> str:
    """Hashes what a configuration says about computing: all fields that are not at their defaults.

    How the checkpoint was saved, its vocabulary and the names of its labels make no difference, nor do fields that a
    later version adds and that the checkpoint leaves at their defaults.

    Args:
        config: A checkpoint's configuration.

    Returns:
        A SHA-256.
    """
    # As JSON has them, where tuples are lists.
    own, default = (json.loads(json.dumps(made.to_dict(), default=str)) for made in (config, type(config)()))
    return hashlib.sha256(json.dumps(_changed_settings(own, default), sort_keys=True).encode()).hexdigest()


def hash_checkpoint(source: str | os.PathLike[str]) -> dict[str, str] | None:
    """Hashes what makes a checkpoint's results its own; `training/evaluate.py` writes it beside them.

    Args:
        source: A folder, or an id on the Hub that was downloaded.

    Returns:
        `weights_sha256` and `config_sha256`; `None` if the weights are not in safetensors files on this machine.

    Raises:
        ValueError: There is no such checkpoint, or its weights cannot be read.
    """
    source = os.fspath(source)
    check_architecture(source)
    folder = find_local_folder(source)
    if folder is None:
        return None
    config = read_config(source)
    return {"weights_sha256": hash_weights(folder), "config_sha256": hash_config(config)}


def _changed_settings(own: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """Those that are not at their defaults, in nested configurations too; descriptive ones are left out."""
    changed: dict[str, Any] = {}
    for name, value in own.items():
        if name in DESCRIPTIVE_FIELDS or (name in default and value == default[name]):
            continue
        if isinstance(value, dict) and isinstance(default.get(name), dict):
            value = _changed_settings(value, default[name])
        if value != {}:
            changed[name] = value
    return changed


def _chain(first: tuple[str, torch.Tensor], rest: Iterator[tuple[str, torch.Tensor]]) -> Iterator[Any]:
    yield first
    yield from rest


__all__ = ["hash_checkpoint", "hash_config", "hash_stored_text_tower", "hash_weights"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Where a checkpoint lies and what its files hold: headers and tensors, one at a time, here or on the Hub."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from ..model.configuration_fgaseg import FGASegConfig
from ..model.json_reading import parse_json


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as a safetensors header describes it.

    Attributes:
        dtype: In the format's own words: `F32`, `F16`, `BF16`, `I64`, ...
        shape: Its sides.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_values(self) -> int:
        """How many numbers it holds."""
        return int(torch.Size(self.shape).numel())


def check_architecture(source: str, wanted: Sequence[str] = (FGASegConfig.model_type,)) -> str:
    """Looks at a checkpoint's configuration alone, before any weight is read.

    Args:
        source: A folder or an id on the Hub.
        wanted: Architectures that will do.

    Returns:
        The checkpoint's architecture.

    Raises:
        ValueError: There is no such checkpoint, or it is of another architecture.
    """
    try:
        settings, _ = PreTrainedConfig.get_config_dict(source)
        if not isinstance(settings, dict):
            raise TypeError(f"It holds a {type(settings).__name__}.")
        # A folder without the file gives no error but no settings either.
        if "model_type" not in settings and not (Path(source) / "config.json").is_file():
            raise ValueError("It has no config.json.")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"There is no model {source!r}: give a folder with a config.json, or an id on the Hugging Face Hub (if it "
            "can be reached from here, or was downloaded before)."
        ) from error
    # What Transformers makes of JSON that is no mapping, or has no end.
    except (AttributeError, TypeError, RecursionError) as error:
        raise ValueError(
            f"The config.json of {source!r} holds no settings, or is nested too deep: save or download the model anew."
        ) from error
    model_type = settings.get("model_type")
    if model_type not in wanted:
        described = f"a checkpoint of the architecture {model_type!r}" if model_type else "no Transformers checkpoint"
        known = " or ".join({FGASegConfig.model_type: "FGASeg", "clip": "CLIP"}[name] for name in wanted)
        raise ValueError(f"The model {source!r} is {described}: give a {known} checkpoint.")
    return str(model_type)


def read_config(source: str, **overrides: Any) -> FGASegConfig:
    """Reads a checkpoint's configuration.

    Args:
        source: A folder or an id on the Hub, see [`check_architecture`].
        **overrides: Fields to set instead.

    Raises:
        ValueError: A field is out of range, or not of its type.
    """
    try:
        return FGASegConfig.from_pretrained(source, **overrides)
    # Of each field's check, and of the library that checks types.
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        raise ValueError(
            f"The configuration of {source!r} cannot be used ({reason}): save or download it anew."
        ) from error


def find_local_folder(source: str) -> Path | None:
    """The checkpoint's folder, or that of the Hub's cache; `None` if its weights are not on this machine."""
    if Path(source).is_dir():
        return Path(source)
    for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        found = cached_file(
            source, name, local_files_only=True, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        if found is not None:
            return Path(found).parent
    return None


def list_weight_files(folder: Path) -> tuple[str, ...]:
    """Lists the files with the weights: one, or those that the index names.

    Raises:
        ValueError: There is none, or one that the index names is missing.
    """
    if (folder / SAFE_WEIGHTS_NAME).is_file():
        return (SAFE_WEIGHTS_NAME,)
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if not index.is_file():
        raise ValueError(
            f"There are no weights in {str(folder)!r}: it needs a {SAFE_WEIGHTS_NAME}, as `save_pretrained` writes it."
        )
    try:
        files = tuple(sorted(set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The index {str(index)!r} cannot be read: save or download the model anew.") from error
    for name in files:
        if Path(name).name != name or not (folder / name).is_file():
            raise ValueError(f"The weights in {str(folder)!r} lack the file {name!r}: save or download the model anew.")
    return files


def read_headers(folder: Path, file_names: tuple[str, ...]) -> dict[str, StoredTensor]:
    """Reads what the headers of safetensors files say of their tensors, by name.

    Raises:
        ValueError: A file cannot be read.
    """
    tensors: dict[str, StoredTensor] = {}
    for name in file_names:
        try:
            with safe_open(folder / name, framework="pt") as file:
                for tensor_name in file.keys():  # noqa: SIM118 (the file is no dictionary)
                    header = file.get_slice(tensor_name)
                    tensors[tensor_name] = StoredTensor(header.get_dtype(), tuple(header.get_shape()))
        except (SafetensorError, OSError) as error:
            raise ValueError(_unreadable(folder / name, error)) from error
    return tensors


def read_headers_on_hub(source: str) -> tuple[dict[str, StoredTensor], dict[str, int], tuple[str, ...]]:
    """Fetches the headers of a checkpoint's weights, and nothing more of it.

    Returns:
        Its tensors by name, bytes of each file, and the names of the files with the weights.

    Raises:
        ValueError: The Hub cannot be reached, or has no such weights.
    """
    api = HfApi()
    try:
        metadata = api.get_safetensors_metadata(source)
        entries = [entry for entry in api.list_repo_tree(source) if isinstance(entry, RepoFile)]
    # The client lets errors of the libraries below it through.
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(f"The weights of {source!r} cannot be read from the Hub ({reason}).") from error
    tensors = {
        name: StoredTensor(str(tensor.dtype), tuple(tensor.shape))
        for file in metadata.files_metadata.values()
        for name, tensor in file.tensors.items()
    }
    sizes = {entry.path: entry.size for entry in entries}
    return tensors, dict(sorted(sizes.items())), tuple(sorted(metadata.files_metadata))


def read_tensors(folder: Path, prefixes: tuple[str, ...] = ("",)) -> Iterator[tuple[str, torch.Tensor]]:
    """Reads the tensors whose names begin so, without the base model's prefix, in the order of these names."""
    places = []
    for name in list_weight_files(folder):
        try:
            with safe_open(folder / name, framework="pt") as file:
                places += [(tensor_name.removeprefix("fgaseg."), tensor_name, name) for tensor_name in file.keys()]  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(_unreadable(folder / name, error)) from error
    for short_name, tensor_name, file_name in sorted(places):
        if short_name.startswith(prefixes):
            with safe_open(folder / file_name, framework="pt") as file:
                yield short_name, file.get_tensor(tensor_name)


def _unreadable(path: Path, error: Exception) -> str:
    reason = str(error).strip().split("\n")[0].rstrip(".")
    return f"The weights in {str(path)!r} cannot be read ({reason}): save or download the model anew."


__all__ = [
    "StoredTensor",
    "check_architecture",
    "find_local_folder",
    "read_headers",
    "read_headers_on_hub",
    "read_tensors",
    "list_weight_files",
]

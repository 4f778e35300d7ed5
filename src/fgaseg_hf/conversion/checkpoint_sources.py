# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Where a checkpoint lies and what is in it: files, folders and Hub ids become tensors, and no code in them runs."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from huggingface_hub import hf_hub_download, snapshot_download
from safetensors import safe_open

from ..model.json_reading import parse_json
from .torchscript_archive import is_torchscript_archive, read_torchscript_archive

Container = Literal["torchscript", "pytorch", "safetensors"]

# Under which key training code puts the weights, beside optimiser and schedule.
_WRAPPERS = ("model", "state_dict", "model_state_dict")
# What data-parallel training and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")
_FILE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
# Tensors may share their numbers, such as the two ends of a tied embedding.
MOST_UNFOLDED = 4
_FOLDER_FILES = ["*.json", "*.txt", "*.safetensors", "pytorch_model*.bin"]


@dataclass
class Checkpoint:
    """A checkpoint's tensors under their own names.

    Attributes:
        path: The file or folder.
        tensors: Name -> tensor. Mapped from the file where its format allows, so that unused ones cost nothing.
        container: What kind of file they come from.
        left_out: Entries that are no weights: the optimiser's state, numbers, texts.
        config: The settings in `config.json`, if it is a folder in the Hub's layout.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    container: Container
    left_out: list[str] = field(default_factory=list)
    config: dict[str, Any] | None = None


def find_checkpoint(source: str | Path) -> Path:
    """Finds a checkpoint: an existing file or folder, or else one on the Hub, which is downloaded.

    Args:
        source: A path; or `owner/name` of a model on the Hub; or `owner/name/file.pth`, a file of a model or Space
            there; `spaces/owner/name/file.pth` says that it is a Space's.

    Raises:
        ValueError: There is no such thing, or the Hub cannot be reached.
    """
    path = Path(source)
    if path.exists():
        return path
    # A path of this machine that is not there shall not be asked for on the Hub.
    match = re.fullmatch(r"(spaces/)?([\w.-]+/[\w.-]+)(?:/([\w./-]+))?", str(source))
    if match is None or (match[3] is not None and not match[3].endswith(_FILE_SUFFIXES)):
        raise ValueError(f"There is no file or folder {str(source)!r}: name a checkpoint.")
    repository, file_name = match[2], match[3]
    reason = ""
    for repo_type in ("space",) if match[1] else ("model", "space"):
        try:
            if file_name is not None:
                return Path(hf_hub_download(repository, file_name, repo_type=repo_type))
            if repo_type == "model":
                return Path(snapshot_download(repository, allow_patterns=_FOLDER_FILES))
        # Offline, unknown, gated, broken off: the Hub's library has an exception for each.
        except Exception as error:
            reason = reason or _first_sentence(error)
    raise ValueError(
        f"There is no file or folder {str(source)!r}, and the Hugging Face Hub does not give it either ({reason}): "
        "name a checkpoint, or download it where there is a network."
    )


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads the tensors of a checkpoint without executing any code in it.

    Args:
        path: A PyTorch file, a TorchScript archive, a safetensors file, or a folder in the Hub's layout.

    Raises:
        ValueError: It is none of these, is not whole, or holds Python objects besides tensors and plain containers.
    """
    if path.is_dir():
        return _read_folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise ValueError(f"The file {str(path)!r} cannot be read ({error.strerror}): name another.") from error
    if not start:
        raise ValueError(f"The file {str(path)!r} is empty: download it anew.")
    if start.startswith(b"PK"):
        return _read_zip(path)
    if start[8:9] == b"{":
        return Checkpoint(path, _read_safetensors(path), "safetensors")
    if start.startswith(b"\x80"):
        return _read_pytorch(path, is_zip=False)
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"The file {str(path)!r} is a Git LFS pointer, not the checkpoint itself: run `git lfs pull`.")
    raise ValueError(
        f"The file {str(path)!r} is no checkpoint (neither PyTorch, TorchScript nor safetensors): name another or "
        "download it anew."
    )


def _read_zip(path: Path) -> Checkpoint:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    # A damaged list of members ends in whatever the damage meets.
    except Exception as error:
        raise ValueError(f"The file {str(path)!r} is cut short or broken: download it anew.") from error
    _check_members(path, members)
    names = [member.filename for member in members]
    if is_torchscript_archive(path):
        tensors, others = read_torchscript_archive(path)
        _check_tensors(path, tensors)
        return Checkpoint(path, tensors, "torchscript", others)
    if not any(name.endswith("data.pkl") for name in names):
        raise ValueError(f"The zip file {str(path)!r} holds no checkpoint: name the .pth file itself.")
    return _read_pytorch(path, is_zip=True)


def _check_members(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses archives that would unfold to more than they are: PyTorch stores all but code as it is.

    Raises:
        ValueError: A member is compressed, or they claim more bytes than the file has.
    """
    stored = [member for member in members if "/code/" not in member.filename]
    for member in stored:
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(
                f"The file {str(path)!r} is refused: its member {member.filename[:60]!r} is compressed, and PyTorch "
                "compresses none; save its state dict anew, with torch.save, where you trust it."
            )
    if sum(member.file_size for member in stored) > path.stat().st_size:
        raise ValueError(f"The file {str(path)!r} is refused: its members claim more bytes than it has.")


def _check_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuses tensors that repeat a few numbers many times: whatever is done with them would unfold them.

    Raises:
        ValueError: They claim several times the bytes that the file has.
    """
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > MOST_UNFOLDED * path.stat().st_size:
        raise ValueError(
            f"The file {str(path)!r} is refused: its tensors claim {claimed / 1e9:.1f} GB, and it has "
            f"{path.stat().st_size / 1e9:.1f}."
        )


def _read_pytorch(path: Path, is_zip: bool) -> Checkpoint:
    try:
        with warnings.catch_warnings():
            # What PyTorch has to say about old formats is no concern of who converts them.
            warnings.simplefilter("ignore")
            # Only the newer, zip-based format can be mapped. Numbers that lie beside the weights are often NumPy's.
            with torch.serialization.safe_globals(_numpy_scalars()):
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        called = re.search(r"(?:GLOBAL|global:?)\s+`?([\w.]+)", str(error))
        if called:
            raise ValueError(
                f"The file {str(path)!r} is refused: to read it, {called[1]} would have to be run, and code in a "
                "checkpoint is never run here; save its state dict alone, with torch.save, where you trust it."
            ) from error
        raise ValueError(
            f"The file {str(path)!r} is refused: it is damaged, or holds more than tensors, which is not read here; "
            "download it anew, or save its state dict alone, with torch.save."
        ) from error
    # A damaged file ends in whatever the damage meets.
    except Exception as error:
        raise ValueError(
            f"The file {str(path)!r} cannot be read ({_first_sentence(error)}): download it anew."
        ) from error
    tensors, left_out = _unwrap(content, path)
    _check_tensors(path, tensors)
    return Checkpoint(path, tensors, "pytorch", left_out)


def _numpy_scalars() -> list[Any]:
    """What a pickle makes numbers of NumPy with: they hold bytes of a plain type, and nothing is run."""
    scalar = np.float64(0).__reduce__()[0]
    types = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")]
    return [np.dtype, *types, (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]


def _unwrap(content: Any, path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Takes the weights out of what training code saves around them."""
    left_out: list[str] = []
    wrapper = None
    if isinstance(content, Mapping):
        wrapper = next((name for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
    if wrapper is not None:
        left_out += [str(name) for name in content if name != wrapper]
        content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ValueError(f"The file {str(path)!r} holds a {type(content).__name__} instead of a state dict.")
    left_out += [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ValueError(f"The file {str(path)!r} holds no tensors: name the file with the weights.")
    # In either order, and several times over.
    while prefix := next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors, left_out


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    # safetensors' own exceptions, and the operating system's.
    except Exception as error:
        raise ValueError(
            f"The safetensors file {str(path)!r} is cut short or broken ({_first_sentence(error)}): download it anew."
        ) from error


def _read_folder(folder: Path) -> Checkpoint:
    config = read_json(folder / "config.json")
    tensors: dict[str, torch.Tensor] = {}
    container: Container = "safetensors"
    for name, kind in (("model.safetensors", "safetensors"), ("pytorch_model.bin", "pytorch")):
        index = folder / f"{name}.index.json"
        if index.is_file():
            weight_map = read_json(index).get("weight_map")
            if not isinstance(weight_map, dict) or not weight_map:
                raise ValueError(f"The file {str(index)!r} names no shards: download the folder anew.")
            files = [folder / Path(str(shard)).name for shard in dict.fromkeys(weight_map.values())]
        elif (folder / name).is_file():
            weight_map, files = {}, [folder / name]
        else:
            continue
        for file in files:
            if not file.is_file():
                raise ValueError(f"The folder {str(folder)!r} lacks its shard {file.name}: download it anew.")
            tensors.update(read_checkpoint(file).tensors)
        if absent := sorted(set(weight_map) - set(tensors)):
            raise ValueError(f"The folder {str(folder)!r} lacks {_names(absent)}: download its shards anew.")
        return Checkpoint(folder, tensors, "safetensors" if kind == "safetensors" else "pytorch", [], config)
    raise ValueError(f"The folder {str(folder)!r} holds no {container} weights: name a folder with model.safetensors.")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds a mapping.

    Raises:
        ValueError: The file is missing, is no JSON, or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"The folder {str(path.parent)!r} has no {path.name}: name a folder in the Hub's layout.")
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"The file {str(path)!r} is no valid JSON ({error}): download it anew.") from error
    if not isinstance(content, dict):
        raise ValueError(f"The file {str(path)!r} holds no settings but a {type(content).__name__}.")
    return content


def _first_sentence(error: BaseException) -> str:
    return (str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__)[:200]


def _names(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


__all__ = ["Checkpoint", "find_checkpoint", "read_checkpoint", "read_json"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""TorchScript archives (`torch.jit.save`) read as tensors: none of the code in them runs, nor is compiled."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

# How TorchScript names the element types of storages.
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LOCAL_HEADER_LENGTH = 30


class _Storage(NamedTuple):
    """Which member of the archive holds a tensor's numbers, and of what type."""

    dtype: torch.dtype
    member: str


class _StoredTensor(NamedTuple):
    """A tensor as the archive describes it, not read yet."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _ScriptObject:
    """Stands for an object of any class that the archive's code defines: its attributes, without its methods."""

    def __init__(self, *args: Any) -> None:
        self.attributes: Any = {}

    def __new__(cls, *args: Any) -> "_ScriptObject":
        instance = super().__new__(cls)
        instance.attributes = {}
        return instance

    def __setstate__(self, state: Any) -> None:
        self.attributes = state


class _ScriptUnpickler(pickle.Unpickler):
    """Builds containers, numbers, descriptions of tensors and attribute holders; knows nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Looks a name up in the short list of what may stand in an archive.

        Raises:
            ValueError: It is not in the list.
        """
        if module == "__torch__" or module.startswith("__torch__."):
            return _ScriptObject
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        allowed: dict[tuple[str, str], Callable] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _describe_tensor,
            ("torch.jit._pickle", "build_intlist"): list,
            ("torch.jit._pickle", "build_doublelist"): list,
            ("torch.jit._pickle", "build_boollist"): list,
            ("torch.jit._pickle", "build_tensorlist"): list,
            ("torch.jit._pickle", "restore_type_tag"): _without_type_tag,
            ("torch", "device"): str,
        }
        if (module, name) not in allowed:
            raise ValueError(f"it calls {module}.{name}, which is neither a tensor nor a part of a TorchScript module")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Reads a storage's description: ("storage", type, member, device, number of elements)."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], torch.dtype)):
            raise ValueError("it refers to something that is not the storage of a tensor")
        return _Storage(pid[1], str(pid[2]))


def _describe_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _StoredTensor:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, _Storage) or len(size) != len(stride):
        raise ValueError("it describes a tensor without its storage")
    if any(not isinstance(number, int) or number < 0 for number in numbers):
        raise ValueError("it describes a tensor of impossible size")
    return _StoredTensor(storage, offset, tuple(size), tuple(stride))


def _without_type_tag(value: Any, tag: Any) -> Any:
    return value


def is_torchscript_archive(path: Path) -> bool:
    """Whether a zip file is one that `torch.jit.save` wrote."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript_archive(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Reads parameters, buffers and other tensor attributes of the module in a TorchScript archive.

    The tensors stay in the file until they are used: their memory is mapped, not read.

    Args:
        path: A file that `torch.jit.save` wrote.

    Returns:
        The tensors, named as in the module's `state_dict`, and the names of all other attributes (numbers, texts).

    Raises:
        ValueError: The archive is not whole, or holds more than tensors and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            pickle_name = next((name for name in members if name.endswith("/data.pkl")), None)
            if pickle_name is None:
                raise ValueError("it holds no data.pkl")
            root = pickle_name.removesuffix("data.pkl")
            if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
                raise ValueError("its numbers are big-endian")
            with archive.open(pickle_name) as file:
                module = _ScriptUnpickler(file).load()
        if not isinstance(module, _ScriptObject):
            raise ValueError("it holds no module")
        stored: dict[str, _StoredTensor] = {}
        others: list[str] = []
        _collect_tensors(module, "", stored, others, set())
        memory = cast(torch.UntypedStorage, torch.UntypedStorage.from_file(str(path), False, path.stat().st_size))
        spans = {name: _span(path, info) for name, info in members.items() if name.startswith(f"{root}data/")}
        tensors = {name: _map_tensor(tensor, root, spans, memory) for name, tensor in stored.items()}
    # A pickle can be broken in as many ways as there are instructions in it.
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(
            f"The TorchScript archive {str(path)!r} is refused ({reason}): give an untouched download of the file."
        ) from error
    return tensors, others


def _collect_tensors(
    value: Any, name: str, stored: dict[str, _StoredTensor], others: list[str], parents: set[int]
) -> None:
    if isinstance(value, _StoredTensor):
        stored[name] = value
    elif isinstance(value, _ScriptObject) and isinstance(value.attributes, dict):
        if id(value) in parents:
            raise ValueError(f"{name} contains itself")
        for key, attribute in value.attributes.items():
            _collect_tensors(attribute, f"{name}.{key}".lstrip("."), stored, others, parents | {id(value)})
    # Every TorchScript module has this flag; None stands for a parameter that is switched off.
    elif value is not None and not name.endswith("training"):
        others.append(name)


def _span(path: Path, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a member's bytes begin and end in the file."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its member {info.filename} is compressed")
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER_LENGTH)
    lengths = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start = info.header_offset + _LOCAL_HEADER_LENGTH + sum(lengths)
    return start, start + info.file_size


def _map_tensor(
    tensor: _StoredTensor, root: str, spans: dict[str, tuple[int, int]], memory: torch.UntypedStorage
) -> torch.Tensor:
    dtype, member = tensor.storage
    if f"{root}data/{member}" not in spans:
        raise ValueError(f"its tensor data/{member} is missing")
    start, end = spans[f"{root}data/{member}"]
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True))
    if 0 not in tensor.size and ((last + 1) * dtype.itemsize > end - start or end > memory.nbytes()):
        raise ValueError(f"its tensor data/{member} is too short")
    return torch.empty(0, dtype=dtype).set_(memory[start:end], tensor.offset, tensor.size, tensor.stride)


__all__ = ["is_torchscript_archive", "read_torchscript_archive"]

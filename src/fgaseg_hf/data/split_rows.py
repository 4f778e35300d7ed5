# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The rows of a split: from the Hub, or from a folder as it is now."""

import hashlib
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.compute

from ..model.quoting import reason_of
from .benchmarks import PREPARED_BENCHMARK_FILE
from .class_list_files import CLASS_NAMES_FILE

# Into how many parts, to be shared among processes and workers, a folder of `save_to_disk` is cut when it is streamed.
MAX_STREAM_PARTS = 64
# Files of a data set's folder that hold no rows.
_NO_ROWS = {PREPARED_BENCHMARK_FILE, CLASS_NAMES_FILE, "README.md"}


def load_split(
    path: str, split: str, revision: str | None = None, subset: str | None = None, streaming: bool = False
) -> Any:
    """Loads one split of a data set.

    Args:
        path: Hub id, local folder in the Hub's layout, or a folder written by `save_to_disk`.
        split: name of the split.
        revision: commit, tag or branch of a Hub data set.
        subset: configuration name of the data set, if it has several.
        streaming: whether to read rows as they are needed, without fetching and storing the whole split first.

    Returns:
        A `datasets.Dataset`, or a `datasets.IterableDataset` if it is streamed.

    Raises:
        ValueError: there is no such data set or split, or its files cannot be read.
    """
    folder = Path(path)
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        return _load_saved(path, split, streaming)
    # `datasets` copies a folder into a cache, which it finds again by the folder's name and card, and by its files'
    # times only where there is no card: a folder whose files were corrected needs another key.
    key = {"description": folder_stamp(folder)} if folder.is_dir() and not streaming else {}
    try:
        return datasets.load_dataset(path, subset, split=split, revision=revision, streaming=streaming, **key)
    except (FileNotFoundError, ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise ValueError(f"There is no data set {path!r}, neither as a folder nor (reachable) on the Hub.") from error
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        raise ValueError(
            f"The data set {path!r} has a loading script, which is code and is not run: take {folder.name}.py away, or "
            "name the data set's files as Parquet."
        ) from error
    except (datasets.exceptions.DatasetGenerationError, pyarrow.ArrowException) as error:
        reason = reason_of(error.__cause__ or error)
        raise ValueError(f"The files of the data set {path!r} cannot be read ({reason}).") from error


def _load_saved(path: str, split: str, streaming: bool) -> Any:
    """Loads a split of a folder that `save_to_disk` wrote; it is read where it lies."""
    loaded = datasets.load_from_disk(path)
    if not isinstance(loaded, datasets.Dataset):
        if split not in loaded:
            raise ValueError(f"The data set {path} has no split {split!r}, only {', '.join(loaded)}.")
        loaded = loaded[split]
    return loaded.to_iterable_dataset(num_shards=min(len(loaded), MAX_STREAM_PARTS)) if streaming else loaded


def folder_stamp(folder: Path) -> str:
    """Returns a text that changes with the files of a folder.

    Of each file it holds name, size, and the times of the last change of contents and of anything (which cannot be set
    back), so that files of many gigabytes need not be read.
    """
    files = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if path.is_file() and not hidden and str(place) not in _NO_ROWS:
            state = path.stat()
            files.append([place.as_posix(), state.st_size, state.st_mtime_ns, state.st_ctime_ns])
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def annotated_rows(rows: Any, image_column: str, annotation_column: str) -> Any:
    """Leaves out the rows that have no picture or no label map.

    Args:
        rows: a split as [`load_split`] returns it.
        image_column: column of the pictures.
        annotation_column: column of the label maps; a list of them must hold one.

    Returns:
        The rows that have both, in their order.
    """
    columns = [image_column, annotation_column]
    if isinstance(rows, datasets.IterableDataset):
        return rows.filter(lambda row: all(row[column] is not None and row[column] != [] for column in columns))
    is_there = None
    for column in columns:
        stored = rows.data.column(column).combine_chunks()
        has_it = _holds_something(stored)
        is_there = has_it if is_there is None else pyarrow.compute.and_(is_there, has_it)
    return rows.select(pyarrow.compute.indices_nonzero(is_there).to_pylist())


def _holds_something(stored: Any) -> Any:
    """Returns for each stored cell whether it is neither null, nor an empty list, nor a picture without contents."""
    has_it = pyarrow.compute.is_valid(stored)
    if pyarrow.types.is_list(stored.type) or pyarrow.types.is_large_list(stored.type):
        lengths = pyarrow.compute.fill_null(pyarrow.compute.list_value_length(stored), 0)
        has_it = pyarrow.compute.and_(has_it, pyarrow.compute.greater(lengths, 0))
    elif pyarrow.types.is_struct(stored.type):
        parts = [
            pyarrow.compute.is_valid(pyarrow.compute.struct_field(stored, [number]))
            for number in range(stored.type.num_fields)
        ]
        filled = parts[0]
        for part in parts[1:]:
            filled = pyarrow.compute.or_(filled, part)
        has_it = pyarrow.compute.and_(has_it, filled)
    return has_it

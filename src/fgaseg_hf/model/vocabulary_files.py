# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files of a vocabulary: written such that what lay there before stays whole, and checked when they are read."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from transformers.utils import cached_file

from .json_reading import parse_json
from .text_encoding import FGASegTextEncoding

VOCABULARY_FILE = "vocabulary.json"
FORMAT_VERSION = 1
SETTINGS = ("names", "synonyms", "groups", "templates", "background", "background_threshold")
HUB_KWARGS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
# Named after its content, so that a description never stands beside the embeddings of another one.
EMBEDDINGS_FILE_PATTERN = re.compile(r"vocabulary-[0-9a-f]{16}\.safetensors")


def is_vocabulary_file(name: str) -> bool:
    """Whether a file of this name holds a vocabulary or its embeddings."""
    return name == VOCABULARY_FILE or EMBEDDINGS_FILE_PATTERN.fullmatch(name) is not None


def write_vocabulary_files(
    folder: str | os.PathLike[str], settings: Mapping[str, Any], encoding: FGASegTextEncoding | None
) -> None:
    """Writes a vocabulary, encoded or not, into a folder.

    The description goes to `vocabulary.json`, the embeddings to `vocabulary-<hash>.safetensors`. If writing is cut off,
    whatever vocabulary lay there before is still whole.

    Args:
        folder: Where to write; made if it is missing.
        settings: The value of each of `SETTINGS`.
        encoding: The phrases' embeddings, if they were made.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description: dict[str, Any] = {"format_version": FORMAT_VERSION, **settings, "encoding": None}
    embeddings_file = None
    if encoding is not None:
        content = safetensors.torch.save(
            {
                "embeddings": encoding.embeddings.contiguous(),
                "probe_input_ids": encoding.probe_input_ids.contiguous(),
            },
            metadata={"format": "pt"},
        )
        sha256 = hashlib.sha256(content).hexdigest()
        embeddings_file = f"vocabulary-{sha256[:16]}.safetensors"
        _write_at_once(folder / embeddings_file, content)
        description["encoding"] = {
            "key": encoding.key,
            "text_tower_hash": encoding.text_tower_hash,
            "text_tower_dtype": encoding.text_tower_dtype,
            "tokenizer_hash": encoding.tokenizer_hash,
            "templates": encoding.templates,
            "embeddings_file": embeddings_file,
            "embeddings_sha256": sha256,
            "phrases": encoding.phrases,
        }
    # Last, since this is what makes the new embeddings count.
    _write_at_once(folder / VOCABULARY_FILE, json.dumps(description, indent=2, ensure_ascii=False).encode())
    for path in folder.iterdir():
        if EMBEDDINGS_FILE_PATTERN.fullmatch(path.name) and path.name != embeddings_file:
            path.unlink()


def read_vocabulary_files(
    source: str | os.PathLike[str], hub_kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], FGASegTextEncoding | None]:
    """Reads what [`write_vocabulary_files`] wrote; to be called within [`broken_files_named`].

    Args:
        source: A folder, or a checkpoint's id on the Hub.
        hub_kwargs: Those of `HUB_KWARGS` that are given.

    Returns:
        The value of each of `SETTINGS`, not checked; and the embeddings, if there are any.

    Raises:
        ValueError: The files are of another format, do not belong together, or were changed.
    """
    description = parse_json(_read(source, VOCABULARY_FILE, hub_kwargs))
    version = description["format_version"]
    if version != FORMAT_VERSION:
        raise ValueError(f"its format is {version!r}, and this program reads {FORMAT_VERSION}")
    settings = {name: description[name] for name in SETTINGS}
    stored = description["encoding"]
    if stored is None:
        return settings, None
    embeddings_file = stored["embeddings_file"]
    if not EMBEDDINGS_FILE_PATTERN.fullmatch(embeddings_file):
        raise ValueError(f"it names the embeddings {embeddings_file!r}")
    content = _read(source, embeddings_file, hub_kwargs)
    if hashlib.sha256(content).hexdigest() != stored["embeddings_sha256"]:
        raise ValueError(f"{embeddings_file} was changed or cut off")
    encoding = FGASegTextEncoding(
        phrases=stored["phrases"],
        templates=stored["templates"],
        text_tower_hash=stored["text_tower_hash"],
        text_tower_dtype=stored["text_tower_dtype"],
        tokenizer_hash=stored["tokenizer_hash"],
        **safetensors.torch.load(content),
    )
    if encoding.embeddings.dim() != 2 or not encoding.embeddings.isfinite().all():
        raise ValueError("its embeddings are no table of numbers")
    if len(encoding.phrases) != len(encoding.embeddings):
        raise ValueError(f"it has {len(encoding.phrases)} phrases but embeddings of {len(encoding.embeddings)}")
    return settings, encoding


@contextmanager
def broken_files_named(source: str | os.PathLike[str]) -> Iterator[None]:
    """Says in a sentence what is wrong with a vocabulary's files, whatever it is.

    Raises:
        ValueError: In place of what is raised within.
    """
    try:
        yield
    # Wrong types and missing entries of the JSON show in several ways.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = f"no entry {error}" if isinstance(error, KeyError) else str(error).strip().split("\n")[0]
        raise ValueError(
            f"There is no whole vocabulary in {os.fspath(source)!r} ({reason.rstrip('.')}): save it anew."
        ) from error


def _read(source: str | os.PathLike[str], name: str, hub_kwargs: Mapping[str, Any]) -> bytes:
    path = cached_file(os.fspath(source), name, **hub_kwargs)
    if path is None:
        raise OSError(f"it has no file {name}")
    return Path(path).read_bytes()


def _write_at_once(path: Path, content: bytes) -> None:
    """Writes a file such that under its name there is the old content or the new one, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

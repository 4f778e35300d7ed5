# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Counts of an unfinished evaluation, kept on disk so that a later command goes on where this one was cut off."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from .run_description import write_atomically

logger = logging.getLogger(__name__)

# Counted up when files of an earlier version can no longer be added to.
COUNTS_FORMAT = 2


@dataclass
class CountsSoFar:
    """What has been counted of an evaluation.

    Attributes:
        state: `state_dict` of the confusion matrix.
        done: which parts of the evaluation it holds, bool (parts,).
        scores: float64 (pictures,), the mean IoU of the pictures that are done, 0 for the others.
        seconds: time that it took.
    """

    state: dict[str, torch.Tensor]
    done: np.ndarray
    scores: np.ndarray
    seconds: float


@dataclass
class PartialCounts:
    """A folder of counts, one file a process and session.

    No file is ever merged into another: each holds parts that no other holds, so that their sum is exact whatever
    moment a process is killed in. A file that is not whole is left out, with a line that says so, and its parts are
    counted again. On several machines the folder must be one that all of them see.

    Args:
        folder: where the files lie; it may hold those of other evaluations, which are left alone.
        arguments: all that the counts depend on, for JSON: files of other arguments are not read.
        save_every: pictures of a process after which its counts are saved.
    """

    folder: Path
    arguments: Mapping[str, Any]
    save_every: int = 50
    _session: int = field(default=0, init=False)
    _num_saved: int = field(default=0, init=False)

    @property
    def key(self) -> str:
        """Hash of the arguments."""
        depends_on = [COUNTS_FORMAT, self.arguments]
        return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]

    def load(self, nothing: CountsSoFar) -> CountsSoFar:
        """Sums what earlier sessions have counted, and begins a new session.

        Args:
            nothing: counts of the right shapes that hold nothing yet; they are left as they are.
        """
        state = {name: counts.clone() for name, counts in nothing.state.items()}
        done, scores = nothing.done.copy(), nothing.scores.copy()
        seconds: dict[int, float] = {}
        for path in self._files():
            session = int(path.name.split("-")[2])
            seconds.setdefault(session, 0.0)
            counts = _read_counts(path, nothing)
            if counts is None:
                logger.warning("The counts in %s are not whole: their pictures are counted again.", path)
                continue
            for name, tensor in counts.state.items():
                state[name] += tensor
            done |= counts.done
            scores += counts.scores
            seconds[session] = max(seconds[session], counts.seconds)
        self._session = max(seconds, default=-1) + 1
        return CountsSoFar(state, done, scores, sum(seconds.values()))

    def is_due(self, num_pictures: int) -> bool:
        """Returns whether it is time to save, after so many pictures of this session and process."""
        due = num_pictures - self._num_saved >= self.save_every
        self._num_saved = num_pictures if due else self._num_saved
        return due

    def save(self, process_index: int, counts: CountsSoFar) -> None:
        """Writes what this process has counted in this session, in the place of what it wrote before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = _to_tensors(counts)
        path = self.folder / f"counts-{self.key}-{self._session}-{process_index}.safetensors"
        write_atomically(path, safetensors.torch.save(tensors, {"sha256": _hash_tensors(tensors)}))

    def remove(self) -> None:
        """Removes the files, once the result is written."""
        for path in self._files():
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"counts-{self.key}-*.safetensors"))


def _to_tensors(counts: CountsSoFar) -> dict[str, torch.Tensor]:
    tensors = {f"state.{name}": tensor.cpu().contiguous() for name, tensor in counts.state.items()}
    return tensors | {
        "done": torch.from_numpy(counts.done),
        "scores": torch.from_numpy(counts.scores),
        "seconds": torch.tensor(counts.seconds, dtype=torch.float64),
    }


def _hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    contents = hashlib.sha256()
    for name in sorted(tensors):
        contents.update(f"{name} {tuple(tensors[name].shape)}".encode())
        contents.update(tensors[name].numpy().tobytes())
    return contents.hexdigest()


def _read_counts(path: Path, like: CountsSoFar) -> CountsSoFar | None:
    """Reads a file of counts; None if it was cut off, or holds what was never written."""
    expected = {name: tensor.shape for name, tensor in _to_tensors(like).items()}
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            sha256 = (file.metadata() or {}).get("sha256")
    except (SafetensorError, OSError, ValueError):
        return None
    if {name: tensor.shape for name, tensor in tensors.items()} != expected or sha256 != _hash_tensors(tensors):
        return None
    state = {name: tensors[f"state.{name}"] for name in like.state}
    return CountsSoFar(state, tensors["done"].numpy(), tensors["scores"].numpy(), float(tensors["seconds"]))

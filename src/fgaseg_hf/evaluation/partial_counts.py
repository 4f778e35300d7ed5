# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Counts of an unfinished evaluation, kept on disk so that a later command goes on where this one was cut off."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open

from .run_description import write_atomically


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
    moment a process is killed in. On several machines the folder must be one that all of them see.

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
        return hashlib.sha256(json.dumps(self.arguments, sort_keys=True).encode()).hexdigest()[:16]

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
            with safe_open(path, framework="pt") as file:
                for name, counts in state.items():
                    counts += file.get_tensor(f"state.{name}")
                done |= file.get_tensor("done").numpy()
                scores += file.get_tensor("scores").numpy()
                seconds[session] = max(seconds.get(session, 0.0), float(file.get_tensor("seconds")))
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
        tensors = {f"state.{name}": tensor.cpu().contiguous() for name, tensor in counts.state.items()}
        tensors["done"] = torch.from_numpy(counts.done)
        tensors["scores"] = torch.from_numpy(counts.scores)
        tensors["seconds"] = torch.tensor(counts.seconds, dtype=torch.float64)
        path = self.folder / f"counts-{self.key}-{self._session}-{process_index}.safetensors"
        write_atomically(path, safetensors.torch.save(tensors))

    def remove(self) -> None:
        """Removes the files, once the result is written."""
        for path in self._files():
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"counts-{self.key}-*.safetensors"))

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training on a data set that is read while it is trained on, each process and worker its own share of it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from datasets.distributed import split_dataset_by_node
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..model.quoting import reason_of
from .readable_samples import UNREADABLE_ENTRY
from .segmentation_split import UNREADABLE, UnreadableRow
from .training_samples import TrainingSamples

# Where a worker that has read nothing stands.
BEGINNING = {"epoch": 0, "rows": None, "used": 0, "number": 0}


class StreamedSamples(IterableDataset):
    """Endless stream of augmented training samples of one process.

    Where the number of the data set's files is a multiple of that of processes, each process fetches its own files
    only; otherwise all read everything and each keeps its share of the rows. Rows are shuffled anew in each epoch:
    files as a whole, and rows among the `shuffle_buffer` ones that are read together. A process that comes to the end
    of its share begins its next epoch, whatever the others do, so that none waits for another.

    The samples follow from the seed and from the numbers of processes and workers: a run that resumes with the same
    numbers, by `state_dict`, sees what it would have seen, and reads at most a buffer and a round of batches again.

    Args:
        samples: makes samples of pictures; its split is streamed.
        shuffle_buffer: how many rows to shuffle among; 1 keeps their order.
        batch_size: samples a batch of this process.
        process_index: number of this process.
        num_processes: how many there are.
        num_skippable: unreadable rows that may be left out; a sample tells of those before it, as `ReadableSamples`
            do.

    Raises:
        ValueError: the buffer is empty; on reading, there is no row for a process or worker.
    """

    def __init__(
        self,
        samples: TrainingSamples,
        *,
        shuffle_buffer: int,
        batch_size: int,
        process_index: int = 0,
        num_processes: int = 1,
        num_skippable: int = 0,
    ) -> None:
        if shuffle_buffer < 1:
            raise ValueError(f"--shuffle_buffer is {shuffle_buffer}, but must be at least 1.")
        self.samples = samples
        self.shuffle_buffer = shuffle_buffer
        self.batch_size = batch_size
        self.process_index = process_index
        self.num_processes = num_processes
        self.num_skippable = num_skippable
        self._loaded: Mapping[str, Any] | None = None
        self._num_batches = 0
        # Of each worker where it began its last batch but one, and where the last one left it.
        self._positions: list[list[dict[str, Any]]] = []

    def state_dict(self) -> dict[str, Any]:
        """Returns where the stream stands after the batches that `batches` has given out, for JSON."""
        num_workers = len(self._positions)
        # Batches are taken from the workers in turn. All go on from the last whole round; what some have given out of
        # the next is read again and left out.
        num_left_out = self._num_batches % num_workers if num_workers else 0
        positions = [history[0 if place < num_left_out else 1] for place, history in enumerate(self._positions)]
        return {"num_left_out": num_left_out, "num_processes": self.num_processes, "positions": positions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes `batches` go on where the stream stood; with other numbers of processes or workers, in a new epoch."""
        self._loaded = state

    def batches(self, *, num_workers: int = 0, collate_fn: Callable[..., Any], **settings: Any) -> Iterator[Any]:
        """Returns the batches of this process.

        Args:
            num_workers: processes that prepare pictures; at most one for each file of this process's share.
            collate_fn: makes a batch of samples, a `CollateReadable` where some may be given up.
            **settings: of the `torch.utils.data.DataLoader`.
        """
        num_workers = min(num_workers, self._rows_of_epoch(0).num_shards)
        num_readers = max(num_workers, 1)
        starts, num_left_out = self._starts(num_readers)
        self._positions = [[start, start] for start in starts]
        self._num_batches = 0
        loader = DataLoader(
            self,
            batch_size=self.batch_size,
            num_workers=num_workers,
            collate_fn=_CollateWithPosition(collate_fn),
            **settings,
        )
        for number, (batch, position) in enumerate(loader):
            history = self._positions[number % num_readers]
            history[:] = [history[1], json.loads(position)]
            self._num_batches = number + 1
            if number >= num_left_out:
                yield batch

    def _starts(self, num_readers: int) -> tuple[list[dict[str, Any]], int]:
        """Returns where each worker begins, and how many of their first batches were trained on before."""
        if self._loaded is None or not self._loaded["positions"]:
            return [dict(BEGINNING)] * num_readers, 0
        positions = list(self._loaded["positions"])
        if len(positions) == num_readers and self._loaded["num_processes"] == self.num_processes:
            return positions, self._loaded["num_left_out"]
        epoch = max(position["epoch"] for position in positions) + 1
        return [BEGINNING | {"epoch": epoch}] * num_readers, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        worker_id = worker.id if worker else 0
        start = self._positions[worker_id][1] if self._positions else BEGINNING
        unreadable: list[str] = []
        for row, number, position in self._endless_rows(start, worker_id):
            generator = np.random.default_rng([self.samples.seed, 2, self.process_index, worker_id, number])
            ending: dict[str, Any] = {"position": json.dumps(position)}
            try:
                sample = self.samples.prepare(*self._decode(row, number), generator)
            except UnreadableRow as error:
                unreadable.append(str(error))
                if len(unreadable) > self.num_skippable:
                    yield {UNREADABLE_ENTRY: unreadable, **ending}
                continue
            if unreadable:
                ending[UNREADABLE_ENTRY], unreadable = unreadable, []
            yield {**sample, **ending}

    def _decode(self, row: dict[str, Any], number: int) -> tuple[Image.Image, np.ndarray]:
        """Returns picture and class ids of a row whose pictures are still files."""
        split = self.samples.split
        if split.rows.features is not None:
            try:
                row = split.rows.features.decode_example(row)
            except UNREADABLE as error:
                raise UnreadableRow(
                    f"{split.where}Row {number} of what a process reads cannot be read ({reason_of(error)})."
                ) from error
        return split.read_row(row, number)

    def _endless_rows(
        self, start: Mapping[str, Any], worker_id: int
    ) -> Iterator[tuple[dict[str, Any], int, dict[str, Any]]]:
        """Yields rows, the number of each, and the position after it."""
        epoch, state, used, number = (start[name] for name in ("epoch", "rows", "used", "number"))
        while True:
            # The data set itself gives each worker its own files.
            rows = self._rows_of_epoch(epoch)
            if state is not None:
                rows.load_state_dict(state)
            read = iter(rows)
            is_first = state is None
            while block := list(islice(read, self.shuffle_buffer)):
                is_first = False
                next_state = rows.state_dict()
                seed = [self.samples.seed, 3, self.process_index, worker_id, number - used]
                order = np.random.default_rng(seed).permutation(len(block))
                for place in order[used:]:
                    used, number = used + 1, number + 1
                    is_last = used == len(block)
                    yield (
                        block[place],
                        number - 1,
                        {
                            "epoch": epoch,
                            "rows": next_state if is_last else state,
                            "used": 0 if is_last else used,
                            "number": number,
                        },
                    )
                state, used = next_state, 0
            if is_first:
                raise ValueError(
                    "A process or worker has no row of the training split: start fewer processes, with "
                    "--num_workers 0, or leave out --streaming."
                )
            epoch, state = epoch + 1, None

    def _rows_of_epoch(self, epoch: int) -> Any:
        # A data set of its own for each reader and epoch, since the number that `set_epoch` changes would be shared.
        rows = split_dataset_by_node(self.samples.split.rows, rank=self.process_index, world_size=self.num_processes)
        if self.shuffle_buffer > 1:
            # By this number the data set shuffles its files, without a buffer, which no state would hold.
            rows.set_epoch(1 + int(np.random.SeedSequence([self.samples.seed, epoch]).generate_state(1)[0]))
        # One row that cannot be decoded shall not end the reading of all.
        return rows if rows.features is None else rows.decode(False)


@dataclass(frozen=True)
class _CollateWithPosition:
    """Makes a batch, and says where its reader stands after it."""

    collate: Callable[..., Any]

    def __call__(self, samples: Sequence[dict[str, Any]]) -> tuple[Any, str]:
        position = samples[-1]["position"]
        return self.collate([{k: v for k, v in sample.items() if k != "position"} for sample in samples]), position

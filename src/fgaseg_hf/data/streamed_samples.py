# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training on a data set that is read while it is trained on, each process and worker its own share of it."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .training_samples import TrainingSamples


class StreamedSamples(IterableDataset):
    """Endless stream of augmented training samples of one process.

    Where the number of the data set's files is a multiple of that of processes, each process fetches its own files
    only; otherwise all read everything and each keeps its share of the rows. Rows are shuffled anew in each epoch,
    files as a whole and rows within a buffer. A process that comes to the end of its share begins its next epoch,
    whatever the others do, so that none waits for another.

    The samples follow from the seed and from the numbers of processes and workers: a run that resumes with the same
    numbers sees what it would have seen. It skips the rows that were used, which it has to read again.

    Args:
        samples: makes samples of pictures; its split is streamed.
        shuffle_buffer: how many rows to shuffle among; 1 keeps their order.
        batch_size: samples a batch of this process.
        process_index: number of this process.
        num_processes: how many there are.

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
    ) -> None:
        if shuffle_buffer < 1:
            raise ValueError(f"--shuffle_buffer is {shuffle_buffer}, but must be at least 1.")
        self.samples = samples
        self.shuffle_buffer = shuffle_buffer
        self.batch_size = batch_size
        self.process_index = process_index
        self.num_processes = num_processes
        # Samples of each worker that were trained on before; see `batches`.
        self.num_used = 0

    def batches(
        self, *, first_batch: int = 0, num_workers: int = 0, **settings: Any
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Returns the batches of this process.

        Args:
            first_batch: how many were trained on before.
            num_workers: processes that prepare pictures; at most one for each file of this process's share.
            **settings: of the `torch.utils.data.DataLoader`.
        """
        num_workers = min(num_workers, self._rows_of_epoch(0).num_shards)
        # Batches are taken from the workers in turn: it goes on with a whole round, of which some are left out.
        num_rounds, num_left_out = divmod(first_batch, max(num_workers, 1))
        self.num_used = num_rounds * self.batch_size
        loader = DataLoader(self, batch_size=self.batch_size, num_workers=num_workers, **settings)
        return islice(iter(loader), num_left_out, None)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        worker_id = worker.id if worker else 0
        for number, row in enumerate(self._endless_rows()):
            if number >= self.num_used:
                generator = np.random.default_rng([self.samples.seed, 2, self.process_index, worker_id, number])
                yield self.samples.prepare(*self.samples.split.read_row(row, number), generator)

    def _endless_rows(self) -> Iterator[dict[str, Any]]:
        # The data set itself gives each worker its own files.
        for epoch in count():
            row = None
            for row in self._rows_of_epoch(epoch):
                yield row
            if row is None:
                raise ValueError(
                    "A process or worker has no row of the training split: start fewer processes, with "
                    "--num_workers 0, or leave out --streaming."
                )

    def _rows_of_epoch(self, epoch: int) -> Any:
        rows = self.samples.split.rows
        if self.shuffle_buffer > 1:
            # A seed for each epoch, since workers would share the one number that `set_epoch` changes.
            seed = int(np.random.SeedSequence([self.samples.seed, epoch]).generate_state(1)[0])
            rows = rows.shuffle(seed=seed, buffer_size=self.shuffle_buffer)
        return split_dataset_by_node(rows, rank=self.process_index, world_size=self.num_processes)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training on data sets of which a few rows cannot be read: named, counted, and left out up to a number."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from .segmentation_split import UnreadableRow
from .training_samples import TrainingSamples

# Entry of a sample, and of a batch, that lists what was said of rows that could not be read on its way.
UNREADABLE_ENTRY = "unreadable"
# Another picture stands in for one that cannot be read: that of a sample so many further on, which no run comes to.
_FAR_AWAY = 2**40
# How often another picture is looked for, for each row that may be left out: what is drawn again need not be another.
_TRIES = 10


class UnreadableRows:
    """The rows that could not be read so far, each counted once.

    Args:
        num_skippable: how many may be left out.
        say: is told of each.
    """

    def __init__(self, num_skippable: int, say: Callable[[str], None]) -> None:
        self.num_skippable = num_skippable
        self._say = say
        self._messages: set[str] = set()

    def add(self, message: str) -> None:
        """Leaves a row out.

        Raises:
            UnreadableRow: there are more than may be left out.
        """
        if message in self._messages:
            return
        self._messages.add(message)
        number = len(self._messages)
        if number > self.num_skippable:
            more = f" {self.num_skippable} before it were left out." if self.num_skippable else ""
            raise UnreadableRow(f"{message}{more} Mend or remove it, or leave such rows out with --skip_unreadable N.")
        self._say(f"warning: left out, {number} of at most {self.num_skippable}: {message}")


class ReadableSamples(Dataset):
    """Training samples in which readable pictures stand in for unreadable ones, the same in each run.

    Args:
        samples: the samples.
        num_skippable: unreadable rows after which a sample is given up.

    An item is that of `samples`, with the entry "unreadable" if rows were left out for it; an item that was given up
    has this entry alone. Errors are not raised here, since a worker would hand them on with its whole traceback.
    """

    def __init__(self, samples: TrainingSamples, num_skippable: int) -> None:
        self.samples = samples
        self.num_skippable = num_skippable

    def __getitem__(self, sample: int) -> dict[str, Any]:
        messages: list[str] = []
        for number in range(_TRIES * self.num_skippable + 1):
            try:
                item = self.samples[sample + number * _FAR_AWAY]
            except UnreadableRow as error:
                messages.append(str(error))
            else:
                return {**item, UNREADABLE_ENTRY: messages} if messages else item
            if len(set(messages)) > self.num_skippable:
                break
        return {UNREADABLE_ENTRY: messages}


@dataclass(frozen=True)
class CollateReadable:
    """Makes a batch of such samples; a batch with one that was given up has the entry "unreadable" alone.

    Attributes:
        collate: makes batches of readable samples.
    """

    collate: Callable[[Sequence[dict[str, Any]]], dict[str, Any]]

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Returns the batch, with the entry "unreadable"."""
        messages = [message for sample in samples for message in sample.get(UNREADABLE_ENTRY, ())]
        whole = [{name: value for name, value in item.items() if name != UNREADABLE_ENTRY} for item in samples]
        batch = self.collate(whole) if all(whole) else {}
        return {**batch, UNREADABLE_ENTRY: messages}


def without_unreadable_rows(
    batches: Iterator[dict[str, Any]], num_skippable: int, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Takes the entry "unreadable" out of batches, and says what it holds.

    Args:
        batches: what `CollateReadable` made.
        num_skippable: different rows that may be left out.
        say: is told of each row once.

    Raises:
        UnreadableRow: there are more.
    """
    unreadable = UnreadableRows(num_skippable, say)
    for batch in batches:
        for message in batch.pop(UNREADABLE_ENTRY):
            unreadable.add(message)
        yield batch

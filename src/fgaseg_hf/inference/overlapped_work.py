# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Reading, computing and writing at the same time, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Computed = TypeVar("Computed")
Written = TypeVar("Written")


def overlap_reading_and_writing(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Item, Read], Computed],
    write: Callable[[Item, Read, Computed], Written],
    ahead: int = 2,
    weigh: Callable[[Item], int] = lambda _: 0,
    max_weight: int = 0,
) -> Iterator[Written]:
    """Reads the next items and writes the last ones while this one is computed.

    Reading and writing happen in threads, computing in the caller's. At most `ahead` items wait for computing and at
    most `ahead` for writing, so memory does not grow with the number of items. If one fails, those before it are still
    written and yielded, and then its error is raised.

    Args:
        items: What to work on.
        read: Makes an item ready.
        compute: Is given the item and what `read` returned.
        write: Is given both and what `compute` returned.
        ahead: How many items to be ahead and behind.
        weigh: How much room an item takes from its reading to its end.
        max_weight: Of all that are under way; a heavier one is worked on alone.

    Yields:
        What `write` returned, in the items' order, once it is done.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(ahead, "read") as readers, ThreadPoolExecutor(ahead, "write") as writers:
        next_ones: deque[tuple[Item, int]] = deque()
        being_read: deque[tuple[Item, int, Future[Read]]] = deque()
        being_written: deque[tuple[int, Future[Written]]] = deque()
        weight_under_way = 0
        error: Exception | None = None

        def read_on() -> None:
            nonlocal weight_under_way
            while len(being_read) < ahead:
                if not next_ones:
                    next_ones.extend((item, weigh(item)) for item in islice(remaining, 1))
                if not next_ones or (weight_under_way and weight_under_way + next_ones[0][1] > max_weight):
                    return
                item, weight = next_ones.popleft()
                weight_under_way += weight
                being_read.append((item, weight, readers.submit(read, item)))

        def take_written() -> Written:
            nonlocal weight_under_way
            weight, writing = being_written.popleft()
            written = writing.result()
            weight_under_way -= weight
            return written

        read_on()
        while being_read or (being_written and next_ones):
            if not being_read:
                # What comes next waits for room.
                yield take_written()
            try:
                if not being_read:
                    read_on()
                    continue
                item, weight, reading = being_read.popleft()
                made_ready = reading.result()
                read_on()
                computed = compute(item, made_ready)
            except Exception as caught:
                error = caught
                break
            being_written.append((weight, writers.submit(write, item, made_ready, computed)))
            # Large ones are let go of as soon as they are written.
            del item, reading, made_ready, computed
            while len(being_written) > ahead:
                yield take_written()
        for _, _, reading in being_read:
            reading.cancel()
        while being_written:
            yield take_written()
        if error is not None:
            raise error

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

    Yields:
        What `write` returned, in the items' order, once it is done.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(ahead, "read") as readers, ThreadPoolExecutor(ahead, "write") as writers:
        being_read: deque[tuple[Item, Future[Read]]] = deque()
        being_written: deque[Future[Written]] = deque()

        def read_on(count: int) -> None:
            being_read.extend((item, readers.submit(read, item)) for item in islice(remaining, count))

        error: Exception | None = None
        read_on(ahead)
        while being_read and error is None:
            item, reading = being_read.popleft()
            try:
                made_ready = reading.result()
                read_on(1)
                computed = compute(item, made_ready)
            except Exception as caught:
                error = caught
                break
            being_written.append(writers.submit(write, item, made_ready, computed))
            while len(being_written) > ahead:
                yield being_written.popleft().result()
        for _, reading in being_read:
            reading.cancel()
        while being_written:
            yield being_written.popleft().result()
        if error is not None:
            raise error

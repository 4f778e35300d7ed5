# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Requests that wait for the model; those that ask for the same words are computed together."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from .service_limits import Refusal, ServiceLimits

Compute = Callable[[Hashable, list[bytes]], list[Any]]
"""Answers the pictures of one key, in their order."""


@dataclass(eq=False)
class _Waiting:
    key: Hashable
    picture: bytes
    answer: "asyncio.Future[Any]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class RequestQueue:
    """One worker thread that answers requests in their order, several of one key at a time.

    Args:
        compute: Called in the worker thread with a key and the pictures that wait for it.
        limits: `max_waiting`, `batch_size` and `timeout` count.
    """

    def __init__(self, compute: Compute, limits: ServiceLimits) -> None:
        self._compute = compute
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="segmenter")
        self._worker: asyncio.Task[None] | None = None

    @property
    def length(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    async def answer(self, key: Hashable, picture: bytes) -> Any:
        """Waits for the model's answer.

        Raises:
            Refusal: Too many wait (429), or it took too long (503).
            ValueError: What `compute` says of the picture.
        """
        if len(self._waiting) >= self._limits.max_waiting:
            raise Refusal(429, f"{len(self._waiting)} requests are waiting: try again in a moment.", retry_after=1)
        entry = _Waiting(key, picture)
        self._waiting.append(entry)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await asyncio.wait_for(entry.answer, self._limits.timeout)
        except TimeoutError as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
            seconds = f"{self._limits.timeout:g}"
            raise Refusal(503, f"There was no answer within {seconds} seconds: try again.", retry_after=5) from error

    async def close(self) -> None:
        """Answers what waits, then ends the worker thread."""
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                results = await self._run(batch)
            except ValueError:
                # One of them is at fault: each alone, so that the others are answered.
                for entry in batch:
                    await self._answer_alone(entry)
                continue
            except Exception as error:  # whatever it is, nobody may wait for ever
                self._fail(batch, error)
                continue
            for entry, result in zip(batch, results, strict=True):
                if not entry.answer.done():
                    entry.answer.set_result(result)

    def _next_batch(self) -> list[_Waiting]:
        """The request that waits longest, and others of its key."""
        key = self._waiting[0].key
        batch = [entry for entry in self._waiting if entry.key == key][: self._limits.batch_size]
        for entry in batch:
            self._waiting.remove(entry)
        return batch

    async def _answer_alone(self, entry: _Waiting) -> None:
        try:
            (result,) = await self._run([entry])
        except Exception as error:  # given to the one who asked
            self._fail([entry], error)
            return
        if not entry.answer.done():
            entry.answer.set_result(result)

    async def _run(self, batch: list[_Waiting]) -> list[Any]:
        pictures = [entry.picture for entry in batch]
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, batch[0].key, pictures)

    @staticmethod
    def _fail(batch: list[_Waiting], error: Exception) -> None:
        for entry in batch:
            if not entry.answer.done():
                entry.answer.set_exception(error)


__all__ = ["Compute", "RequestQueue"]

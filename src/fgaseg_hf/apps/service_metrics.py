# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a service counts, in Prometheus' text format."""

from contextlib import AbstractContextManager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class ServiceMetrics:
    """Answers, their time with waiting, refusals by status, and how many wait."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        # A registry of its own: several services may live in one process.
        self._registry = CollectorRegistry()
        self._seconds = Histogram("fgaseg_answer_seconds", "Time of an answer, with waiting", registry=self._registry)
        self._refusals = Counter("fgaseg_refusals", "Requests that were refused", ["status"], registry=self._registry)
        self._waiting = Gauge("fgaseg_waiting_requests", "Requests that wait for the model", registry=self._registry)

    def timed(self) -> AbstractContextManager[object]:
        """Measures the block inside."""
        return self._seconds.time()

    def count_refusal(self, status: int) -> None:
        """Counts a request that was refused."""
        self._refusals.labels(str(status)).inc()

    def render(self, num_waiting: int) -> bytes:
        """Writes all of it."""
        self._waiting.set(num_waiting)
        return generate_latest(self._registry)


__all__ = ["ServiceMetrics"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Runs one row in a process of its own, for [`measurement.peak_memory`]: `python benchmarks/row_memory.py ROW`."""

import argparse
import time

import torch
from measurement import answer_and_wait
from workloads import HARD_NEGATIVE_ROWS, ROWS, Row, Workloads


def main() -> None:
    """Runs the row, twice by default as a process that goes on does, and says how long the last time took."""
    parser = argparse.ArgumentParser(description="One row, alone in its process.")
    rows = {**ROWS, **HARD_NEGATIVE_ROWS}
    parser.add_argument("row", nargs="?", choices=list(rows), help="one of the tables' rows")
    parser.add_argument("--classes", type=int, default=171, help="instead of a row: how many classes")
    parser.add_argument("--top", type=int, default=None, help="with --classes: TopK")
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--runs", type=int, default=2, help="how often; the last one is timed")
    arguments = parser.parse_args()
    row = rows[arguments.row] if arguments.row else Row("fgaseg", arguments.classes, arguments.top)
    workloads = Workloads(arguments.batch, arguments.height, arguments.width, getattr(torch, arguments.dtype))
    work = workloads.work(row)
    for _ in range(arguments.runs):
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
    answer_and_wait({"row": row.title, "seconds": round(seconds, 4)})


if __name__ == "__main__":
    main()

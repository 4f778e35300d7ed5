# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Time and memory of a training step that decodes the hardest names alone, beside the published recipe's step.

Run `python benchmarks/hard_negatives.py` on a machine that does nothing else. ViT-B/16, one picture of 384 x 384, words
encoded within the step. Every run of a row follows a run of CLIP's image tower; the median of the ratios counts. Peak
memory is that of a whole process that takes one step, read from outside.
"""

import argparse
import time
from pathlib import Path

from measurement import FOLDER, markdown_table, peak_memory, time_interleaved, write_report
from workloads import HARD_NEGATIVE_ROWS, Workloads

# What 171 names of which 32 are decoded may take: multiples of the tower's time, and GiB.
GOAL_RATIO, GOAL_GIB = 10, 3


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description="A step with hard negatives beside one of the published recipe.")
    parser.add_argument("--rows", nargs="+", choices=list(HARD_NEGATIVE_ROWS), default=list(HARD_NEGATIVE_ROWS))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each row (3)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, all threads")
    parser.add_argument("--no_memory", action="store_true", help="leave out peak memory")
    parser.add_argument("--output", type=Path, default=FOLDER / "results", help="folder of the report")
    parser.add_argument("--name", default="hard_negatives", help="name of the report's files")
    arguments = parser.parse_args()
    # Memory first: nothing else is in the machine's memory yet.
    memory: dict[str, float | None] = {}
    for name in [] if arguments.no_memory else arguments.rows:
        memory[name] = peak_memory(FOLDER / "row_memory.py", name, "--runs", "1")["peak_gib"]
    workloads = Workloads()
    timings = time_interleaved(
        {name: workloads.work(HARD_NEGATIVE_ROWS[name]) for name in arguments.rows},
        workloads.tower_alone(),
        rounds=arguments.rounds,
        budget=float("inf"),
        clock=time.process_time if arguments.clock == "cpu" else time.perf_counter,
        report=lambda line: print(line, flush=True),
    )
    table, rows = [], []
    for name, timing in timings.items():
        row, gib = HARD_NEGATIVE_ROWS[name], memory.get(name)
        goal = f"{GOAL_RATIO} x, {GOAL_GIB} GiB" if row.num_decoded_classes else None
        cells = [row.title, f"{timing.median:.2f} s", f"{timing.ratio:.2f}"]
        table.append([*cells, None if gib is None else f"{gib:.2f} GiB", goal])
        rows.append({"row": name, "title": row.title, **timing.as_dict(), "peak_gib": gib})
    write_report(
        arguments.output,
        arguments.name,
        "A training step of ViT-B/16 on one picture of 384 x 384, float32, random weights, words encoded within it",
        markdown_table(["work", "time", "x tower", "peak memory of the process", "goal"], table),
        rows,
        {"rounds": arguments.rounds, "clock": arguments.clock},
    )


if __name__ == "__main__":
    main()

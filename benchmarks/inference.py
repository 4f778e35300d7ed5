# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Time and memory of inference and of a training step, as multiples of CLIP's image tower in the same run.

Run `python benchmarks/inference.py` (`make bench`) on a machine that does nothing else. ViT-B/16, one picture of
384 x 384, random weights, float32, text embeddings given. Every run of a row follows a run of the tower; the median of
the ratios counts. Peak memory is that of a whole process that runs the row alone, read from outside.
"""

import argparse
import time
from pathlib import Path

import torch
from measurement import FOLDER, Timing, markdown_table, peak_memory, time_interleaved, write_report
from workloads import ROWS, Workloads

MAIN_ROWS = [name for name in ROWS if name != "10000-top16-no-limit"]
TRAINING_ROWS = [name for name in ROWS if ROWS[name].training]


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Times inference and a training step beside CLIP's image tower.")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=MAIN_ROWS, metavar="ROW")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each row (5)")
    parser.add_argument("--budget", type=float, default=12.0, help="seconds after which a row that ran twice rests")
    parser.add_argument("--quick", action="store_true", help="one run of each row, no memory: does it work at all?")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, all threads")
    parser.add_argument("--all_memory", action="store_true", help="peak memory of the models beside FGASeg too")
    parser.add_argument("--no_memory", action="store_true", help="leave out peak memory")
    parser.add_argument("--output", type=Path, default=FOLDER / "results", help="folder of the report")
    parser.add_argument("--name", default="inference", help="name of the report's files")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.no_memory = 1, True
    return arguments


def main() -> None:
    """Prints and writes the table."""
    arguments = parse_arguments()
    # Memory first: nothing else is in the machine's memory yet.
    memory = {}
    if not arguments.no_memory:
        for name in arguments.rows:
            if ROWS[name].model != "fgaseg" and not arguments.all_memory:
                continue
            memory[name] = peak_memory(FOLDER / "row_memory.py", name, "--runs", "1")["peak_gib"]
            print(f"{name}: {memory[name]} GiB", flush=True)

    workloads = Workloads()
    floor = workloads.tower_alone()
    timings: dict[str, Timing] = {}
    # Training rows apart: between them the model of the others need not stay warm.
    for names in (
        [name for name in arguments.rows if name not in TRAINING_ROWS],
        [name for name in arguments.rows if name in TRAINING_ROWS],
    ):
        if names:
            timings |= time_interleaved(
                {name: workloads.work(ROWS[name]) for name in names},
                floor,
                rounds=arguments.rounds,
                budget=arguments.budget,
                fewest=2,
                clock=time.process_time if arguments.clock == "cpu" else time.perf_counter,
                report=lambda line: print(line, flush=True),
            )

    tower_seconds = torch.tensor([value for timing in timings.values() for value in timing.floor_seconds])
    tower = float(tower_seconds.median())
    table = [["CLIP's image tower", f"{tower:.2f} s", "1", None]]
    rows = [{"row": "tower", "title": "CLIP's image tower", "seconds": round(tower, 4), "ratio": 1.0}]
    for name in arguments.rows:
        timing, gib = timings[name], memory.get(name)
        table.append(
            [
                ROWS[name].title,
                f"{timing.median:.2f} s",
                f"{timing.ratio:.2f}",
                None if gib is None else f"{gib:.2f} GiB",
            ]
        )
        rows.append({"row": name, "title": ROWS[name].title, **timing.as_dict(), "peak_gib": gib})
    write_report(
        arguments.output,
        arguments.name,
        "ViT-B/16, one picture of 384 x 384, float32, random weights, text embeddings given (in training: encoded)",
        markdown_table(["work", "time", "x tower", "peak memory of the process"], table),
        rows,
        {"rounds": arguments.rounds, "budget": arguments.budget, "clock": arguments.clock},
    )


if __name__ == "__main__":
    main()

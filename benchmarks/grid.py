# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Batch x resolution x precision x compilation, each beside CLIP's image tower of the same batch and precision.

Run `python benchmarks/grid.py` on a processor, and on a GPU

    python benchmarks/grid.py --device cuda --precisions float32 tf32 bfloat16 --batches 1 8 32 --modes eager compiled

`compiled` is `torch.compile` for these shapes; `graphs` is that with CUDA graphs. The tower is run in the same mode.
What each kernel takes on a GPU comes from `python benchmarks/breakdown.py --device cuda`.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measurement import FOLDER, markdown_table, time_interleaved, write_report
from workloads import Row, Workloads

COMPILE_SETTINGS: dict[str, dict[str, Any]] = {
    "compiled": {"dynamic": False},
    "graphs": {"dynamic": False, "mode": "reduce-overhead"},
}


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Batch x resolution x precision x compilation.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--sides", type=int, nargs="+", default=[384, 640])
    parser.add_argument("--precisions", nargs="+", choices=("float32", "tf32", "bfloat16"), default=["float32"])
    parser.add_argument("--modes", nargs="+", choices=("eager", *COMPILE_SETTINGS), default=["eager"])
    parser.add_argument("--classes", type=int, nargs="+", default=[20, 171])
    parser.add_argument("--tops", type=int, nargs="+", default=[0, 16], help="TopK; 0 keeps all")
    parser.add_argument("--train", action="store_true", help="a training step of every batch too, 171 classes, eager")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=FOLDER / "results")
    parser.add_argument("--name", default="grid")
    return parser.parse_args()


def chosen_rows(arguments: argparse.Namespace, mode: str) -> dict[str, Row]:
    """The rows that the command line asks for, by name; training steps run eagerly only."""
    rows = {
        f"{count} classes, {f'TopK {top}' if top else 'all kept'}": Row("fgaseg", count, top or None)
        for count, top in itertools.product(arguments.classes, arguments.tops)
        if not top or top < count
    }
    if arguments.train and mode == "eager":
        rows["171 classes, training step"] = Row("fgaseg", 171, training=True)
    return rows


def measure(workloads: Workloads, name: str, row: Row, mode: str, rounds: int, is_gpu: bool) -> dict[str, Any]:
    """Times a row beside the tower, both in the same mode; on a GPU, its peak memory too."""
    settings = COMPILE_SETTINGS.get(mode)
    synchronize: Callable[[], object] = torch.cuda.synchronize if is_gpu else lambda: None

    def wrap(model: torch.nn.Module) -> Callable[..., object]:
        return model if settings is None else torch.compile(model, **settings)

    # A program for each row: the settings that a row makes are part of the compiled program.
    torch.compiler.reset()
    floor = workloads.tower_alone(wrap)
    work = workloads.work(row, wrap)
    started = time.perf_counter()
    work()
    synchronize()
    first_seconds = time.perf_counter() - started
    if is_gpu:
        torch.cuda.reset_peak_memory_stats()
    timing = time_interleaved({name: work}, floor, rounds=rounds, synchronize=synchronize)[name]
    gib = round(torch.cuda.max_memory_allocated() / 2**30, 2) if is_gpu else None
    return {
        "row": name,
        **timing.as_dict(),
        "pictures_per_second": round(len(workloads.pixel_values) / timing.median, 2),
        "first_seconds": round(first_seconds, 2),
        "peak_gib": gib,
    }


def main() -> None:
    """Prints and writes the table."""
    arguments = parse_arguments()
    figures: list[dict[str, Any]] = []
    for precision, side, batch, mode in itertools.product(
        arguments.precisions, arguments.sides, arguments.batches, arguments.modes
    ):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        workloads = Workloads(batch, side, side, dtype, arguments.device)
        for name, row in chosen_rows(arguments, mode).items():
            measured = measure(workloads, name, row, mode, arguments.rounds, arguments.device != "cpu")
            settings = {"precision": precision, "side": side, "batch": batch, "mode": mode}
            figures.append({**settings, **measured})
            print(figures[-1], flush=True)
    table = [
        [
            f"{row['row']}, {row['side']} x {row['side']}, batch {row['batch']}, {row['precision']}, {row['mode']}",
            f"{row['seconds']:.4f} s",
            f"{row['ratio']:.2f}",
            row["pictures_per_second"],
            f"{row['first_seconds']:.1f} s",
            row["peak_gib"],
        ]
        for row in figures
    ]
    write_report(
        arguments.output,
        arguments.name,
        "ViT-B/16, random weights, text embeddings given.",
        markdown_table(["work", "time", "x tower", "pictures/s", "first call", "GiB on the GPU"], table),
        figures,
        {key: str(value) for key, value in vars(arguments).items()},
    )


if __name__ == "__main__":
    main()

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


def main() -> None:
    """Prints and writes the table."""
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
    arguments = parser.parse_args()

    is_gpu = arguments.device != "cpu"
    synchronize: Callable[[], object] = torch.cuda.synchronize if is_gpu else lambda: None
    rows, table = [], []
    for precision, side, batch, mode in itertools.product(
        arguments.precisions, arguments.sides, arguments.batches, arguments.modes
    ):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        workloads = Workloads(batch, side, side, dtype, arguments.device)
        settings = COMPILE_SETTINGS.get(mode)

        def wrap(model: torch.nn.Module, settings: dict[str, Any] | None = settings) -> Callable[..., object]:
            return model if settings is None else torch.compile(model, **settings)

        chosen = {
            f"{count} classes, {f'TopK {top}' if top else 'all kept'}": Row("fgaseg", count, top or None)
            for count, top in itertools.product(arguments.classes, arguments.tops)
            if not top or top < count
        }
        if arguments.train and mode == "eager":
            chosen["171 classes, training step"] = Row("fgaseg", 171, training=True)
        floor = workloads.tower_alone(wrap)
        for name, row in chosen.items():
            # A program for each row: the settings that a row makes are part of the compiled program.
            torch.compiler.reset()
            started = time.perf_counter()
            work = workloads.work(row, wrap)
            work()
            synchronize()
            first_seconds = time.perf_counter() - started
            if is_gpu:
                torch.cuda.reset_peak_memory_stats()
            timing = time_interleaved({name: work}, floor, rounds=arguments.rounds, synchronize=synchronize)[name]
            gib = round(torch.cuda.max_memory_allocated() / 2**30, 2) if is_gpu else None
            figures = {
                "precision": precision,
                "side": side,
                "batch": batch,
                "mode": mode,
                "row": name,
                **timing.as_dict(),
                "pictures_per_second": round(batch / timing.median, 2),
                "first_seconds": round(first_seconds, 2),
                "peak_gib": gib,
            }
            rows.append(figures)
            table.append(
                [
                    f"{name}, {side} x {side}, batch {batch}, {precision}, {mode}",
                    f"{timing.median:.4f} s",
                    f"{timing.ratio:.2f}",
                    figures["pictures_per_second"],
                    f"{first_seconds:.1f} s",
                    gib,
                ]
            )
            print(table[-1], flush=True)
    write_report(
        arguments.output,
        arguments.name,
        "ViT-B/16, random weights, text embeddings given.",
        markdown_table(["work", "time", "x tower", "pictures/s", "first call", "GiB on the GPU"], table),
        rows,
        {key: str(value) for key, value in vars(arguments).items()},
    )


if __name__ == "__main__":
    main()

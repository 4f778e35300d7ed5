# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How time and memory grow with the number of classes, the picture's side and the batch, and with which exponent.

Run `python benchmarks/growth.py` on a machine that does nothing else. Every point is a process of its own: the second
of two runs is timed, and the process's peak memory is read from outside.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from measurement import FOLDER, markdown_table, peak_memory, write_report

CLASSES = [1, 5, 20, 50, 171, 256, 500, 847, 2000, 5000, 10_000]
SIDES = [224, 384, 512, 768, 1024, 1536, 2048]
BATCHES = [1, 2, 4, 8, 16, 32]


def exponent(sizes: list[float], values: list[float]) -> float:
    """The slope of a line through the upper half of the points in logarithms: there, constants no longer count."""
    half = len(sizes) // 2
    if len(sizes) - half < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def main() -> None:
    """Prints and writes a table for each axis, and draws them if matplotlib is there."""
    parser = argparse.ArgumentParser(description="How time and memory grow.")
    parser.add_argument("--classes", type=int, nargs="*", default=CLASSES)
    parser.add_argument("--sides", type=int, nargs="*", default=SIDES)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--top", type=int, default=16, help="TopK; 0 keeps all (up to the class limit of 256)")
    parser.add_argument("--output", type=Path, default=FOLDER / "results")
    parser.add_argument("--name", default="growth")
    arguments = parser.parse_args()

    top = [] if arguments.top == 0 else ["--top", str(arguments.top)]
    axes: dict[str, list[tuple[int, list[str]]]] = {
        "classes": [(count, ["--classes", str(count), *top]) for count in arguments.classes],
        "side": [
            (side, ["--classes", "171", *top, "--height", str(side), "--width", str(side)]) for side in arguments.sides
        ],
        "batch": [(count, ["--classes", "171", *top, "--batch", str(count)]) for count in arguments.batches],
    }
    figures: dict[str, list[dict[str, Any]]] = {}
    for axis, points in axes.items():
        figures[axis] = []
        for size, point in points:
            measured = peak_memory(FOLDER / "row_memory.py", *point)
            figures[axis].append({axis: size, "seconds": measured["seconds"], "peak_gib": measured["peak_gib"]})
            print(axis, size, measured, flush=True)

    tables, exponents = [], {}
    for axis, rows in figures.items():
        if not rows:
            continue
        sizes = [float(row[axis]) for row in rows]
        exponents[axis] = {
            "time": round(exponent(sizes, [row["seconds"] for row in rows]), 2),
            "memory": round(exponent(sizes, [row["peak_gib"] for row in rows]), 2),
        }
        table = [[row[axis], f"{row['seconds']:.2f} s", f"{row['peak_gib']:.2f} GiB"] for row in rows]
        table.append(["exponent, upper half", exponents[axis]["time"], exponents[axis]["memory"]])
        tables.append(markdown_table([axis, "time", "peak memory of the process"], table))
    write_report(
        arguments.output,
        arguments.name,
        "Growth: 171 classes, one picture of 384 x 384, float32, "
        + (f"TopK {arguments.top}" if arguments.top else "all kept")
        + ", but for what each table varies.",
        "\n\n".join(tables),
        figures,
        {"top": arguments.top, "exponents": exponents},
    )
    draw(figures, arguments.output / f"{arguments.name}.svg")


def draw(figures: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draws time and memory against each axis, both in logarithms."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: no plot")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = {axis: rows for axis, rows in figures.items() if len(rows) > 1}
    if not drawn:
        return
    figure, all_axes = pyplot.subplots(2, len(drawn), figsize=(4 * len(drawn), 6), squeeze=False)
    for column, (axis, rows) in enumerate(drawn.items()):
        for place, (key, label) in enumerate((("seconds", "seconds"), ("peak_gib", "GiB"))):
            axes = all_axes[place, column]
            sizes = [row[axis] for row in rows]
            values = [row[key] for row in rows]
            axes.loglog(sizes, values, marker="o")
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=60, fontsize=7)
            shown = sorted(values)[:: max(len(values) // 3, 1)]
            axes.set_yticks(shown, [f"{value:.3g}" for value in shown])
            axes.minorticks_off()
            axes.set_xlabel(axis)
            axes.set_ylabel(label)
            axes.grid(True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()

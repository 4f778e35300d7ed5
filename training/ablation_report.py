# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The ablation's table and plot: what the runs' numbers say together."""

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ablation_runs import VARIANTS, AblationArguments, Run

from fgaseg_hf.evaluation.run_description import describe_run, write_atomically


@dataclass(frozen=True)
class Measure:
    """A number of the table: what `train.py` logs of a split under a name."""

    title: str
    split: str
    name: str


MEASURES = {
    "seen": Measure("seen pairs", "validation_seen", "mean_iou/seen"),
    "unseen": Measure("unseen pairs", "validation_unseen", "mean_iou/unseen"),
}


def read_extra_rows(path: str | None) -> dict[str, dict[str, float]]:
    """Reads rows that are not trained here: title to measure to value, from result files of `evaluate.py`.

    Raises:
        ValueError: a result file is missing, or is of another split.
    """
    if path is None:
        return {}
    rows: dict[str, dict[str, float]] = {}
    for title, files in json.loads(Path(path).read_text(encoding="utf-8")).items():
        rows[title] = {}
        for key, measure in MEASURES.items():
            file = Path(path).parent / str(files.get(measure.split))
            if not file.is_file():
                raise ValueError(f"The row {title!r} in {path} needs a result file for {measure.split}.")
            result = json.loads(file.read_text(encoding="utf-8"))
            if result["split"] != measure.split:
                raise ValueError(f"{file} is the result of {result['split']}, not of {measure.split}.")
            group = measure.name.removeprefix("mean_iou/")
            mean_iou = result["result"]["groups"].get(group, {}).get("mean_iou")
            if mean_iou is None:
                raise ValueError(f"{file} has no mIoU of the group {group!r}; measure it with --class_groups.")
            rows[title][key] = float(mean_iou)
    return rows


def summarise(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns a row a variant, in the variants' order: mean and sample standard deviation over its seeds.

    `change` compares each seed with the same seed of the variant above: mean and standard deviation of the differences.
    """
    rows: list[dict[str, Any]] = []
    above: dict[int, dict[str, float]] = {}
    for variant in VARIANTS:
        runs = sorted((run for run in results if run["variant"] == variant), key=lambda run: run["seed"])
        if not runs:
            continue
        values = {
            run["seed"]: {key: run["evaluations"][m.split][m.name] for key, m in MEASURES.items()} for run in runs
        }
        row: dict[str, Any] = {"variant": variant, "title": VARIANTS[variant].title, "seeds": list(values)}
        for key in MEASURES:
            of_seeds = [numbers[key] for numbers in values.values()]
            row[key] = mean_and_deviation(of_seeds) | {"values": of_seeds}
            paired = [values[seed][key] - above[seed][key] for seed in values if seed in above]
            row[key]["change"] = mean_and_deviation(paired) if paired else None
        for name in ("parameters", "parameters_at_inference", "steps", "pictures"):
            row[name] = runs[0][name]
        for name in ("training_seconds", "training_cpu_seconds"):
            row[name] = statistics.mean(run[name] for run in runs)
        rows.append(row)
        above = values
    return rows


def mean_and_deviation(values: Sequence[float]) -> dict[str, float | None]:
    """Returns the mean and the sample standard deviation, which a single value does not have."""
    return {"mean": statistics.mean(values), "deviation": statistics.stdev(values) if len(values) > 1 else None}


def format_table(rows: Sequence[dict[str, Any]], extra_rows: Mapping[str, Mapping[str, float]]) -> str:
    """Formats the rows as a Markdown table, mIoU in per cent as mean ± standard deviation over the seeds."""
    header = ["model", *(f"mIoU, {measure.title}" for measure in MEASURES.values())]
    header += [f"change, {measure.title}" for measure in MEASURES.values()]
    header += ["seeds", "parameters (at inference)", "training, minutes", "of CPU time"]
    table = [header, ["---"] * len(header)]
    for title, values in extra_rows.items():
        table.append([title, *(f"{100 * values[key]:.1f}" for key in MEASURES)])
    for row in rows:
        cells = [row["title"], *(_plus_minus(row[key]) for key in MEASURES)]
        cells += [_plus_minus(row[key]["change"], sign="+") for key in MEASURES]
        cells += [str(len(row["seeds"])), f"{row['parameters']:,} ({row['parameters_at_inference']:,})"]
        cells += [f"{row['training_seconds'] / 60:.1f}", f"{row['training_cpu_seconds'] / 60:.1f}"]
        table.append(cells)
    return "\n".join("| " + " | ".join([*cells, *[""] * (len(header) - len(cells))]) + " |" for cells in table)


def _plus_minus(numbers: dict[str, Any] | None, sign: str = "") -> str:
    if numbers is None:
        return ""
    mean = f"{100 * numbers['mean']:{sign}.1f}"
    return mean if numbers["deviation"] is None else f"{mean} ± {100 * numbers['deviation']:.1f}"


def draw_plot(rows: Sequence[dict[str, Any]], extra_rows: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draws the mIoU of each variant: a dot a seed, a bar from mean minus to mean plus one standard deviation."""
    from matplotlib.figure import Figure

    titles = [*extra_rows, *(row["title"] for row in rows)]
    figure = Figure(figsize=(7, 1.2 + 0.55 * len(titles)), layout="constrained")
    axes = figure.subplots()
    for colour, (shift, (key, measure)) in zip(
        ("#1b6ca8", "#d1603d"), zip((0.13, -0.13), MEASURES.items(), strict=True), strict=True
    ):
        places = [len(titles) - 1 - place + shift for place in range(len(titles))]
        for place, values in zip(places, extra_rows.values(), strict=False):
            axes.plot(100 * values[key], place, "D", color=colour, markersize=7)
        of_rows = list(zip(places[len(extra_rows) :], rows, strict=True))
        axes.errorbar(
            [100 * row[key]["mean"] for _, row in of_rows],
            [place for place, _ in of_rows],
            xerr=[100 * (row[key]["deviation"] or 0) for _, row in of_rows],
            fmt="s",
            color=colour,
            capsize=4,
            markersize=7,
            label=measure.title,
        )
        for place, row in of_rows:
            axes.plot([100 * value for value in row[key]["values"]], [place] * len(row["seeds"]), ".", color=colour)
    axes.set_yticks(range(len(titles)), titles[::-1])
    axes.set_xlabel("mIoU in per cent: mean (square), standard deviation (bar), seeds (dots)")
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=150)


def write_report(
    runs: Sequence[Run], arguments: AblationArguments, command: Sequence[str] | None = None
) -> dict[str, Any]:
    """Writes ablation.json, ablation.md and ablation.png of the runs that are finished; returns the first's content."""
    folder = Path(arguments.report_dir or str(arguments.output_dir))
    folder.mkdir(parents=True, exist_ok=True)
    results = [result for run in runs if (result := run.result()) is not None]
    extra_rows = read_extra_rows(arguments.extra_rows)
    rows = summarise(results)
    report = {
        **describe_run(command),
        "arguments": dataclasses.asdict(arguments) | {"recipe": [Path(path).name for path in arguments.recipe]},
        "recipe": [yaml.safe_load(Path(path).read_text(encoding="utf-8")) for path in arguments.recipe_files()],
        "measures": {key: dataclasses.asdict(measure) for key, measure in MEASURES.items()},
        "num_planned_runs": len(runs),
        "rows": rows,
        "extra_rows": extra_rows,
        "runs": results,
    }
    write_atomically(folder / "ablation.json", json.dumps(report, indent=2) + "\n")
    if rows:
        write_atomically(folder / "ablation.md", format_table(rows, extra_rows) + "\n")
        draw_plot(rows, extra_rows, folder / "ablation.png")
    return report

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Where a row's time goes, block by block and operator by operator (torch.profiler).

Run `python benchmarks/breakdown.py --row 171-top16`. Times are those of the processor, all threads added up unless
`--device cuda`, where the kernels' time counts.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measurement import FOLDER, markdown_table, write_report
from torch.profiler import ProfilerActivity, profile, record_function
from workloads import ROWS, Workloads

from fgaseg_hf import FGASegForSemanticSegmentation
from fgaseg_hf.model import aggregation_composition, decoder_plan

# Blocks by what does their work; none lies within another. The decoder's are those of its plan: it would be computed
# block by block if a block's own `forward` were replaced.
BLOCKS = {
    "image tower": "fgaseg.vision_model",
    "text tower": "fgaseg.text_model",
    "upsampling guidance": "fgaseg.upsampling_guidance",
    "P2Tformer": "fgaseg.p2tformer",
    "local pseudo-masks": "fgaseg.local_pseudo_masks",
    "alignment head": "alignment_head",
}
PLANNED: list[tuple[str, Any, str]] = [
    ("first scores", decoder_plan.DecoderPlan, "_first_scores"),
    ("embedding and first fusion", decoder_plan.DecoderPlan, "_embed"),
    ("spatial aggregation", aggregation_composition, "_attend_in_cut_windows"),
    ("spatial aggregation", aggregation_composition, "_attend_in_window_grid"),
    ("class aggregation", aggregation_composition, "_aggregate_classes"),
    ("second fusion", decoder_plan, "_fuse_with_masks"),
    ("upsampling", decoder_plan, "_raise_costs"),
    ("local upsampling", decoder_plan.DecoderPlan, "_raise_masks"),
    ("heads", decoder_plan, "_classify"),
]


def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets the profiler see a function under a name."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with record_function(f"block: {name}"):
            return function(*args, **kwargs)

    return run


def name_blocks(model: FGASegForSemanticSegmentation) -> None:
    """Lets the profiler see the model's blocks."""
    for name, path in BLOCKS.items():
        try:
            block = model.get_submodule(path)
        except AttributeError:
            continue
        block.forward = named(name, block.forward)
    for name, owner, attribute in PLANNED:
        setattr(owner, attribute, named(name, getattr(owner, attribute)))


def main() -> None:
    """Prints and writes both tables."""
    parser = argparse.ArgumentParser(description="Where the time of a row goes.")
    parser.add_argument("--row", choices=[name for name in ROWS if ROWS[name].model != "clipseg"], default="171-top16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--operators", type=int, default=15, help="how many operators to list")
    parser.add_argument("--output", type=Path, default=FOLDER / "results")
    parser.add_argument("--name", default=None, help="name of the report's files")
    arguments = parser.parse_args()

    workloads = Workloads(arguments.batch, dtype=getattr(torch, arguments.dtype), device=arguments.device)
    row = ROWS[arguments.row]
    model = workloads.fgaseg if row.model == "fgaseg" else workloads.catseg
    work = workloads.work(row)
    # The first runs fetch memory that the later ones find at hand.
    for _ in range(1 if row.training else 3):
        work()
    name_blocks(model)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if arguments.device != "cpu" else [])
    with profile(activities=activities) as profiler, record_function("block: all"):
        work()
    attribute = "cpu_time_total" if arguments.device == "cpu" else "device_time_total"
    events = profiler.key_averages()
    times = {event.key: getattr(event, attribute) / 1e6 for event in events if event.key.startswith("block: ")}
    total = times.pop("block: all")
    times = {name.removeprefix("block: "): seconds for name, seconds in times.items()}
    times["all else"] = total - sum(times.values())
    rows = [
        {"block": name, "seconds": round(seconds, 4), "share": round(seconds / total, 4)}
        for name, seconds in sorted(times.items(), key=lambda item: -item[1])
    ]
    table = markdown_table(
        ["block", "time", "share"], [[row["block"], f"{row['seconds']:.3f} s", f"{row['share']:.1%}"] for row in rows]
    )
    self_attribute = "self_" + attribute
    operators = [event for event in events if not event.key.startswith("block: ")]
    operators.sort(key=lambda event: -getattr(event, self_attribute))
    operator_rows = [
        {"operator": event.key, "seconds": round(getattr(event, self_attribute) / 1e6, 4), "calls": event.count}
        for event in operators[: arguments.operators]
    ]
    operator_table = markdown_table(
        ["operator", "time of its own", "calls"],
        [[row["operator"], f"{row['seconds']:.3f} s", row["calls"]] for row in operator_rows],
    )
    write_report(
        arguments.output,
        arguments.name or f"breakdown-{arguments.row}",
        f"{row.title}: where {total:.2f} s go." + (" Backward: under all else." if row.training else ""),
        f"{table}\n\n{operator_table}",
        {"blocks": rows, "operators": operator_rows},
        {"row": arguments.row, "dtype": arguments.dtype, "device": arguments.device, "batch": arguments.batch},
    )


if __name__ == "__main__":
    main()

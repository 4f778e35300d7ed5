# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains FGASeg with its parts added one after the other, several seeds each, and writes a table and a plot.

    fgaseg export-clip src/fgaseg_hf/builtin_model --out runs/scenes_clip
    python training/ablate.py --dataset scenes --tokenizer runs/scenes_clip --class_groups scenes/class_groups.json \
        --train_arguments "--clip runs/scenes_clip" --output_dir runs/ablation

Each run is `fgaseg train` in a process of its own, with the same recipe, steps, pictures and seeds for all. The same
command goes on where it was stopped or killed: finished runs are skipped, the others resume from their last
checkpoint. The report is written anew after each run, so it can be read while the rest still trains.
"""

import dataclasses
import importlib.util
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from ablation_report import MEASURES, format_table, read_extra_rows, write_report
from ablation_runs import VARIANTS, AblationArguments, Run, train_all
from transformers.utils.logging import disable_progress_bar

from fgaseg_hf.data.class_list_files import load_class_groups
from fgaseg_hf.data.split_rows import folder_stamp
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script
from fgaseg_hf.evaluation.run_description import write_atomically
from fgaseg_hf.training.training_arguments import parse_training_arguments

PLAN_FILE = "plan.json"


def check_plan(arguments: AblationArguments, runs: Sequence[Run]) -> None:
    """Writes what all runs have in common, or compares it with what an earlier command wrote.

    Raises:
        ValueError: `train.py` would refuse the arguments, they do not measure what the table shows, or the folder holds
            runs of another recipe, data set or further arguments.
    """
    # The full model has no switches of its own: what overrides there are come from the recipe or --train_arguments.
    without_switches = dataclasses.replace(runs[0], variant="full").command(arguments)[3:]
    model, data, _ = parse_training_arguments(without_switches)
    if model.config_overrides is not None:
        raise ValueError("Recipe and --train_arguments cannot hold config_overrides, which tell the variants apart.")
    class_groups = load_class_groups(str(arguments.class_groups))
    for measure in MEASURES.values():
        if measure.split not in (data.evaluation_splits or ()):
            raise ValueError(f"The recipe must evaluate on {measure.split}; add it to its evaluation_splits.")
        if measure.name.removeprefix("mean_iou/") not in class_groups:
            raise ValueError(f"--class_groups must hold the group of {measure.title} that {measure.name} is about.")
    plan = {
        "recipe": [yaml.safe_load(Path(path).read_text(encoding="utf-8")) for path in arguments.recipe_files()],
        "dataset": str(Path(str(arguments.dataset)).resolve()),
        "tokenizer": str(arguments.tokenizer),
        "class_groups": json.loads(Path(str(arguments.class_groups)).read_text(encoding="utf-8")),
        "train_arguments": shlex.split(arguments.train_arguments),
    }
    # the files themselves too: runs on data that were corrected are not those of the data before
    folders = [str(arguments.dataset), str(arguments.tokenizer), *shlex.split(arguments.train_arguments)]
    plan["state of the files"] = {name: folder_stamp(Path(name)) for name in folders if Path(name).is_dir()}
    path = Path(str(arguments.output_dir)) / PLAN_FILE
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name, value in plan.items() if name in before and before[name] != value]
        if changed:
            raise ValueError(
                f"{path.parent} holds runs with another {changed[0]}; name another --output_dir, or repeat the old "
                "command."
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(plan, indent=2) + "\n")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains and reports as the arguments say; returns what ablation.json holds."""
    disable_progress_bar()  # of the models that are loaded for the report
    (options,) = parse_arguments((AblationArguments,), arguments, description=__doc__)
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError('The plot needs matplotlib, which is not installed: pip install "fgaseg_hf[demo]".')
    read_extra_rows(options.extra_rows)
    # All variants with the first seed, then with the next: what there is of a cut-off ablation can be compared.
    runs = [
        Run(variant, seed, Path(options.output_dir) / f"{variant}_seed{seed}")
        for seed in options.seeds
        for variant in VARIANTS
        if variant in options.variants
    ]
    check_plan(options, runs)
    finished = train_all(runs, options, lambda: write_report(runs, options, arguments))
    report = write_report(runs, options, arguments)
    if report["rows"]:
        print(format_table(report["rows"], report["extra_rows"]))
    if not finished:
        print(f"Stopped with {len(report['runs'])} of {len(runs)} runs finished; the same command goes on.")
        sys.exit(1)
    return report


if __name__ == "__main__":
    run_script(main)

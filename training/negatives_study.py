# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
r"""Random against hard negatives: the same recipe, steps, pictures and seeds, and as many names decoded a picture.

    python training/scenes/scenes.py --out scenes --num_train 4000 --size 192
    fgaseg export-clip src/fgaseg_hf/builtin_model --out runs/scenes_clip
    python training/negatives_study.py --dataset scenes --output_dir runs/negatives \
        --train_arguments "--clip runs/scenes_clip"

"random" asks each picture for its own names and sampled others; "hard" asks it for all names that training may see,
scores them by the first map, and decodes its own and the hardest others (`num_decoded_classes`). Both are measured on
held-out scenes with the picture's names among 8 others, and among all. The same command goes on where it was stopped.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from fgaseg_hf.data.class_list_files import load_class_groups
from fgaseg_hf.evaluation import evaluate
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script
from fgaseg_hf.evaluation.run_description import write_atomically
from fgaseg_hf.training.training_log import LOG_FILE

KINDS = ("random", "hard")
SPLITS = ("validation_seen", "validation_unseen")
VOCABULARIES = ("picture+8", "all")


@dataclass
class StudyArguments:
    """What is compared, and on what."""

    dataset: str | None = field(default=None, metadata={"help": "folder of scenes, with its class_groups.json"})
    output_dir: str | None = field(default=None, metadata={"help": "where runs and results go"})
    recipe: str = field(default="ablation", metadata={"help": "configuration of both: its name, or a file"})
    num_names: int = field(default=12, metadata={"help": "names that each picture decodes"})
    max_steps: int = field(default=600, metadata={"help": "optimiser steps of a run"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "a run each of both kinds"})
    num_pictures: int = field(default=100, metadata={"help": "pictures of each split to measure on"})
    train_arguments: str = field(default="", metadata={"help": "further arguments of `fgaseg train`, in one string"})

    def __post_init__(self) -> None:
        if self.dataset is None or self.output_dir is None:
            raise ValueError("--dataset, a folder of scenes, and --output_dir must be given.")
        if not (Path(self.dataset) / "class_groups.json").is_file():
            raise ValueError(
                f"There is no class_groups.json in {self.dataset}, which training/scenes/scenes.py writes."
            )


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Runs what is missing, prints the table, and returns the results."""
    (options,) = parse_arguments((StudyArguments,), arguments, description=__doc__)
    results = []
    for seed in options.seeds:
        for kind in KINDS:
            folder = Path(options.output_dir) / f"{kind}-{seed}"
            file = folder / "negatives.json"
            if not file.is_file():
                train(options, kind, seed, folder)
                write_atomically(file, json.dumps(measure(options, kind, seed, folder), indent=2) + "\n")
            results.append(json.loads(file.read_text(encoding="utf-8")))
    print(format_table(results))
    return results


def train(options: StudyArguments, kind: str, seed: int, folder: Path) -> None:
    """Trains in a process of its own, and goes on where one was stopped.

    Raises:
        ValueError: the run failed; it has said why.
    """
    groups = Path(str(options.dataset)) / "class_groups.json"
    num_seen = len(load_class_groups(str(groups))["seen"])
    words = [sys.executable, "-m", "fgaseg_hf.training.train", "--config", options.recipe]
    words += ["--dataset", str(options.dataset), "--class_groups", str(groups), "--resume"]
    words += ["--max_steps", str(options.max_steps), "--evaluation_steps", str(options.max_steps)]
    words += ["--num_evaluation_pictures", "1", "--seed", str(seed), "--output_dir", str(folder)]
    if kind == "random":
        words += ["--num_sampled_classes", str(options.num_names)]
    else:
        # with so many names, 255 is one of them
        fields = f"num_decoded_classes={options.num_names},class_limit=null,semantic_loss_ignore_index=-100"
        words += ["--num_sampled_classes", str(num_seen), "--config_overrides", fields]
    words += shlex.split(options.train_arguments)
    if subprocess.run(words, env=os.environ, check=False).returncode:
        raise ValueError(f"The run {folder.name} failed; the same command goes on when that is mended.")


def measure(options: StudyArguments, kind: str, seed: int, folder: Path) -> dict[str, Any]:
    """Measures the last model on both splits with both vocabularies, beside what its log says of time and memory."""
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    last = [line for line in lines if "loss" in line][-1]
    result: dict[str, Any] = {"kind": kind, "seed": seed, "steps": options.max_steps, "num_names": options.num_names}
    result |= {name: last[name] for name in ("cpu_seconds", "peak_memory_gib") if name in last}
    for split in SPLITS:
        for vocabulary in VOCABULARIES:
            words = ["--model", str(folder / "last"), "--dataset", str(options.dataset), "--split", split]
            report = evaluate.main([*words, "--vocabulary", vocabulary, "--num_pictures", str(options.num_pictures)])
            result[f"{split}/{vocabulary}"] = report["result"]["mean_iou"]
    return result


def format_table(results: Sequence[dict[str, Any]]) -> str:
    """A row a kind, means over the seeds."""
    measures = [f"{split}/{vocabulary}" for split in SPLITS for vocabulary in VOCABULARIES]
    head = ["negatives", *measures, "CPU seconds", "GiB", "seeds"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for kind in KINDS:
        rows = [result for result in results if result["kind"] == kind]
        shares = [f"{100 * mean(row[name] for row in rows):.1f} %" for name in measures]
        seconds = f"{mean(row['cpu_seconds'] for row in rows):.0f}"
        memory = f"{max(row.get('peak_memory_gib', 0.0) for row in rows):.2f}"
        lines.append([kind, *shares, seconds, memory, str(len(rows))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    run_script(main)

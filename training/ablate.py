# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains FGASeg with its parts added one after the other, several seeds each, and writes a table and a plot.

    fgaseg export-clip src/fgaseg_hf/builtin_model --out runs/scenes_clip
    python training/ablate.py --dataset scenes --tokenizer runs/scenes_clip --class_groups scenes/class_groups.json \
        --train_arguments "--clip runs/scenes_clip" --output_dir runs/ablation

Each run is `train.py` in a process of its own, with the same recipe, steps, pictures and seeds for all variants. The
same command goes on where it was stopped or killed: finished runs are skipped, the others resume from their last
checkpoint. The report is written anew after each run, so it can be read while the rest still trains.
"""

import dataclasses
import fcntl
import importlib.util
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers.utils.logging import disable_progress_bar

from fgaseg_hf import FGASegForSemanticSegmentation
from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script
from fgaseg_hf.evaluation.run_description import describe_run, write_atomically
from fgaseg_hf.evaluation.segmentation_metrics import load_class_groups
from fgaseg_hf.training.train import ARGUMENTS_FILE, LOG_FILE, ModelArguments, RecipeArguments, TrainingDataArguments

PLAN_FILE = "plan.json"
DEFAULT_RECIPE = str(Path(__file__).parent / "configs" / "ablation.yaml")


@dataclass(frozen=True)
class Variant:
    """A model of the ablation.

    Attributes:
        title: what the table calls it.
        switches: fields of `FGASegConfig` that differ from the full model's.
    """

    title: str
    switches: dict[str, Any]


WITHOUT_P2TFORMER = {"p2tformer_num_layers": 0}
WITHOUT_ALIGNMENT_LOSS = {"use_alignment_head": False}
WITHOUT_LOCAL_MASKS = {"use_local_pseudo_masks": False}
WITHOUT_AUXILIARY_HEADS = {"use_auxiliary_heads": False}

# Each has one part more than the one before: from CAT-Seg to FGASeg.
VARIANTS = {
    "baseline": Variant(
        "baseline (CAT-Seg)",
        WITHOUT_P2TFORMER | WITHOUT_ALIGNMENT_LOSS | WITHOUT_LOCAL_MASKS | WITHOUT_AUXILIARY_HEADS,
    ),
    "p2tformer": Variant("+ P2Tformer", WITHOUT_ALIGNMENT_LOSS | WITHOUT_LOCAL_MASKS | WITHOUT_AUXILIARY_HEADS),
    "alignment_loss": Variant("+ alignment loss", WITHOUT_LOCAL_MASKS | WITHOUT_AUXILIARY_HEADS),
    "local_masks": Variant("+ local masks", WITHOUT_AUXILIARY_HEADS),
    "full": Variant("+ auxiliary heads (full)", {}),
}


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


@dataclass
class AblationArguments:
    """What is trained, and where the report goes."""

    output_dir: str | None = field(default=None, metadata={"help": "folder of the runs"})
    report_dir: str | None = field(
        default=None,
        metadata={"help": "folder of ablation.json, ablation.md and ablation.png; output_dir if not given"},
    )
    recipe: list[str] = field(
        default_factory=lambda: [DEFAULT_RECIPE], metadata={"help": "YAML files that train.py takes as --config"}
    )
    dataset: str | None = field(default=None, metadata={"help": "generated scenes: folder in the Hub's layout"})
    tokenizer: str | None = field(default=None, metadata={"help": "tokenizer of the models"})
    class_groups: str | None = field(default=None, metadata={"help": "JSON file of the seen and the unseen names"})
    variants: list[str] = field(default_factory=lambda: list(VARIANTS), metadata={"help": "which models to train"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds of each of them"})
    num_parallel_runs: int = field(default=1, metadata={"help": "runs at a time"})
    num_threads: int = field(default=1, metadata={"help": "threads of each run"})
    train_arguments: str = field(
        default="", metadata={"help": "further arguments of train.py for every run, as in '--max_steps 100'"}
    )
    extra_rows: str | None = field(
        default=None,
        metadata={
            "help": "JSON file of rows that are not trained here, title to split to result file of evaluate.py: "
            '{"training-free": {"validation_seen": "seen.json", "validation_unseen": "unseen.json"}}'
        },
    )

    def __post_init__(self) -> None:
        for name in ("output_dir", "dataset", "tokenizer", "class_groups"):
            if getattr(self, name) is None:
                raise ValueError(f"--{name} is missing; see --help.")
        unknown = sorted(set(self.variants) - set(VARIANTS))
        if unknown or not self.variants:
            raise ValueError(f"--variants must be some of {', '.join(VARIANTS)}, but holds {unknown}.")
        for name in ("variants", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"--{name} is {values}, but must name at least one, and each once.")
        for name in ("num_parallel_runs", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}, but must be at least 1.")
        for path in (*self.recipe, self.class_groups, *([self.extra_rows] if self.extra_rows else [])):
            if path is None or not Path(path).is_file():
                raise ValueError(f"There is no file {path}; give another to --recipe, --class_groups or --extra_rows.")


@dataclass(frozen=True)
class Run:
    """One training of the ablation, in a folder of its own."""

    variant: str
    seed: int
    folder: Path

    def command(self, arguments: AblationArguments) -> list[str]:
        """Returns the words of the command that trains it, or goes on with it."""
        overrides = ",".join(f"{name}={json.dumps(value)}" for name, value in VARIANTS[self.variant].switches.items())
        words = [sys.executable, str(Path(__file__).with_name("train.py")), "--config", *arguments.recipe]
        words += ["--dataset", str(arguments.dataset), "--tokenizer", str(arguments.tokenizer)]
        words += ["--class_groups", str(arguments.class_groups), *shlex.split(arguments.train_arguments)]
        words += ["--config_overrides", overrides] if overrides else []
        return [*words, "--seed", str(self.seed), "--output_dir", str(self.folder), "--resume"]

    def evaluations(self) -> dict[str, dict[str, float]] | None:
        """Returns the numbers of each split after the last step; None if the run has not come so far."""
        if not (self.folder / "last" / "model.safetensors").is_file():
            return None
        planned = json.loads((self.folder / ARGUMENTS_FILE).read_text(encoding="utf-8"))
        found: dict[str, dict[str, float]] = {}
        for line in self._log():
            for split in planned["evaluation_splits"] or ():
                if line["step"] == planned["max_steps"] and f"{split}/mean_iou" in line:
                    values = {name.removeprefix(f"{split}/"): value for name, value in line.items() if name != "step"}
                    found[split] = {name: value for name, value in values.items() if isinstance(value, float)}
        return found if set(found) == set(planned["evaluation_splits"] or ()) else None

    def result(self) -> dict[str, Any] | None:
        """Returns what the report says of a finished run, or None."""
        evaluations = self.evaluations()
        if evaluations is None:
            return None
        planned = json.loads((self.folder / ARGUMENTS_FILE).read_text(encoding="utf-8"))
        *_, last = (line for line in self._log() if "loss" in line)
        model = FGASegForSemanticSegmentation.from_pretrained(self.folder / "last")
        head = model.alignment_head
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        only_training = sum(parameter.numel() for parameter in head.parameters()) if head is not None else 0
        return {
            "variant": self.variant,
            "seed": self.seed,
            "switches": VARIANTS[self.variant].switches,
            "steps": last["step"],
            "pictures": last["step"] * planned["batch_size"],
            "training_seconds": last["seconds"],
            "training_cpu_seconds": last["cpu_seconds"],
            "parameters": num_parameters,
            "parameters_at_inference": num_parameters - only_training,
            "last_losses": {name: value for name, value in last.items() if "loss" in name},
            "evaluations": evaluations,
        }

    def _log(self) -> Iterator[dict[str, Any]]:
        with (self.folder / LOG_FILE).open(encoding="utf-8") as file:
            yield from (json.loads(line) for line in file if line.endswith("\n"))


class RunningProcesses:
    """The training processes of this moment, which a signal stops with a checkpoint each."""

    def __init__(self) -> None:
        self.stop_requested = False
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def train(self, run: Run, arguments: AblationArguments) -> int | None:
        """Trains one run to its end and returns the exit status; None if it was not started any more.

        Raises:
            ValueError: another process, perhaps one that outlived a killed command, is still training in the folder.
        """
        run.folder.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"OMP_NUM_THREADS": str(arguments.num_threads), "TOKENIZERS_PARALLELISM": "false"}
        with (run.folder / "lock").open("w") as lock, (run.folder / "output.txt").open("ab") as output:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"Another process is still training in {run.folder}; wait for it, or end it, and try again."
                ) from None
            with self._lock:
                if self.stop_requested:
                    return None
                # The process inherits the lock, so that the folder stays locked if this script alone is killed; and it
                # is no part of the terminal's foreground group, so that Ctrl-C reaches it once, through `stop`.
                process = subprocess.Popen(
                    run.command(arguments),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    pass_fds=(lock.fileno(),),
                    process_group=0,
                )
                self._processes.add(process)
            if self.stop_requested:  # by a signal that came between the question above and the process's start
                process.send_signal(signal.SIGTERM)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._processes.discard(process)

    def stop(self, *_: Any) -> None:
        """Starts no further run and ends the present ones after a checkpoint; a signal handler, too."""
        self.stop_requested = True
        for process in list(self._processes):
            process.send_signal(signal.SIGTERM)

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Makes SIGTERM and SIGINT call `stop`."""
        previous = {number: signal.signal(number, self.stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def train_all(runs: Sequence[Run], arguments: AblationArguments, report: Callable[[], Any]) -> bool:
    """Trains the runs that are not finished; calls `report` after each, and returns whether all are.

    Raises:
        RuntimeError: a run failed; the others have been stopped with checkpoints.
    """
    processes = RunningProcesses()
    report_lock = threading.Lock()

    def train(run: Run) -> None:
        if processes.stop_requested:
            return
        if run.evaluations() is not None:
            print(f"{run.folder.name}: finished before", flush=True)
            return
        print(f"{run.folder.name}: training", flush=True)
        try:
            status = processes.train(run, arguments)
            if status is not None and not processes.stop_requested and (status or run.evaluations() is None):
                lines = (run.folder / "output.txt").read_text(encoding="utf-8", errors="replace").splitlines()
                raise RuntimeError(
                    f"The run {run.folder.name} ended with status {status}, see {run.folder / 'output.txt'}: "
                    f"{lines[-1] if lines else ''}"
                )
        except BaseException:
            processes.stop()
            raise
        with report_lock:
            report()

    # One thread a run: it only waits for its process. Signals are handled in this, the main thread.
    with processes.stopping_on_signals(), ThreadPoolExecutor(arguments.num_parallel_runs) as pool:
        waiting = [pool.submit(train, run) for run in runs]
    for future in waiting:
        future.result()
    return not processes.stop_requested


def check_plan(arguments: AblationArguments, runs: Sequence[Run]) -> None:
    """Writes what all runs have in common, or compares it with what an earlier command wrote.

    Raises:
        ValueError: `train.py` would refuse the arguments, they do not measure what the table shows, or the folder holds
            runs of another recipe, data set or further arguments.
    """
    kinds = (ModelArguments, TrainingDataArguments, RecipeArguments)
    # The full model has no switches of its own: what overrides there are come from the recipe or --train_arguments.
    without_switches = dataclasses.replace(runs[0], variant="full").command(arguments)[2:]
    model, data, _ = parse_arguments(kinds, without_switches)
    if model.config_overrides is not None:
        raise ValueError("Recipe and --train_arguments cannot hold config_overrides, which tell the variants apart.")
    class_groups = load_class_groups(str(arguments.class_groups))
    for measure in MEASURES.values():
        if measure.split not in (data.evaluation_splits or ()):
            raise ValueError(f"The recipe must evaluate on {measure.split}; add it to its evaluation_splits.")
        if measure.name.removeprefix("mean_iou/") not in class_groups:
            raise ValueError(f"--class_groups must hold the group of {measure.title} that {measure.name} is about.")
    plan = {
        "recipe": [yaml.safe_load(Path(path).read_text(encoding="utf-8")) for path in arguments.recipe],
        "dataset": str(Path(str(arguments.dataset)).resolve()),
        "tokenizer": str(arguments.tokenizer),
        "class_groups": json.loads(Path(str(arguments.class_groups)).read_text(encoding="utf-8")),
        "train_arguments": shlex.split(arguments.train_arguments),
    }
    path = Path(str(arguments.output_dir)) / PLAN_FILE
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name, value in plan.items() if before.get(name) != value]
        if changed:
            raise ValueError(
                f"{path.parent} holds runs with another {changed[0]}; name another --output_dir, or repeat the old "
                "command."
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(plan, indent=2) + "\n")


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
        "recipe": [yaml.safe_load(Path(path).read_text(encoding="utf-8")) for path in arguments.recipe],
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

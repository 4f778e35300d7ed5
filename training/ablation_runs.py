# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The runs of the ablation: which models there are, and how each is trained in a process of its own."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgaseg_hf import FGASegForSemanticSegmentation
from fgaseg_hf.evaluation.command_line_arguments import find_config
from fgaseg_hf.training.run_folder import read_arguments
from fgaseg_hf.training.training_arguments import CONFIG_FOLDER
from fgaseg_hf.training.training_log import LOG_FILE

DEFAULT_RECIPE = "ablation"


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


@dataclass
class AblationArguments:
    """What is trained, and where the report goes."""

    output_dir: str | None = field(default=None, metadata={"help": "folder of the runs"})
    report_dir: str | None = field(
        default=None,
        metadata={"help": "folder of ablation.json, ablation.md and ablation.png; output_dir if not given"},
    )
    recipe: list[str] = field(
        default_factory=lambda: [DEFAULT_RECIPE],
        metadata={"help": "what `fgaseg train` takes as --config"},
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
        self.recipe_files()
        for name in ("num_parallel_runs", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}, but must be at least 1.")
        for path in (self.class_groups, *([self.extra_rows] if self.extra_rows else [])):
            if path is None or not Path(path).is_file():
                raise ValueError(f"There is no file {path}; give another to --class_groups or --extra_rows.")

    def recipe_files(self) -> list[Path]:
        """Returns the recipe's files, in which later ones win."""
        return [find_config(name, CONFIG_FOLDER) for name in self.recipe]


@dataclass(frozen=True)
class Run:
    """One training of the ablation, in a folder of its own."""

    variant: str
    seed: int
    folder: Path

    def command(self, arguments: AblationArguments) -> list[str]:
        """Returns the words of the command that trains it, or goes on with it."""
        overrides = ",".join(f"{name}={json.dumps(value)}" for name, value in VARIANTS[self.variant].switches.items())
        words = [sys.executable, "-m", "fgaseg_hf.training.train", "--config", *arguments.recipe]
        words += ["--dataset", str(arguments.dataset), "--tokenizer", str(arguments.tokenizer)]
        words += ["--class_groups", str(arguments.class_groups), *shlex.split(arguments.train_arguments)]
        words += ["--config_overrides", overrides] if overrides else []
        return [*words, "--seed", str(self.seed), "--output_dir", str(self.folder), "--resume"]

    def evaluations(self) -> dict[str, dict[str, float]] | None:
        """Returns the numbers of each split after the last step; None if the run has not come so far."""
        if not (self.folder / "last" / "model.safetensors").is_file():
            return None
        planned = read_arguments(self.folder)
        if planned is None:
            return None
        found: dict[str, dict[str, float]] = {}
        for line in self._log():
            for split in planned["evaluation_splits"] or ():
                if line["step"] == planned["max_steps"] and f"{split}/mean_iou" in line:
                    values = {name.removeprefix(f"{split}/"): value for name, value in line.items() if name != "step"}
                    found[split] = {name: value for name, value in values.items() if isinstance(value, float)}
        return found if set(found) == set(planned["evaluation_splits"] or ()) else None

    def result(self) -> dict[str, Any] | None:
        """Returns what the report says of a finished run, or None."""
        evaluations, planned = self.evaluations(), read_arguments(self.folder)
        if evaluations is None or planned is None:
            return None
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

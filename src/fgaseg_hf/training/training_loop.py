# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The loop: steps, and between them the log, evaluations and checkpoints."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from ..data.streamed_samples import StreamedSamples
from .checkpoints import LoopState, save_checkpoint
from .evaluation_in_training import evaluate_in_training
from .run_folder import save_model
from .run_processes import RunProcesses
from .training_arguments import RecipeArguments
from .training_data import TrainingData, batches_of_process, stream_of_process
from .training_log import TrainingLog
from .training_step import StepNumbers, UnreadStep, train_step


@dataclass(kw_only=True)
class TrainingLoop:
    """What the loop works on.

    Attributes:
        recipe: how it trains.
        folder: the run's.
        accelerator: the run's.
        processes: the run's.
        model: as Accelerate prepared it.
        optimizer: likewise.
        peak_rates: of the optimiser's groups.
        processor: the model's.
        data: what it trains and measures on.
        log: the run's.
        state: how far it has come.
        say: prints on the main process.
        stop_requested: set by a signal: the loop ends after the present step, with a checkpoint.
    """

    recipe: RecipeArguments
    folder: Path
    accelerator: Accelerator
    processes: RunProcesses
    model: torch.nn.Module
    optimizer: Any
    peak_rates: list[float]
    processor: Any
    data: TrainingData
    log: TrainingLog
    state: LoopState
    say: Callable[[str], None]
    stop_requested: bool = False
    _unread: list[UnreadStep] = field(default_factory=list, init=False)

    def run(self) -> LoopState:
        """Trains until the last step, the time limit or a signal; returns the state in which it stopped.

        Raises:
            TrainingDiverged: a loss or gradient is not finite.
        """
        recipe, state = self.recipe, self.state
        last_step = min(recipe.max_steps, recipe.stop_at_step or recipe.max_steps)
        stream, batches = self._open_data()
        clock, bar = LoopClock(state), self._bar()
        stopped = False
        while state.step < last_step and not stopped:
            is_out_of_time = recipe.max_minutes is not None and clock.minutes > recipe.max_minutes
            unread = train_step(
                self.model,
                self.optimizer,
                self.peak_rates,
                batches,
                self.accelerator,
                recipe,
                step=state.step,
                stop=is_out_of_time or self.stop_requested,
            )
            state.step += 1
            bar.update(1)
            due = what_is_due(state.step, last_step, recipe)
            # All processes read at the same steps, so that they stop after the same one.
            numbers = self._read(unread, now=bool(due))
            if numbers is not None and numbers.stopping:
                stopped = True
                numbers = self._read(None, now=True) or numbers
            clock.update(state)
            if numbers is not None and ("log" in due or stopped):
                self._log(numbers, clock, bar)
            if "evaluation" in due and self.data.evaluation_splits:
                self._evaluate()
                clock.start_window(state.step)
            if "checkpoint" in due or stopped:
                self._save_checkpoint(stream)
        bar.close()
        self._save_model("last")
        return state

    def _open_data(self) -> tuple[StreamedSamples | None, Iterator[dict[str, torch.Tensor]]]:
        """The stream, if the training split is one, and this process's batches, from where an earlier run was left."""
        stream = stream_of_process(self.data, self.recipe, self.processes)
        if stream is not None and self.state.streams:
            stream.load_state_dict(self.state.streams[min(self.processes.index, len(self.state.streams) - 1)])
        batches = batches_of_process(
            self.data,
            self.recipe,
            self.processes,
            first_step=self.state.step,
            stream=stream,
            pin_memory=self.accelerator.device.type == "cuda",
        )
        return stream, batches

    def _save_checkpoint(self, stream: StreamedSamples | None) -> None:
        if stream is not None:
            self.state.streams = self.processes.share(stream.state_dict())
        save_checkpoint(
            self.folder, self.accelerator, self.state, self.processes, keep_checkpoints=self.recipe.keep_checkpoints
        )

    def _read(self, step: UnreadStep | None, now: bool) -> StepNumbers | None:
        """Reads the numbers of the steps so far, without `now` all but the newest: an accelerator still works on it."""
        if step is not None:
            self._unread.append(step)
        numbers = None
        while len(self._unread) > (0 if now else 1):
            numbers = self._unread.pop(0).read()
        return numbers

    def _log(self, numbers: StepNumbers, clock: "LoopClock", bar: Any) -> None:
        step = self.state.step
        pictures_per_second = clock.steps_per_second(step) * self.recipe.batch_size
        rate = self.optimizer.param_groups[0]["lr"]
        values = {
            **numbers.parts,
            "learning_rate": rate,
            "gradient_norm": numbers.gradient_norm,
            "pictures_per_second": round(pictures_per_second, 2),
            "seconds": round(self.state.seconds, 1),
            "cpu_seconds": round(self.state.cpu_seconds, 1),
            **peak_memory(self.accelerator.device),
        }
        self.log.write(step, values)
        shown = {name.replace("_loss", ""): f"{value:.4f}" for name, value in numbers.parts.items()}
        bar.set_postfix({**shown, "lr": f"{rate:.2e}", "pic/s": f"{pictures_per_second:.1f}"}, refresh=False)
        clock.start_window(step)

    def _evaluate(self) -> None:
        mean_iou = evaluate_in_training(
            self.accelerator.unwrap_model(self.model),
            self.processor,
            self.data.evaluation_splits,
            self.accelerator,
            self.recipe,
            self.log,
            class_groups=self.data.class_groups,
            step=self.state.step,
            say=self.say,
        )
        if self.state.best_mean_iou is None or mean_iou > self.state.best_mean_iou:
            self.state.best_mean_iou = mean_iou
            self._save_model("best")

    def _save_model(self, name: str) -> None:
        save_model(self.accelerator, self.model, self.processor, self.folder / name, self.processes)

    def _bar(self) -> Any:
        return tqdm(
            total=self.recipe.max_steps,
            initial=self.state.step,
            disable=not self.processes.is_main,
            dynamic_ncols=True,
            mininterval=1 if sys.stderr.isatty() else 60,
            desc="training",
        )


def what_is_due(step: int, last_step: int, recipe: RecipeArguments) -> set[str]:
    """Which of "log", "evaluation" and "checkpoint" follow a step; `last_step` is where this run stops."""
    due = {
        "log": step % recipe.logging_steps == 0 or step in (1, last_step),
        "evaluation": step % recipe.evaluation_steps == 0 or step == recipe.max_steps,
        "checkpoint": step % recipe.checkpoint_steps == 0 or step == last_step,
    }
    return {name for name, is_due in due.items() if is_due}


class LoopClock:
    """How long the loop has taken, with the runs that it goes on from, and how fast it is since the last line.

    Args:
        state: where the loop begins.
    """

    def __init__(self, state: LoopState) -> None:
        self._started, self._cpu_started = time.monotonic(), time.process_time()
        self._seconds_before, self._cpu_seconds_before = state.seconds, state.cpu_seconds
        self.start_window(state.step)

    @property
    def minutes(self) -> float:
        """Since this process began."""
        return (time.monotonic() - self._started) / 60

    def update(self, state: LoopState) -> None:
        """Writes the times into the state."""
        state.seconds = self._seconds_before + time.monotonic() - self._started
        state.cpu_seconds = self._cpu_seconds_before + time.process_time() - self._cpu_started

    def start_window(self, step: int) -> None:
        """Measures the speed from here on."""
        self._window_started, self._window_step = time.monotonic(), step

    def steps_per_second(self, step: int) -> float:
        """Returns the speed since the window began."""
        return (step - self._window_step) / max(1e-9, time.monotonic() - self._window_started)


def peak_memory(device: torch.device) -> dict[str, float]:
    """Returns the most memory that this process has held so far, in GiB."""
    if device.type == "cuda":
        return {"peak_gpu_gib": round(torch.cuda.max_memory_allocated(device) / 2**30, 3)}
    try:
        import resource
    except ImportError:  # not on Windows
        return {}
    # counted in KiB by Linux, in bytes by macOS
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return {"peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 3)}

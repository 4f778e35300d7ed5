# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A run from its arguments to its last model: arguments, model, data, optimiser, loop."""

import errno
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from tqdm.auto import tqdm

from ..evaluation.command_line_arguments import ExpectedEnd
from .argument_checks import check_devices, check_training_arguments
from .checkpoints import LoopState, broken_file, load_newest_checkpoint
from .model_building import build_model_and_processor, describe_training
from .optimizer_groups import parameter_groups
from .run_folder import checkpoints_in, open_run_folder, record_arguments, remove_unfinished
from .run_processes import RunProcesses, start_accelerator
from .synchronised_batch_norm import synchronise_batch_norms
from .training_arguments import (
    ModelArguments,
    RecipeArguments,
    TrainingDataArguments,
    height_and_width,
    parse_training_arguments,
)
from .training_data import load_training_data, pin_revision
from .training_log import TrainingLog
from .training_loop import TrainingLoop


class DiskFull(ExpectedEnd):
    """The disk of the run's folder is full."""


class StoppedBySignal(ExpectedEnd):
    """A signal ended the run before its last step, after a checkpoint."""


def train(arguments: Sequence[str] | None = None, description: str | None = None) -> LoopState:
    """Trains as the arguments say; returns the state in which the loop stopped.

    Args:
        arguments: the command line's words; None takes those of the process.
        description: for `--help`.

    Raises:
        ValueError: the arguments, or what they name, cannot be trained with.
        ExpectedEnd: the run ended early, and says why.
    """
    # Arguments: whatever can be found wrong with them is, before anything is fetched or made.
    model_arguments, data_arguments, recipe = parse_training_arguments(arguments, description)
    check_devices()
    accelerator = start_accelerator(recipe)
    check_training_arguments(model_arguments, data_arguments, recipe, accelerator.num_processes)
    open_run_folder(recipe.folder, recipe.resume)
    set_seed(recipe.seed)

    loop = prepare_loop(model_arguments, data_arguments, recipe, accelerator)
    with full_disk_in_one_sentence(loop.folder), stopping_on_signals(loop):
        loop.run()
    if not loop.data.evaluation_splits and not (loop.folder / "best").exists():
        loop.say("No --evaluation_splits: there is only the last model, no best one.")
    accelerator.end_training()
    return loop.state


def prepare_loop(
    model_arguments: ModelArguments,
    data_arguments: TrainingDataArguments,
    recipe: RecipeArguments,
    accelerator: Accelerator,
) -> TrainingLoop:
    """Makes all that the loop works on, in the order in which one needs the other."""
    processes = RunProcesses(accelerator)
    folder = recipe.folder

    def say(text: str) -> None:
        """Prints on the main process, without breaking the progress bar."""
        if processes.is_main:
            tqdm.write(text)
            sys.stdout.flush()

    # The model.
    crop_size = height_and_width(data_arguments.crop_size, "--crop_size")
    picture_size = height_and_width(data_arguments.picture_size, "--picture_size")
    with processes.first_on_each_machine():
        model, processor = build_model_and_processor(model_arguments, picture_size or crop_size)
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    if processes.number > 1:
        synchronise_batch_norms(model, accelerator.device.type)
    if recipe.compile:
        model.compile()
    say(describe_training(model))

    # The data.
    data_arguments = pin_revision(data_arguments, folder, processes, say)
    size = processor.image_processor.size
    data = load_training_data(
        data_arguments,
        processor,
        crop_size=crop_size or (size["height"], size["width"]),
        ignore_index=model.config.semantic_loss_ignore_index,
        seed=recipe.seed,
        processes=processes,
        say=say,
    )

    # The optimiser, and where an earlier run was left.
    groups = parameter_groups(model, recipe.learning_rate, recipe.weight_decay, recipe.clip_learning_rate_multiplier)
    peak_rates = [group["lr"] for group in groups]
    prepared, optimizer = accelerator.prepare(model, torch.optim.AdamW(groups, lr=recipe.learning_rate))
    state = load_newest_checkpoint(folder, accelerator, processes, say)
    log = TrainingLog(folder, accelerator, state.step)
    record_arguments(folder, (model_arguments, data_arguments, recipe), processes, say)
    if recipe.report_to != "none":
        accelerator.init_trackers(recipe.report_to)
    return TrainingLoop(
        recipe=recipe,
        folder=folder,
        accelerator=accelerator,
        processes=processes,
        model=prepared,
        optimizer=optimizer,
        peak_rates=peak_rates,
        processor=processor,
        data=data,
        log=log,
        state=state,
        say=say,
    )


@contextmanager
def stopping_on_signals(loop: TrainingLoop) -> Iterator[None]:
    """Makes SIGTERM and SIGINT end the loop after the current step, with a checkpoint.

    Raises:
        StoppedBySignal: one of them came before the last step.
    """
    received: list[int] = []

    def request_stop(number: int, frame: Any) -> None:
        received.append(number)
        loop.stop_requested = True

    previous = {number: signal.signal(number, request_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    step, max_steps = loop.state.step, loop.recipe.max_steps
    if received and step < max_steps:
        stopped = StoppedBySignal(f"stopped at step {step} of {max_steps}, go on with --resume")
        stopped.exit_code = 128 + received[0]  # as a shell says it: a scheduler takes it for unfinished
        raise stopped


@contextmanager
def full_disk_in_one_sentence(folder: Path) -> Iterator[None]:
    """Says what to do where a file could not be written for lack of space, whatever the writer raised.

    Raises:
        DiskFull: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_for_lack_of_space(error):
            raise
        remove_unfinished(folder)
        whole = [path.name for path in checkpoints_in(folder) if broken_file(path) is None]
        newest = f"the newest whole checkpoint is {whole[-1]}" if whole else "there is no checkpoint yet"
        raise DiskFull(
            f"The disk of {folder} is full ({newest}): make room and go on with --resume, or keep less with "
            "--keep_checkpoints 1."
        ) from error


def is_for_lack_of_space(error: BaseException | None) -> bool:
    """Returns whether an exception, or what caused it, is about a full disk or quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # the writers of safetensors and of PyTorch have exceptions of their own
        if re.search(r"os error (28|122)\b|No space left|PytorchStreamWriter failed|quota exceeded", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False

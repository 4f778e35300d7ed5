# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The folder of a run: arguments, models, checkpoints, all written so that a kill leaves the old or the new."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.split_rows import folder_stamp
from ..evaluation.run_description import write_atomically
from .run_processes import RunProcesses
from .training_log import LOG_FILE

ARGUMENTS_FILE = "arguments.json"
CHECKPOINT_FOLDER = "checkpoints"
# Beside the arguments: what the data set's files looked like.
DATA_FILES = "data_files"
# Arguments that leave the weights as they are: a resumed run may change them.
HARMLESS_ARGUMENTS = {
    "checkpoint_steps",
    "compile",
    "evaluation_batch_size",
    "keep_checkpoints",
    "logging_steps",
    "max_minutes",
    "num_checked_label_maps",
    "num_logged_pictures",
    "output_dir",
    "report_to",
    "resume",
    "stop_at_step",
    "timeout_minutes",
}
# Those on which only the samples of a streamed data set depend.
ARGUMENTS_OF_STREAMS = {"num_processes", "num_workers", "shuffle_buffer"}


def checkpoints_in(folder: Path) -> list[Path]:
    """Returns the complete checkpoints of a run, oldest first."""
    found = [path for path in (folder / CHECKPOINT_FOLDER).glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def open_run_folder(folder: Path, resume: bool) -> None:
    """Makes the folder of a run.

    Raises:
        ValueError: it holds a run already, which is not to be gone on with.
    """
    if (checkpoints_in(folder) or (folder / LOG_FILE).exists()) and not resume:
        raise ValueError(f"{folder} already holds a run; pass --resume to go on, or another --output_dir.")
    folder.mkdir(parents=True, exist_ok=True)


def record_arguments(
    folder: Path, groups: tuple[Any, ...], processes: RunProcesses, say: Callable[[str], None]
) -> None:
    """Writes what the run was started with; on going on, says what changed, as it then is another run.

    The files of a data set that is a folder count as well: corrected label maps make another run, too.
    """
    if not processes.is_main:
        return
    path = folder / ARGUMENTS_FILE
    arguments = {name: value for group in groups for name, value in dataclasses.asdict(group).items()}
    arguments["num_processes"] = processes.number
    is_folder = arguments["dataset"] is not None and Path(arguments["dataset"]).is_dir()
    arguments[DATA_FILES] = folder_stamp(Path(arguments["dataset"])) if is_folder else None
    if path.is_file():
        before = read_arguments(folder)
        if before is None:
            say(f"warning: {path} cannot be read, so nobody knows which arguments have changed since.")
        changed = {name for name, value in arguments.items() if before is not None and before.get(name) != value}
        if not arguments["streaming"]:
            changed -= ARGUMENTS_OF_STREAMS
        for name in sorted(changed - HARMLESS_ARGUMENTS):
            if name == DATA_FILES:
                # Not where another folder was named, which is said by itself, nor by runs of before this was kept.
                if "dataset" not in changed and before is not None and DATA_FILES in before:
                    say(f"warning: the files of {arguments['dataset']} were changed since the run was last started.")
                continue
            say(f"warning: --{name} was {(before or {}).get(name)!r} before and is {arguments[name]!r} now.")
    write_atomically(path, json.dumps(arguments, indent=2) + "\n")


def read_arguments(folder: Path) -> dict[str, Any] | None:
    """Returns what a run was last started with; None if its file is missing or broken."""
    try:
        arguments = json.loads((folder / ARGUMENTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return arguments if isinstance(arguments, dict) else None


def save_model(accelerator: Any, model: Any, processor: Any, target: Path, processes: RunProcesses) -> None:
    """Writes model and processor in the Hub's layout."""
    state_dict = accelerator.get_state_dict(model)
    if processes.is_main:
        unfinished = target.with_name(f"{target.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        accelerator.unwrap_model(model).save_pretrained(unfinished, state_dict=state_dict)
        processor.save_pretrained(unfinished)
        replace_folder(unfinished, target)
    processes.wait()


def replace_folder(new: Path, old: Path) -> None:
    """Puts a finished folder in another's place: a reader finds the old one or the new one, never half of one.

    What is in it reaches the disk before it gets its name, so that neither a kill nor a power cut leaves empty files.
    """
    for path in [*new.rglob("*"), new]:
        _write_through(path)
    aside = old.with_name(f"{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.rename(old)
    _write_through(old.parent)
    shutil.rmtree(aside, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Removes what was begun to be written and never will be finished."""
    for path in [*folder.glob("*.unfinished"), *(folder / CHECKPOINT_FOLDER).glob("unfinished")]:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _write_through(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems do not fsync folders
        pass
    finally:
        os.close(descriptor)

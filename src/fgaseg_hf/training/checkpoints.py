# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints: all that a resumed run needs, and the newest one that is whole."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .run_folder import CHECKPOINT_FOLDER, checkpoints_in, replace_folder
from .run_processes import RunProcesses

STATE_FILE = "loop_state.json"
# The names and sizes of a checkpoint's other files.
CONTENTS_FILE = "contents.json"


@dataclasses.dataclass
class LoopState:
    """What a checkpoint holds besides the weights and the optimiser's state."""

    step: int = 0
    best_mean_iou: float | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    # where each process stands in a streamed data set
    streams: list[dict[str, Any]] | None = None


def save_checkpoint(
    folder: Path, accelerator: Any, state: LoopState, processes: RunProcesses, *, keep_checkpoints: int
) -> None:
    """Writes a checkpoint; it gets its name when it is complete and on the disk.

    Args:
        folder: the run's.
        accelerator: knows model, optimiser and the state of random numbers.
        state: the loop's.
        processes: which all take part.
        keep_checkpoints: how many of the newest to keep.
    """
    unfinished = folder / CHECKPOINT_FOLDER / "unfinished"
    if processes.is_main:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    processes.wait()
    accelerator.save_state(str(unfinished))
    processes.wait()
    if processes.is_main:
        (unfinished / STATE_FILE).write_text(json.dumps(dataclasses.asdict(state)), encoding="utf-8")
        contents = {path.name: path.stat().st_size for path in sorted(unfinished.iterdir()) if path.is_file()}
        (unfinished / CONTENTS_FILE).write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
        replace_folder(unfinished, folder / CHECKPOINT_FOLDER / f"step-{state.step}")
        for path in checkpoints_in(folder)[:-keep_checkpoints]:
            shutil.rmtree(path)
    processes.wait()


def load_newest_checkpoint(
    folder: Path, accelerator: Any, processes: RunProcesses, say: Callable[[str], None]
) -> LoopState:
    """Goes back to the newest checkpoint that is whole, and says which; a fresh state without any.

    Raises:
        ValueError: there are checkpoints, but none of them is whole.
    """
    found = checkpoints_in(folder)
    whole = None
    if processes.is_main:
        for path in reversed(found):
            broken = broken_file(path)
            if broken is None:
                whole = path
                break
            say(f"warning: the checkpoint {path} is not whole ({broken}), so the run goes on from an older one.")
    whole = processes.share(whole)[0]
    if whole is None:
        if found:
            raise ValueError(
                f"None of the {len(found)} checkpoints in {folder} is whole; start anew in another --output_dir."
            )
        return LoopState()
    accelerator.load_state(str(whole))
    # Accelerate counts batches; with another number of accumulation steps, its count would start amid a step.
    accelerator.step = 0
    state = LoopState(**json.loads((whole / STATE_FILE).read_text(encoding="utf-8")))
    say(f"Resumed from {whole} after step {state.step}.")
    return state


def broken_file(checkpoint: Path) -> str | None:
    """Returns what is wrong with a checkpoint, such as "optimizer.bin has 0 bytes, not 4,096"; None if it is whole."""
    try:
        contents = json.loads((checkpoint / CONTENTS_FILE).read_text(encoding="utf-8"))
        sizes = {str(name): int(size) for name, size in contents.items()}
    except (OSError, ValueError, AttributeError):
        return f"{CONTENTS_FILE} is missing or broken"
    for name, size in sizes.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} bytes, not {size:,}"
    return None

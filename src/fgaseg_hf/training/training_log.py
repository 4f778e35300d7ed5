# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The run's log: JSON lines on disk, and a tracker beside it on request."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

LOG_FILE = "training_log.jsonl"


class TrainingLog:
    """Log file of JSON lines, with a tracker beside it on request; only the main process writes.

    Args:
        folder: the run's folder.
        accelerator: for its trackers and process number.
        first_step: lines of later steps, left by a run that was cut off after its checkpoint, are removed.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, first_step: int) -> None:
        self.path = folder / LOG_FILE
        self.accelerator = accelerator
        if accelerator.is_main_process and self.path.is_file():
            kept = []
            for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                # The last line may be cut off in its middle.
                if line.endswith("\n") and json.loads(line)["step"] <= first_step:
                    kept.append(line)
            self.path.write_text("".join(kept), encoding="utf-8")

    def write_pictures(self, step: int, pictures: dict[str, list[Image.Image]]) -> None:
        """Gives pictures to the trackers that take some; those of one name may differ in size."""
        for tracker in self.accelerator.trackers:
            if not hasattr(tracker, "log_images"):
                continue
            for name, group in pictures.items():
                # one name each, as a stack of pictures would need one size
                named = {f"{name}/{place}": np.asarray(picture)[None] for place, picture in enumerate(group)}
                options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images(named, step=step, **options)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Appends a line; numbers at its top level go to the tracker too."""
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        self.accelerator.log(numbers, step=step)

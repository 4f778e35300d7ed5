# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Trains FGASeg on any segmentation data set with Accelerate; the defaults are the published recipe.

    fgaseg train --clip openai/clip-vit-base-patch16 --dataset my/dataset --output_dir runs/first
    accelerate launch --multi_gpu --num_processes 2 -m fgaseg_hf.training.train --config camvid_small ...

The second line starts two processes on CPUs too, which then talk by gloo; there, without `--multi_gpu`, Accelerate's
launcher starts a single process and does not say so.

A run is a function of its arguments: pictures, their order and their augmentation follow from `--seed` and the step,
not from the number of processes or of restarts (but for `--streaming`, see streamed_samples.py). `--batch_size` counts
the pictures of an optimiser step over all processes and accumulation steps and must be a multiple of their number, so
the same command trains the same model on one process or on eight.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..evaluation.command_line_arguments import require_packages, run_script

if TYPE_CHECKING:
    from .checkpoints import LoopState


def main(arguments: Sequence[str] | None = None) -> "LoopState":
    """Trains as the arguments say, see the module's docstring; returns the state in which the loop stopped.

    Raises:
        MissingPackage: the extra `train` is not installed.
        ValueError: the arguments, or what they name, cannot be trained with.
        ExpectedEnd: the run ended early, and says why.
    """
    require_packages("train", "accelerate", "datasets", "yaml")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils.logging import disable_progress_bar

    from .training_run import train

    disable_progress_bar()  # one bar for the run, none for each file that is written
    return train(arguments, description=__doc__)


if __name__ == "__main__":
    run_script(main)

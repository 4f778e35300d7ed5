# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What can be said of a run's arguments before anything is fetched, loaded or made."""

import os
from pathlib import Path

import numpy as np
import torch

from ..data.class_frequencies import balanced_weights
from ..data.class_list_files import load_class_groups, load_class_names, load_id_map, load_prompts
from ..data.rare_class_sampling import RareClassSampler
from ..data.training_samples import ShardedBatches
from ..evaluation.segmentation_evaluation import EvaluationProtocol
from .training_arguments import (
    ModelArguments,
    RecipeArguments,
    TrainingDataArguments,
    height_and_width,
    read_model_config,
)
from .training_data import augmentation_of


def check_training_arguments(
    model: ModelArguments, data: TrainingDataArguments, recipe: RecipeArguments, num_processes: int
) -> None:
    """Finds what is wrong with the arguments, each by the code that will use it.

    Args:
        model: what is trained.
        data: on what.
        recipe: how.
        num_processes: how many processes train.

    Raises:
        ValueError: they contradict each other, a value is out of its range, or a file does not exist.
    """
    check_start(model)
    ShardedBatches(
        recipe.batch_size,
        0,
        recipe.max_steps,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        num_processes=num_processes,
    )
    EvaluationProtocol(vocabulary=recipe.evaluation_vocabulary, batch_size=recipe.evaluation_batch_size)
    crop_size = height_and_width(data.crop_size, "--crop_size")
    height_and_width(data.picture_size, "--picture_size")
    augmentation_of(data, crop_size or (1, 1))
    check_vocabulary(data)
    check_streaming(data)
    one_picture = np.ones((1, 1), dtype=np.int64)
    if data.rare_class_temperature is not None:
        RareClassSampler(one_picture, data.rare_class_temperature)
    if data.class_balancing is not None:
        balanced_weights(one_picture, data.class_balancing)
    for name in ("label_stride", "shuffle_buffer"):
        if getattr(data, name) < 1:
            raise ValueError(f"--{name} is {getattr(data, name)}, but must be at least 1.")
    for name in ("num_workers", "skip_unreadable"):
        if getattr(data, name) < 0:
            raise ValueError(f"--{name} is {getattr(data, name)}, but must be 0 or more.")


def check_start(arguments: ModelArguments) -> None:
    """Finds contradictions between the arguments that say where the weights start.

    Raises:
        ValueError: not exactly one start is given, or a tokenizer is missing or one too many.
    """
    if arguments.model and arguments.clip:
        raise ValueError("--model and --clip are given, but the weights can only start from one of them.")
    if arguments.init and not arguments.model:
        raise ValueError(f"--init {arguments.init} needs --model, the CAT-Seg checkpoint to go on from.")
    if arguments.tokenizer and arguments.model:
        raise ValueError("--tokenizer is given, but --model brings the tokenizer of its text tower: leave it out.")
    if not (arguments.model or arguments.clip or arguments.model_config):
        raise ValueError("Nothing to train: pass --model, --clip, or --model_config with --tokenizer.")
    if not (arguments.model or arguments.clip or arguments.tokenizer):
        raise ValueError("A model from --model_config needs --tokenizer, a folder or Hub id of a tokenizer.")
    read_model_config(arguments)


def check_vocabulary(data: TrainingDataArguments) -> None:
    """Finds what is wrong with names, prompts and groups, as far as files say it.

    Raises:
        ValueError: a file does not exist or cannot be read, or a held-out group is none.
    """
    if data.class_names:
        load_class_names(data.dataset or "", data.class_names)
    if data.prompts:
        load_prompts(data.prompts)
    for name in ("id_map", "class_groups"):
        path = getattr(data, name)
        if path and not Path(path).is_file():
            raise ValueError(f"There is no file {path}, which --{name} names.")
    load_id_map(data.id_map)
    groups = load_class_groups(data.class_groups) if data.class_groups else {}
    unknown = sorted(set(data.held_out_groups or ()) - set(groups))
    if data.held_out_groups and data.num_sampled_classes is None:
        raise ValueError("--held_out_groups needs --num_sampled_classes: else every picture trains on all names.")
    if unknown:
        raise ValueError(f"--held_out_groups names {unknown[0]!r}, which is no group of the file --class_groups.")
    if data.num_sampled_classes is not None and data.num_sampled_classes < 1:
        raise ValueError(f"--num_sampled_classes is {data.num_sampled_classes}, but must be at least 1.")


def check_streaming(data: TrainingDataArguments) -> None:
    """Finds what a streamed training split cannot do.

    Raises:
        ValueError: something needs all of it at once.
    """
    if not data.streaming:
        return
    for name in ("rare_class_temperature", "class_balancing"):
        if getattr(data, name) is not None:
            raise ValueError(f"--{name} needs all label maps at the start: leave out --streaming.")
    if data.train_split in (data.evaluation_splits or ()):
        raise ValueError("A split that is streamed cannot be evaluated on: leave out --streaming.")


def check_devices() -> None:
    """Finds out whether each process of this machine has a GPU of its own.

    Raises:
        ValueError: more processes were started than there are GPUs.
    """
    num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if torch.cuda.is_available() and num_processes > torch.cuda.device_count():
        raise ValueError(
            f"{num_processes} processes were started on a machine with {torch.cuda.device_count()} GPUs: start as many "
            "as there are, with `accelerate launch --num_processes`."
        )

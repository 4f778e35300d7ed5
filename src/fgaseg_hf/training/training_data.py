# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The data of a run: splits, samples, batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..data.augmentation import AugmentationConfig
from ..data.class_frequencies import balanced_weights, count_pixels, require_annotation
from ..data.class_list_files import load_class_groups
from ..data.data_collator import FGASegDataCollator
from ..data.dataset_loading import load_segmentation_splits
from ..data.hub_datasets import find_hub_dataset, hub_name_of
from ..data.rare_class_sampling import RareClassSampler
from ..data.readable_samples import CollateReadable, ReadableSamples, without_unreadable_rows
from ..data.segmentation_split import SegmentationSplit
from ..data.streamed_samples import StreamedSamples
from ..data.training_samples import ShardedBatches, TrainingSamples
from ..data.vocabulary_sampling import VocabularySampler
from ..model.processing_fgaseg import FGASegProcessor
from .run_folder import read_arguments
from .run_processes import RunProcesses
from .training_arguments import RecipeArguments, TrainingDataArguments


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run trains and measures on.

    Attributes:
        samples: endless augmented samples.
        collate: makes batches of them.
        evaluation_splits: by name.
        class_groups: class names by group, or None.
        num_workers: processes that prepare pictures.
        shuffle_buffer: rows to shuffle among if the training split is streamed, else None.
        num_skippable: rows that cannot be read which may be left out.
    """

    samples: TrainingSamples
    collate: FGASegDataCollator
    evaluation_splits: dict[str, SegmentationSplit]
    class_groups: Mapping[str, Sequence[str]] | None
    num_workers: int
    shuffle_buffer: int | None
    num_skippable: int


def load_training_data(
    arguments: TrainingDataArguments,
    processor: FGASegProcessor,
    *,
    crop_size: tuple[int, int],
    ignore_index: int,
    seed: int,
    processes: RunProcesses,
    say: Callable[[str], None],
) -> TrainingData:
    """Loads and checks the splits, and makes samples of them.

    Args:
        arguments: the run's.
        processor: the model's.
        crop_size: height and width.
        ignore_index: label that the model reads as "not annotated".
        seed: the run's.
        processes: one of each machine fetches, all check.
        say: prints.

    Raises:
        ValueError: the data set or what is said of it does not exist or does not fit.
    """
    splits = load_splits(arguments, processes, say)
    train_split = splits[arguments.train_split]
    class_groups = load_class_groups(arguments.class_groups) if arguments.class_groups else None
    choose_picture, class_weights = weigh_classes(arguments, train_split, processes)
    samples = TrainingSamples(
        train_split,
        augmentation_of(arguments, crop_size),
        seed=seed,
        image_mean=processor.image_processor.image_mean,
        image_std=processor.image_processor.image_std,
        vocabulary=sample_vocabulary(arguments, train_split.class_names, class_groups),
        choose_picture=choose_picture,
        label_stride=arguments.label_stride,
        ignore_index=ignore_index,
    )
    return TrainingData(
        samples=samples,
        collate=FGASegDataCollator(
            processor, train_split.class_names, prompts=train_split.training_prompts, class_weights=class_weights
        ),
        evaluation_splits={name: splits[name] for name in arguments.evaluation_splits or ()},
        class_groups=class_groups,
        num_workers=arguments.num_workers,
        shuffle_buffer=arguments.shuffle_buffer if arguments.streaming else None,
        num_skippable=arguments.skip_unreadable,
    )


def pin_revision(
    arguments: TrainingDataArguments, folder: Path, processes: RunProcesses, say: Callable[[str], None]
) -> TrainingDataArguments:
    """Fixes the commit of a Hub data set: the run's first one, so that it trains on the same pictures to its end.

    Args:
        arguments: the run's; what they say is left alone.
        folder: the run's, which holds the arguments that it was begun with.
        processes: one of them asks the Hub.
        say: prints.
    """
    name, revision = hub_name_of(arguments)
    if name is None or arguments.dataset_revision is not None:
        return arguments
    commit = None
    if processes.is_main:
        before = read_arguments(folder) or {}
        commit = before.get("dataset_revision") if before.get("dataset") == arguments.dataset else None
        try:
            commit = commit or find_hub_dataset(name, revision).commit
            say(f"{name}: commit {commit}")
        except ValueError:
            say(f"warning: the Hub cannot be asked for the commit of {name}; pin one with --dataset_revision.")
    return replace(arguments, dataset_revision=processes.share(commit)[0])


def load_splits(
    arguments: TrainingDataArguments, processes: RunProcesses, say: Callable[[str], None]
) -> dict[str, SegmentationSplit]:
    """Loads the training and evaluation splits; the processes share the check of label maps.

    Raises:
        ValueError: a split does not exist, or a label map holds what is no class.
    """
    with processes.first_on_each_machine():
        splits = load_segmentation_splits(
            arguments,
            [arguments.train_split, *(arguments.evaluation_splits or ())],
            streamed_names=[arguments.train_split] if arguments.streaming else [],
        )
    for name, split in splits.items():
        num_classes = len(split.class_names)
        if split.is_streamed:
            say(f"{name}: streamed, {num_classes} classes, label maps are checked as they come")
            continue
        if arguments.skip_unreadable and name == arguments.train_split:
            say(f"{name}: {len(split)} pictures, {num_classes} classes, label maps are checked as they come")
            continue
        with processes.failing_together():
            num_checked = split.check_label_maps(
                arguments.num_checked_label_maps, process_index=processes.index, num_processes=processes.number
            )
        say(f"{name}: {len(split)} pictures, {num_classes} classes, {num_checked} label maps checked")
    return splits


def augmentation_of(arguments: TrainingDataArguments, crop_size: tuple[int, int]) -> AugmentationConfig:
    """Returns what may happen to a picture.

    Raises:
        ValueError: a number is out of its range.
    """
    return AugmentationConfig(
        crop_size=crop_size,
        scale_range=(arguments.scale_range[0], arguments.scale_range[-1]),
        flip_probability=arguments.flip_probability,
        colour_jitter_probability=arguments.colour_jitter_probability,
    )


def weigh_classes(
    arguments: TrainingDataArguments, split: SegmentationSplit, processes: RunProcesses
) -> tuple[RareClassSampler | None, list[float] | None]:
    """Returns what chooses pictures and what pixels of each class weigh, as far as the arguments ask for either.

    Raises:
        ValueError: more label maps cannot be read than may be left out, or no pixel is annotated.
    """
    if arguments.rare_class_temperature is None and arguments.class_balancing is None:
        return None, None
    with processes.failing_together():
        counted = count_pixels(
            split,
            process_index=processes.index,
            num_processes=processes.number,
            num_skippable=arguments.skip_unreadable,
            say=tqdm.write,  # each process of its own rows
        )
    num_pixels = processes.add(counted)
    require_annotation(num_pixels)
    sampler = weights = None
    if arguments.rare_class_temperature is not None:
        sampler = RareClassSampler(num_pixels, arguments.rare_class_temperature)
    if arguments.class_balancing is not None:
        weights = balanced_weights(num_pixels, arguments.class_balancing)
    return sampler, weights


def sample_vocabulary(
    arguments: TrainingDataArguments, class_names: Sequence[str], class_groups: Mapping[str, Sequence[str]] | None
) -> VocabularySampler | None:
    """Returns what chooses the classes of each picture; None if every picture trains on all of them.

    Raises:
        ValueError: the number does not fit the class names.
    """
    if arguments.num_sampled_classes is None:
        return None
    groups = class_groups or {}
    held_out = [name for group in arguments.held_out_groups or () for name in groups[group]]
    return VocabularySampler(class_names, arguments.num_sampled_classes, held_out)


def stream_of_process(data: TrainingData, recipe: RecipeArguments, processes: RunProcesses) -> StreamedSamples | None:
    """Returns this process's share of a streamed training split; None if the split is not streamed."""
    if data.shuffle_buffer is None:
        return None
    return StreamedSamples(
        data.samples,
        shuffle_buffer=data.shuffle_buffer,
        batch_size=recipe.batch_size // (recipe.gradient_accumulation_steps * processes.number),
        process_index=processes.index,
        num_processes=processes.number,
        num_skippable=data.num_skippable,
    )


def batches_of_process(
    data: TrainingData,
    recipe: RecipeArguments,
    processes: RunProcesses,
    *,
    first_step: int,
    stream: StreamedSamples | None,
    pin_memory: bool,
) -> Iterator[dict[str, torch.Tensor]]:
    """Returns this process's batches, one an accumulation step, from a step on or from where the stream stands."""
    settings: dict[str, Any] = {
        "collate_fn": CollateReadable(data.collate),
        "num_workers": data.num_workers,
        "pin_memory": pin_memory,
    }
    if stream is not None:
        return without_unreadable_rows(stream.batches(**settings), data.num_skippable, tqdm.write)
    numbers = ShardedBatches(
        recipe.batch_size,
        first_step,
        recipe.max_steps,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        process_index=processes.index,
        num_processes=processes.number,
    )
    samples = ReadableSamples(data.samples, data.num_skippable)
    return without_unreadable_rows(
        iter(DataLoader(samples, batch_sampler=numbers, **settings)), data.num_skippable, tqdm.write
    )

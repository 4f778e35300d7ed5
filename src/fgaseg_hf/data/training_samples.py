# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Augmented training samples, addressed by number, and which process trains on which of them."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

from .augmentation import IGNORED_LABEL, AugmentationConfig, augment
from .segmentation_split import SegmentationSplit
from .vocabulary_sampling import VocabularySampler


class TrainingSamples(Dataset):
    """Endless, reproducible stream of augmented training samples, addressed by a number counted from the run's start.

    Sample `g` is a function of `g` and the seed alone: epoch `g // len(split)` is a permutation of the split, and all
    that is random in the sample is drawn from a generator seeded with `g`. So a run that resumes, another number of
    processes and another number of workers all see the same samples.

    Args:
        split: where pictures and labels come from.
        augmentation: what may happen to a picture.
        seed: the run's seed.
        image_mean: mean a channel of the model's pictures, in 0..1.
        image_std: standard deviation a channel.
        vocabulary: chooses each picture's classes; None trains every picture on all class names.
        choose_picture: draws the number of a picture and a class that its crop must show, instead of the permutation;
            see `rare_class_sampling`.
        label_stride: keeps every so-many-th label along both axes; the loss is then computed on fewer pixels.
        ignore_index: label that the model reads as "not annotated".

    Each item is a dictionary of `pixel_values` (3, H, W), `labels` (H, W) long, indices into the picture's classes, and
    `class_indices` (T,) long, the ids of these classes (only with a `vocabulary`).

    Raises:
        ValueError: the split is empty, or `ignore_index` is the index of a class.
    """

    def __init__(
        self,
        split: SegmentationSplit,
        augmentation: AugmentationConfig,
        *,
        seed: int,
        image_mean: Sequence[float],
        image_std: Sequence[float],
        vocabulary: VocabularySampler | None = None,
        choose_picture: Callable[[np.random.Generator], tuple[int, int]] | None = None,
        label_stride: int = 1,
        ignore_index: int = 255,
    ) -> None:
        if not split.is_streamed and not len(split):
            raise ValueError("The training split is empty.")
        if label_stride < 1:
            raise ValueError(f"--label_stride is {label_stride}, but must be at least 1.")
        num_indices = vocabulary.num_sampled_classes if vocabulary else len(split.class_names)
        if 0 <= ignore_index < num_indices:
            raise ValueError(
                f"With {num_indices} classes a picture, the label {ignore_index} cannot mean 'ignored' at once; set "
                "`semantic_loss_ignore_index` in the model's config to -100, or pass --num_sampled_classes."
            )
        self.split = split
        self.augmentation = augmentation
        self.seed = seed
        self.mean = np.asarray(image_mean, dtype=np.float32)
        self.std = np.asarray(image_std, dtype=np.float32)
        self.vocabulary = vocabulary
        self.choose_picture = choose_picture
        self.label_stride = label_stride
        self.ignore_index = ignore_index
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def picture_index(self, sample: int) -> int:
        """Returns which picture of the split a sample shows."""
        epoch, place = divmod(sample, len(self.split))
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.split))
            self._epoch = epoch
        return int(self._order[place])

    def __getitem__(self, sample: int) -> dict[str, torch.Tensor]:
        generator = np.random.default_rng([self.seed, 1, sample])
        if self.choose_picture is None:
            index, shown_class = self.picture_index(sample), None
        else:
            index, shown_class = self.choose_picture(generator)
        return self.prepare(*self.split[index], generator, shown_class)

    def prepare(
        self, picture: Image.Image, labels: np.ndarray, generator: np.random.Generator, shown_class: int | None = None
    ) -> dict[str, torch.Tensor]:
        """Makes a sample of a picture and its class ids; all that is random comes from the generator."""
        pixels, labels = augment(picture, labels, self.augmentation, generator, shown_class)
        pixel_values = (pixels.astype(np.float32) / 255 - self.mean) / self.std
        item = {"pixel_values": torch.from_numpy(np.ascontiguousarray(pixel_values.transpose(2, 0, 1)))}
        middle = (self.label_stride - 1) // 2
        labels = np.ascontiguousarray(labels[middle :: self.label_stride, middle :: self.label_stride])
        if self.vocabulary is None:
            labels = np.where(labels == IGNORED_LABEL, self.ignore_index, labels)
        else:
            classes = self.vocabulary(np.setdiff1d(labels, [IGNORED_LABEL]), generator)
            # one place more than there are classes: IGNORED_LABEL is -1 and so reads the last place
            index_of = np.full(len(self.split.class_names) + 1, self.ignore_index, dtype=np.int64)
            index_of[classes] = np.arange(len(classes))
            labels = index_of[labels]
            item["class_indices"] = torch.from_numpy(classes)
        item["labels"] = torch.from_numpy(labels)
        return item


class ShardedBatches(Sampler):
    """Sample numbers of each batch of one process, so that all processes together see the global batches in order.

    Optimiser step `s` trains on the samples `s * batch_size` to `(s + 1) * batch_size - 1`. They are cut into
    `gradient_accumulation_steps` parts, and each of these into one part a process.

    Args:
        batch_size: pictures an optimiser step, over all processes and accumulation steps.
        first_step: the optimiser step to begin with.
        last_step: the step to end before.
        gradient_accumulation_steps: batches an optimiser step.
        process_index: number of this process.
        num_processes: how many there are.

    Raises:
        ValueError: the batch cannot be cut into equal parts.
    """

    def __init__(
        self,
        batch_size: int,
        first_step: int,
        last_step: int,
        *,
        gradient_accumulation_steps: int = 1,
        process_index: int = 0,
        num_processes: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % (gradient_accumulation_steps * num_processes):
            raise ValueError(
                f"--batch_size {batch_size} is the number of pictures an optimiser step over all processes; it must be "
                f"a multiple of processes x accumulation steps = {num_processes} x {gradient_accumulation_steps}."
            )
        self.batch_size = batch_size
        self.steps = range(first_step, last_step)
        self.num_parts = gradient_accumulation_steps
        self.process_index = process_index
        self.part_size = batch_size // (gradient_accumulation_steps * num_processes)
        self.num_processes = num_processes

    def __len__(self) -> int:
        return len(self.steps) * self.num_parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for part in range(self.num_parts):
                first = step * self.batch_size + (part * self.num_processes + self.process_index) * self.part_size
                yield list(range(first, first + self.part_size))

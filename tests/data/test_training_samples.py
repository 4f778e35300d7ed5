# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training samples, and who trains on which."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_splits import NAMES, label_map, split_of

from fgaseg_hf.data.augmentation import AugmentationConfig
from fgaseg_hf.data.segmentation_split import SegmentationSplit
from fgaseg_hf.data.training_samples import ShardedBatches, TrainingSamples
from fgaseg_hf.data.vocabulary_sampling import VocabularySampler


def samples_of(split: SegmentationSplit, **keywords: object) -> TrainingSamples:
    return TrainingSamples(
        split,
        AugmentationConfig(crop_size=(4, 4)),
        **{"seed": 3, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, **keywords},  # type: ignore[arg-type]
    )


def test_labels_become_indices_into_the_pictures_classes() -> None:
    split = split_of([label_map([[0, 1, 3, 255]] * 4)])
    samples = samples_of(split, vocabulary=VocabularySampler(NAMES, 4), ignore_index=255)
    for number in range(20):
        sample = samples[number]
        classes, labels = sample["class_indices"], sample["labels"]
        found = {int(classes[label]) for label in labels.unique() if label != 255}
        assert found == {0, 1, 3}
        assert (labels == 255).sum() == 4
        assert sample["pixel_values"].shape == (3, 4, 4)
        assert sample["pixel_values"].dtype == torch.float32


def test_samples_are_a_function_of_seed_and_number() -> None:
    generator = np.random.default_rng(0)
    split = split_of([Image.fromarray(generator.integers(0, 6, (9, 7)).astype(np.uint8)) for _ in range(5)])
    samples, again, other = samples_of(split), samples_of(split), samples_of(split, seed=4)
    numbers = list(range(15))
    in_order = [samples[number] for number in numbers]
    backwards = [again[number] for number in reversed(numbers)][::-1]
    for first, second in zip(in_order, backwards, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(samples[number]["labels"], other[number]["labels"]) for number in numbers)
    # every picture once an epoch, and each epoch in an order of its own
    epochs = [[samples.picture_index(5 * epoch + place) for place in range(5)] for epoch in range(6)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_stride_keeps_fewer_labels_of_the_same_picture() -> None:
    split = split_of([label_map([[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 0]])])
    whole, thinned = samples_of(split)[2], samples_of(split, label_stride=2)[2]
    assert torch.equal(thinned["labels"], whole["labels"][::2, ::2])
    assert torch.equal(thinned["pixel_values"], whole["pixel_values"])
    with pytest.raises(ValueError, match="--label_stride"):
        samples_of(split, label_stride=0)


def test_an_ignore_index_that_is_a_class_is_refused() -> None:
    split = split_of([label_map([[0]])])
    with pytest.raises(ValueError, match="semantic_loss_ignore_index"):
        samples_of(split, ignore_index=5)
    assert samples_of(split, ignore_index=-100)[0]["labels"].min() >= -100
    with pytest.raises(ValueError, match="empty"):
        samples_of(SegmentationSplit(rows=split.rows.select([]), class_names=NAMES))


@settings(deadline=None, max_examples=40)
@given(parts=st.integers(1, 3), processes=st.integers(1, 3), size=st.integers(1, 3), first=st.integers(0, 3))
def test_processes_share_each_step_without_gap_or_overlap(parts: int, processes: int, size: int, first: int) -> None:
    batch_size = parts * processes * size
    shards = [
        list(
            ShardedBatches(
                batch_size,
                first,
                5,
                gradient_accumulation_steps=parts,
                process_index=process,
                num_processes=processes,
            )
        )
        for process in range(processes)
    ]
    assert all(len(shard) == (5 - first) * parts and {len(batch) for batch in shard} <= {size} for shard in shards)
    together = [number for batches in zip(*shards, strict=True) for batch in batches for number in batch]
    assert together == list(range(first * batch_size, 5 * batch_size))


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of processes x accumulation steps = 2 x 3"):
        ShardedBatches(4, 0, 5, gradient_accumulation_steps=3, num_processes=2)

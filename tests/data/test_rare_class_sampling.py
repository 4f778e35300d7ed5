# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Rare classes: how often a class is sampled, that its crops show it, and what its pixels count."""

import dataclasses

import numpy as np
import pytest
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from fgaseg_hf.data.augmentation import AugmentationConfig
from fgaseg_hf.data.class_frequencies import balanced_weights, count_pixels, require_annotation
from fgaseg_hf.data.rare_class_sampling import RareClassSampler
from fgaseg_hf.data.segmentation_split import SegmentationSplit
from fgaseg_hf.data.training_samples import TrainingSamples


def make_split() -> SegmentationSplit:
    """Eight pictures of sky; two of them hold 4 of 576 pixels of tree, and one a pixel of a bird; none a boat."""
    maps = [np.zeros((24, 24), dtype=np.uint8) for _ in range(8)]
    maps[2][3:5, 3:5] = maps[6][10:12, 20:22] = 1
    maps[6][20, 2] = 2
    maps[5][:12] = 255
    pictures = [Image.new("RGB", (24, 24), (30 * number, 0, 0)) for number in range(len(maps))]
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    rows = Dataset.from_dict({"image": pictures, "annotation": [Image.fromarray(m) for m in maps]}, features=features)
    return SegmentationSplit(rows=rows, class_names=["sky", "tree", "bird", "boat"])


@pytest.mark.parametrize("temperature", [0.001, 0.5, 100.0])
def test_probabilities_are_those_of_the_paper(temperature: float) -> None:
    sampler = RareClassSampler(count_pixels(make_split()), temperature)
    num_annotated = 8 * 576 - 288
    shares = np.array([num_annotated - 9, 8, 1]) / num_annotated
    logarithms = (1 - shares) / temperature
    expected = np.exp(logarithms - logarithms.max()) / np.exp(logarithms - logarithms.max()).sum()
    assert sampler.class_ids.tolist() == [0, 1, 2]
    np.testing.assert_allclose(sampler.probabilities, expected, atol=1e-12)


def test_a_picture_holds_the_class_that_is_drawn_for_it() -> None:
    sampler, generator = RareClassSampler(count_pixels(make_split()), 1.0), np.random.default_rng(0)
    drawn = {sampler(generator) for _ in range(500)}
    assert {index for index, class_id in drawn if class_id == 1} == {2, 6}
    assert {index for index, class_id in drawn if class_id == 2} == {6}
    assert {index for index, class_id in drawn if class_id == 0} == set(range(8))


def test_training_sees_rare_classes_far_more_often() -> None:
    split = make_split()

    def share_of_crops_with_a_bird(choose_picture: RareClassSampler | None) -> float:
        samples = TrainingSamples(
            split,
            AugmentationConfig(crop_size=(24, 24), scale_range=(2.0, 3.0)),
            seed=0,
            image_mean=[0.5] * 3,
            image_std=[0.25] * 3,
            choose_picture=choose_picture,
        )
        return float(np.mean([(samples[number]["labels"] == 2).any() for number in range(120)]))

    assert share_of_crops_with_a_bird(None) < 0.1
    assert share_of_crops_with_a_bird(RareClassSampler(count_pixels(split), 0.5)) > 0.35


def test_classes_that_vanish_with_the_short_side_are_not_drawn() -> None:
    split = dataclasses.replace(make_split(), max_short_side=6)
    sampler = RareClassSampler(count_pixels(split), 1.0)
    assert sampler.class_ids.tolist() == sorted({int(i) for n in range(8) for i in np.unique(split[n][1])} - {-1})
    assert 2 not in sampler.class_ids


def test_what_cannot_be_sampled_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        RareClassSampler(count_pixels(make_split()), 0.0)
    split = make_split()
    nothing = SegmentationSplit(rows=split.rows, class_names=split.class_names, ignored_ids=(0, 1, 2, 255))
    with pytest.raises(ValueError, match="No pixel"):
        require_annotation(count_pixels(nothing))


def test_weights_are_the_median_share_over_the_class_s_own() -> None:
    num_pixels = count_pixels(make_split())
    num_annotated = 8 * 576 - 288
    assert num_pixels.sum(axis=0).tolist() == [num_annotated - 9, 8, 1, 0]
    weights = np.array(balanced_weights(num_pixels, 0.5))
    # the median of three shares is that of the tree; the boat, which is nowhere, counts as much as the bird
    relative = np.sqrt([8 / (num_annotated - 9), 1, 8, 8])
    np.testing.assert_allclose(weights, relative / (relative @ num_pixels.sum(axis=0)) * num_annotated, rtol=1e-12)
    assert balanced_weights(num_pixels, 0) == pytest.approx([1, 1, 1, 1])
    alike = np.array(balanced_weights(num_pixels, 1))[:3] * num_pixels.sum(axis=0)[:3]
    np.testing.assert_allclose(alike, num_annotated / 3, rtol=1e-12)
    with pytest.raises(ValueError, match="--class_balancing is 1.5"):
        balanced_weights(num_pixels, 1.5)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The training augmentation: geometry of picture and labels together, colours, seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fgaseg_hf.data.augmentation import IGNORED_LABEL, AugmentationConfig, augment, jitter_colours, resize_and_crop


def picture_of_labels(labels: np.ndarray) -> Image.Image:
    """A picture whose red channel is its label map, so that it shows where each pixel went."""
    return Image.fromarray(np.stack([labels, labels * 0, labels * 0], axis=-1).astype(np.uint8))


def blocks(height: int, width: int, side: int = 16) -> np.ndarray:
    rows, columns = np.indices((height, width)) // side
    return (10 + 30 * (rows % 4) + 7 * (columns % 4)).astype(np.int64)


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(20, 90),
    width=st.integers(20, 90),
    seed=st.integers(0, 1000),
    low=st.sampled_from([0.5, 1.0, 1.5]),
)
def test_picture_and_labels_stay_together(height: int, width: int, seed: int, low: float) -> None:
    labels = np.indices((height, width)).sum(0)
    config = AugmentationConfig(crop_size=(48, 32), scale_range=(low, low * 1.5), colour_jitter_probability=0.0)
    pixels, cropped = augment(picture_of_labels(labels), labels, config, np.random.default_rng(seed))
    assert pixels.shape == (48, 32, 3)
    assert cropped.shape == (48, 32)
    assert pixels.dtype == np.uint8
    assert cropped.dtype == np.int64
    beyond = cropped == IGNORED_LABEL
    assert (pixels[beyond] == config.fill_colour).all()
    # both show a slope, resampled smoothly and by nearest neighbour: they differ by the size of a resampled pixel
    pixel_side = max(1.0, min(height, width) / (32 * low))
    assert np.abs(pixels[..., 0].astype(int) - cropped)[~beyond].max() <= 2 * pixel_side + 1
    assert cropped[~beyond].min() >= 0 and cropped.max() <= height + width - 2


def test_the_scale_is_that_of_the_short_side() -> None:
    labels = blocks(60, 120)
    config = AugmentationConfig(crop_size=(30, 30), scale_range=(1.0, 1.0), flip_probability=0.0)
    _, cropped = resize_and_crop(picture_of_labels(labels), labels, config, np.random.default_rng(0))
    # 60 -> 30: blocks of 16 become blocks of 8, and all of the height is seen
    changes = np.flatnonzero(np.diff(cropped[:, 0]))
    assert list(np.diff(changes)) == [8, 8]


@settings(deadline=None, max_examples=50)
@given(
    height=st.integers(20, 90),
    width=st.integers(20, 90),
    row=st.integers(0, 89),
    column=st.integers(0, 89),
    seed=st.integers(0, 1000),
)
def test_a_crop_shows_the_class_that_it_must(height: int, width: int, row: int, column: int, seed: int) -> None:
    labels = np.zeros((height, width), dtype=np.int64)
    labels[row % height, column % width] = 7
    # a crop that is larger than its picture's pixels, so that none of them is lost in resampling
    scale = max(1.0, min(height, width) / 32)
    config = AugmentationConfig(crop_size=(48, 32), scale_range=(scale, 2 * scale))
    _, cropped = augment(picture_of_labels(labels), labels, config, np.random.default_rng(seed), shown_class=7)
    assert (cropped == 7).any()


def test_where_the_class_lies_in_the_crop_is_left_to_chance() -> None:
    labels = np.zeros((64, 64), dtype=np.int64)
    labels[30, 30] = 7
    config = AugmentationConfig(crop_size=(32, 32), scale_range=(2.0, 2.0), flip_probability=0.0)
    generator = np.random.default_rng(0)
    places = [
        np.argwhere(resize_and_crop(picture_of_labels(labels), labels, config, generator, 7)[1] == 7)[0]
        for _ in range(200)
    ]
    assert np.ptp(places, axis=0).min() > 24
    with pytest.raises(ValueError, match="no pixel"):
        resize_and_crop(picture_of_labels(labels), labels, config, generator, 8)


def test_flip_mirrors_both() -> None:
    labels = blocks(32, 32, 8)
    picture = picture_of_labels(labels)
    results = [
        augment(
            picture,
            labels,
            AugmentationConfig(crop_size=(32, 32), flip_probability=share, colour_jitter_probability=0.0),
            np.random.default_rng(0),
        )
        for share in (0.0, 1.0)
    ]
    assert np.array_equal(results[0][0][:, ::-1], results[1][0])
    assert np.array_equal(results[0][1][:, ::-1], results[1][1])
    assert np.array_equal(results[0][1], labels)


def test_labels_keep_their_16_bits() -> None:
    labels = np.full((20, 20), 40_000)
    labels[0, 0] = IGNORED_LABEL
    _, cropped = augment(
        Image.new("RGB", (20, 20)), labels, AugmentationConfig(crop_size=(20, 20)), np.random.default_rng(1)
    )
    assert set(np.unique(cropped)) == {IGNORED_LABEL, 40_000}


def test_the_same_seed_gives_the_same_sample_and_another_seed_another() -> None:
    labels = blocks(64, 64)
    config = AugmentationConfig(crop_size=(32, 32), scale_range=(0.5, 2.0))
    first, again, other = (
        augment(picture_of_labels(labels), labels, config, np.random.default_rng([7, seed])) for seed in (0, 0, 1)
    )
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_colour_jitter_changes_what_it_says() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(60, 190, (16, 16, 3)).astype(np.uint8)
    assert jitter_colours(pixels, 0.0, generator) is pixels
    changed = [jitter_colours(pixels, 1.0, np.random.default_rng(seed)) for seed in range(20)]
    assert all(result.shape == pixels.shape and result.dtype == np.uint8 for result in changed)
    means = [result.mean() for result in changed]
    assert min(means) < pixels.mean() < max(means)
    # grey has no hue and no saturation: brightness and contrast alone keep it grey
    grey = np.repeat(pixels[..., :1], 3, axis=-1)
    result = jitter_colours(grey, 1.0, np.random.default_rng(3)).astype(int)
    assert np.ptp(result, axis=-1).max() <= 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="crop_size"):
        AugmentationConfig(crop_size=(0, 3))
    with pytest.raises(ValueError, match="scale_range"):
        AugmentationConfig(crop_size=(3, 3), scale_range=(2.0, 1.0))
    with pytest.raises(ValueError, match="flip_probability"):
        AugmentationConfig(crop_size=(3, 3), flip_probability=1.5)
    with pytest.raises(ValueError, match="both must agree"):
        augment(
            Image.new("RGB", (4, 5)),
            np.zeros((4, 5), int),
            AugmentationConfig(crop_size=(3, 3)),
            np.random.default_rng(0),
        )

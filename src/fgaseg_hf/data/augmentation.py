# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Augmentation of the published recipe: random scale, random crop, horizontal flip, SSD's colour jitter.

Everything random comes from the `numpy.random.Generator` that the caller passes, so a sample is a function of its seed
alone: a resumed run, another number of processes or of workers see the very same pictures.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

# Labels are int64 arrays of train ids while they are prepared; this one says "not annotated". It is negative so that
# it cannot collide with a class, also in lists of more than 255 names.
IGNORED_LABEL = -1


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """What may happen to a training picture.

    Attributes:
        crop_size: height and width of the result.
        scale_range: the short side of the picture becomes the short side of the crop times a number drawn evenly (on a
            logarithmic scale) from this range.
        flip_probability: share of the pictures that are mirrored left to right.
        colour_jitter_probability: chance of each of the four colour changes of SSD; 0 switches them off.
        fill_colour: RGB bytes of the area beyond a picture smaller than the crop.
    """

    crop_size: tuple[int, int]
    scale_range: tuple[float, float] = (1.0, 1.0)
    flip_probability: float = 0.5
    colour_jitter_probability: float = 0.5
    fill_colour: tuple[int, int, int] = (122, 116, 104)

    def __post_init__(self) -> None:
        if min(self.crop_size) < 1:
            raise ValueError(f"`crop_size` is {self.crop_size}, but both sides must be at least 1 pixel.")
        if not 0 < self.scale_range[0] <= self.scale_range[1]:
            raise ValueError(f"`scale_range` is {self.scale_range}, but must be two positive numbers in rising order.")
        for name in ("flip_probability", "colour_jitter_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}, but must lie between 0 and 1.")


def augment(
    picture: Image.Image,
    labels: np.ndarray,
    config: AugmentationConfig,
    generator: np.random.Generator,
    shown_class: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Applies the whole recipe to one picture and its label map.

    Args:
        picture: any mode that converts to RGB.
        labels: integer array (H, W) of the picture's size.
        config: what may happen.
        generator: source of all randomness.
        shown_class: a class of the label map; the crop lies such that it shows a pixel of it, at any place (where the
            picture is made smaller, one or two pixels of a class may still vanish). None leaves it to chance.

    Returns:
        The picture as uint8 (crop height, crop width, 3) and the labels as int64 (crop height, crop width), where the
        area beyond the picture is `IGNORED_LABEL`.

    Raises:
        ValueError: picture and labels differ in size.
    """
    pixels, labels = resize_and_crop(picture, labels, config, generator, shown_class)
    if generator.random() < config.flip_probability:
        pixels, labels = pixels[:, ::-1], labels[:, ::-1]
    pixels = jitter_colours(pixels, config.colour_jitter_probability, generator)
    return np.ascontiguousarray(pixels), np.ascontiguousarray(labels)


def resize_and_crop(
    picture: Image.Image,
    labels: np.ndarray,
    config: AugmentationConfig,
    generator: np.random.Generator,
    shown_class: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scales a picture at random and cuts one crop out of it; see `augment` for shapes and errors.

    Only the part that the crop shows is resampled: the picture bilinearly, the labels by nearest neighbour.

    Raises:
        ValueError: no pixel of the label map is of the class that must be shown.
    """
    width, height = picture.size
    if labels.shape != (height, width):
        raise ValueError(
            f"The picture is {width} x {height} pixels but its label map {labels.shape[::-1]}; both must agree."
        )
    crop_height, crop_width = config.crop_size
    low, high = np.log(config.scale_range)
    short_side = min(crop_height, crop_width) * np.exp(generator.uniform(low, high))
    factor = short_side / min(width, height)
    resized_height, resized_width = max(1, round(height * factor)), max(1, round(width * factor))

    shown_height, shown_width = min(crop_height, resized_height), min(crop_width, resized_width)
    if shown_class is None:
        top = int(generator.integers(resized_height - shown_height + 1))
        left = int(generator.integers(resized_width - shown_width + 1))
    else:
        row, column = _random_pixel_of_class(labels, shown_class, generator)
        top = _random_start(int((row + 0.5) * resized_height / height), shown_height, resized_height, generator)
        left = _random_start(int((column + 0.5) * resized_width / width), shown_width, resized_width, generator)
    box = (
        left * width / resized_width,
        top * height / resized_height,
        min(width, (left + shown_width) * width / resized_width),
        min(height, (top + shown_height) * height / resized_height),
    )
    size = (shown_width, shown_height)
    shown_picture = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR, box=box)
    shown_labels = Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST, box=box)

    cropped_pixels = np.empty((crop_height, crop_width, 3), dtype=np.uint8)
    cropped_pixels[:] = config.fill_colour
    cropped_pixels[:shown_height, :shown_width] = np.asarray(shown_picture)
    cropped_labels = np.full((crop_height, crop_width), IGNORED_LABEL, dtype=np.int64)
    cropped_labels[:shown_height, :shown_width] = np.asarray(shown_labels)
    return cropped_pixels, cropped_labels


def _random_pixel_of_class(labels: np.ndarray, class_id: int, generator: np.random.Generator) -> tuple[int, int]:
    places = np.flatnonzero(labels == class_id)
    if not len(places):
        raise ValueError(f"The crop must show class {class_id}, but the label map has no pixel of it.")
    row, column = divmod(int(places[generator.integers(len(places))]), labels.shape[1])
    return row, column


def _random_start(place: int, shown: int, whole: int, generator: np.random.Generator) -> int:
    """Draws where `shown` of `whole` pixels begin, such that they hold the given place."""
    first, last = max(0, place - shown + 1), min(place, whole - shown)
    return int(generator.integers(min(first, last), last + 1))


def jitter_colours(pixels: np.ndarray, probability: float, generator: np.random.Generator) -> np.ndarray:
    """Changes brightness, contrast, saturation and hue at random as SSD does (Liu et al., 2016, data augmentation).

    Brightness moves by up to 32 of 255 steps, contrast and saturation are multiplied by 0.5 to 1.5, the hue turns by
    up to 36 degrees. Contrast comes before or after the other two, by a coin.

    Args:
        pixels: uint8 (H, W, 3) in RGB.
        probability: chance of each change for itself.
        generator: source of all randomness.

    Returns:
        uint8 (H, W, 3).
    """
    # All numbers are drawn whether they are used or not: what follows in the sample then never depends on a coin.
    happens = generator.random(4) < probability
    brightness = generator.uniform(-32, 32)
    contrast, saturation = generator.uniform(0.5, 1.5, size=2)
    hue_degrees = generator.uniform(-36, 36)
    contrast_first = generator.random() < 0.5
    if not happens.any():
        return pixels

    result = pixels.astype(np.float32)
    if happens[0]:
        result = (result + brightness).clip(0, 255)
    if happens[1] and contrast_first:
        result = (result * contrast).clip(0, 255)
    if happens[2] or happens[3]:
        result = _change_hue_and_saturation(
            result, saturation if happens[2] else 1.0, hue_degrees if happens[3] else 0.0
        )
    if happens[1] and not contrast_first:
        result = (result * contrast).clip(0, 255)
    return np.rint(result).astype(np.uint8)


def _change_hue_and_saturation(pixels: np.ndarray, saturation: float, hue_degrees: float) -> np.ndarray:
    """Scales saturation and turns hue in HSV with 8 bits a channel; float32 (H, W, 3) in 0..255 in and out."""
    hsv = np.asarray(Image.fromarray(np.rint(pixels).astype(np.uint8)).convert("HSV"))
    hue = (hsv[..., 0].astype(np.int16) + round(hue_degrees / 360 * 256)) % 256
    saturated = (hsv[..., 1].astype(np.float32) * saturation).clip(0, 255)
    changed = np.stack([hue.astype(np.uint8), np.rint(saturated).astype(np.uint8), hsv[..., 2]], axis=-1)
    return np.asarray(Image.fromarray(changed, mode="HSV").convert("RGB"), dtype=np.float32)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Composition of the generated scenes: which things, on which stuff, where, and how a camera sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter
from scene_backgrounds import GROUND_FEATURES, GROUNDS, Background, Stuff, paint_background
from scene_pen import Point
from scene_textures import crop_texture
from scene_things import THINGS, draw_thing
from scene_vocabulary import (
    CLASS_IDS,
    COLOURED_NOUNS,
    COLOURS,
    HELD_OUT_PAIRS,
    NEW_PLACES,
    PATTERNED_NOUNS,
    PATTERNS,
    TRAINING_PLACES,
    UNCOLOURED_PLACES,
    compose_name,
)

SPLITS = ("train", "validation_seen", "validation_unseen")
SMALLEST_SIZE = 64
LARGEST_SIZE = 1024

#: Every class in a picture covers at least this share of it (60 pixels of 224 x 224).
SMALLEST_VISIBLE_SHARE = 60 / 224**2

#: A thing of which less than this share of the picture shows is left out.
_SMALLEST_THING_SHARE = 0.008

_ALL_PAIRS = tuple(
    [(colour, noun) for noun in COLOURED_NOUNS for colour in COLOURS]
    + [(pattern, noun) for noun in PATTERNED_NOUNS for pattern in PATTERNS]
)
_FEATURE_CHOICES = (*GROUND_FEATURES, None)
_LIGHTS = frozenset({"sun", "moon"})
_DISTANCES: tuple[tuple[str, ...], ...] = (
    (),
    ("mountain",),
    ("hill",),
    ("forest",),
    ("mountain", "forest"),
    ("hill", "forest"),
    ("mountain", "hill"),
)


@dataclass(frozen=True)
class _Wish:
    """A thing that a scene should show, and the stuff that it may stand on."""

    noun: str
    adjective: str | None
    places: frozenset[str]

    @property
    def name(self) -> str:
        return compose_name(self.adjective, self.noun) if self.adjective else self.noun


@dataclass
class _PlacedThing:
    """A drawn thing at its place: `box` is (left, top, right, bottom) in the picture, possibly beyond its borders."""

    wish: _Wish
    patch: Image.Image
    coverage: Image.Image
    silhouette: np.ndarray
    box: tuple[int, int, int, int]
    foot: float
    on_ground: bool


def check_request(split: str, size: int) -> None:
    """Raises a ValueError if no scene can be drawn of the split or at the size."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    if not isinstance(size, int) or not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ValueError(f"size must be a whole number from {SMALLEST_SIZE} to {LARGEST_SIZE}, got {size!r}.")


def _free_adjectives(noun: str, held_out: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the colours and the patterns of a noun that are, or are not, held out."""
    colours = tuple(colour for colour in COLOURS if ((colour, noun) in HELD_OUT_PAIRS) == held_out)
    patterns = PATTERNS if noun in PATTERNED_NOUNS else ()
    return colours, tuple(pattern for pattern in patterns if ((pattern, noun) in HELD_OUT_PAIRS) == held_out)


_SEEN_ADJECTIVES = {noun: _free_adjectives(noun, held_out=False) for noun in COLOURED_NOUNS}
_UNSEEN_PAIRS = tuple(pair for pair in _ALL_PAIRS if pair in HELD_OUT_PAIRS)


def _draw_wish(split: str, earlier: list[_Wish], rng: np.random.Generator) -> _Wish:
    """Chooses one thing for a scene of a split."""
    if split == "validation_unseen":
        kind = rng.uniform()
        if kind < 0.62:
            adjective, noun = _UNSEEN_PAIRS[int(rng.integers(len(_UNSEEN_PAIRS)))]
            return _Wish(noun, adjective, TRAINING_PLACES[noun])
        if kind < 0.82:
            noun = str(rng.choice(list(NEW_PLACES)))
            return _Wish(noun, _draw_seen_adjective(noun, rng), NEW_PLACES[noun])
    if rng.uniform() < 0.17:
        noun = str(rng.choice(list(UNCOLOURED_PLACES)))
        return _Wish(noun, None, UNCOLOURED_PLACES[noun])
    nouns = [noun for noun in COLOURED_NOUNS if split != "validation_unseen" or noun not in NEW_PLACES]
    noun = str(rng.choice(nouns))
    adjective = _draw_seen_adjective(noun, rng)
    coloured = [wish for wish in earlier if wish.adjective and wish.noun in nouns]
    # Scenes with two cars, or two red things, are what teaches that both words count.
    if coloured and rng.uniform() < 0.35:
        other = coloured[int(rng.integers(len(coloured)))]
        if rng.uniform() < 0.5:
            noun = other.noun
            adjective = _draw_seen_adjective(noun, rng)
        elif other.adjective in (*_SEEN_ADJECTIVES[noun][0], *_SEEN_ADJECTIVES[noun][1]):
            adjective = str(other.adjective)
    return _Wish(noun, adjective, TRAINING_PLACES[noun])


def _draw_seen_adjective(noun: str, rng: np.random.Generator) -> str:
    colours, patterns = _SEEN_ADJECTIVES[noun]
    choices = patterns if patterns and rng.uniform() < 0.25 else colours
    return choices[int(rng.integers(len(choices)))]


def _draw_stuff(places: frozenset[str], rng: np.random.Generator) -> Stuff:
    """Chooses the stuff of a scene so that at least one of `places` is there."""
    weather = str(rng.choice(["day", "dusk", "night", "overcast"], p=[0.5, 0.18, 0.14, 0.18]))
    distance = _DISTANCES[int(rng.integers(len(_DISTANCES)))]
    rainbow = weather in ("day", "overcast") and rng.uniform() < 0.1
    while True:
        ground: str | None = GROUNDS[int(rng.integers(len(GROUNDS)))]
        feature = _FEATURE_CHOICES[int(rng.integers(len(_FEATURE_CHOICES)))]
        if feature == "sea" and rng.uniform() < 0.4:
            ground = None
        stuff = Stuff(weather, ground, feature, distance, rainbow)
        if places & stuff.places:
            break
    if feature == "sea" and rng.uniform() < 0.5:
        stuff.distance = ()
    return stuff


def _draw_wishes(split: str, count: int, rng: np.random.Generator) -> tuple[list[_Wish], Stuff]:
    """Chooses a scene's things, and stuff that has a place for each of them."""
    wishes = [_draw_wish(split, [], rng)]
    stuff = _draw_stuff(wishes[0].places, rng)
    for _ in range(60):
        if len(wishes) >= count:
            break
        wish = _draw_wish(split, wishes, rng)
        second_light = wish.noun in _LIGHTS and any(other.noun in _LIGHTS for other in wishes)
        cloud_on_clouds = wish.noun == "cloud" and stuff.weather == "overcast"
        if wish.places & stuff.places and not second_light and not cloud_on_clouds:
            wishes.append(wish)
    nouns = {wish.noun for wish in wishes}
    if "sun" in nouns and stuff.weather in ("night", "overcast"):
        stuff.weather = "day"
    if "moon" in nouns:
        stuff.weather, stuff.rainbow = "night", False
    return wishes, stuff


def _place_thing(
    wish: _Wish, background: Background, light: Point, placed: list[_PlacedThing], rng: np.random.Generator
) -> _PlacedThing | None:
    """Draws a thing and finds a place for it, or returns None where there is no room."""
    size, horizon = len(background.labels), background.horizon
    ids = {CLASS_IDS[name] for name in wish.places}
    thing = THINGS[wish.noun]
    for _ in range(24):
        in_sky = "sky" in wish.places and (len(wish.places) == 1 or rng.uniform() < 0.5)
        if in_sky:
            # Things in the air have no foot on the ground, so their distance is drawn.
            depth = rng.uniform(0.15, 0.75)
            foot = rng.uniform(0.12, 1.0) * horizon
        else:
            depth = rng.uniform(0.04, 1.0) ** 0.8
            foot = horizon + depth * (size - horizon) - 1
        x = rng.uniform(0.06, 0.94) * size
        row, column = min(int(foot), size - 1), int(x)
        if int(background.labels[row, column]) not in ids and not (in_sky and row < horizon):
            continue
        share = (0.15 + 0.24 * depth) * thing.scale * rng.uniform(0.9, 1.15)
        side = size * min(max(share, 0.12), 0.45)
        width, height = (side, side / thing.aspect) if thing.aspect > 1 else (side * thing.aspect, side)
        if in_sky and foot < height:
            foot = height + rng.uniform(0, 0.1) * size
        box = (round(x - width / 2), round(foot - height), round(x + width / 2), round(foot))
        outside = max(0, -box[0]) + max(0, box[2] - size)
        if outside > 0.25 * width or any(_overlap(box, other.box) > 0.3 for other in placed):
            continue
        patch, coverage, silhouette = draw_thing(wish.noun, wish.adjective, side, light, rng)
        left, top = round(x - patch.width / 2), round(foot - patch.height)
        box = (left, top, left + patch.width, top + patch.height)
        return _PlacedThing(wish, patch, coverage, silhouette, box, foot, on_ground=not in_sky)
    return None


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float:
    """Returns the share of the smaller box that two boxes have in common."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / min(areas)


def _cut(box: tuple[int, int, int, int], size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Returns where a box lies in the picture, and that part of the box itself, as slices."""
    left, top, right, bottom = box
    rows, columns = (max(top, 0), min(bottom, size)), (max(left, 0), min(right, size))
    inside = (slice(*rows), slice(*columns))
    return inside, (slice(rows[0] - top, rows[1] - top), slice(columns[0] - left, columns[1] - left))


def _keep_visible(placed: list[_PlacedThing], size: int) -> list[_PlacedThing]:
    """Drops, nearest kept first, the things that those in front of them or the picture's border hide too much."""
    covered = np.zeros((size, size), dtype=bool)
    kept = []
    for thing in reversed(placed):
        inside, part = _cut(thing.box, size)
        silhouette = thing.silhouette[part]
        visible = int(np.count_nonzero(silhouette & ~covered[inside]))
        if visible < max(_SMALLEST_THING_SHARE * size**2, 0.45 * np.count_nonzero(thing.silhouette)):
            continue
        covered[inside] |= silhouette
        kept.append(thing)
    return kept[::-1]


_SHADOW = Image.fromarray(
    (
        255 * np.clip(1.25 - np.hypot(*np.meshgrid(np.linspace(-1.25, 1.25, 64), np.linspace(-1.25, 1.25, 64))), 0, 1)
    ).astype(np.uint8)
)


def _paint_things(background: Background, placed: list[_PlacedThing], light: Point) -> tuple[Image.Image, np.ndarray]:
    """Paints shadows and things, far to near, over the background and its label map."""
    picture = Image.fromarray(np.clip(background.picture, 0, 255).astype(np.uint8))
    labels = background.labels.copy()
    size = picture.width
    tint = np.array(background.weather.tint, dtype=np.float32)
    strengths = [int(level * background.weather.contrast * 1.5) for level in range(256)]
    for thing in placed:
        left, _, right, bottom = thing.box
        if thing.on_ground and THINGS[thing.wish.noun].casts_shadow:
            width, height = round((right - left) * 1.15), max(4, round((right - left) * 0.24))
            shadow = _SHADOW.resize((width, height), Image.Resampling.BILINEAR).point(strengths)
            shift = round(-light[0] * (right - left) * 0.12)
            picture.paste((16, 18, 34), ((left + right - width) // 2 + shift, bottom - round(height * 0.62)), shadow)
    for thing in placed:
        patch = thing.patch
        if thing.wish.noun not in _LIGHTS and (tint != 1).any():
            patch = Image.fromarray((np.asarray(patch) * tint).astype(np.uint8))
        picture.paste(patch, thing.box[:2], thing.coverage)
        inside, part = _cut(thing.box, size)
        labels[inside][thing.silhouette[part]] = CLASS_IDS[thing.wish.name]
    return picture, labels


def _photograph(picture: Image.Image, light: Point, rng: np.random.Generator) -> Image.Image:
    """Adds what a camera adds: uneven light, blur, exposure, white balance and noise."""
    size = picture.width
    if rng.uniform() < 0.4:
        picture = picture.filter(ImageFilter.BoxBlur(float(rng.uniform(0.15, 0.5)) * size / 224))
    pixels = np.asarray(picture).astype(np.float32)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    falloff = 1 + 0.06 * light[0] * across[None, :, None]
    balance = (rng.uniform(0.92, 1.06) * rng.uniform(0.975, 1.025, 3)).astype(np.float32)
    pixels *= falloff.astype(np.float32) * balance
    noise = crop_texture("noise", size, size, rng)
    sigma = np.float32(rng.uniform(0.5, 4.5))
    # The grey noise is shared by the channels and the coloured part is the same noise out of step.
    pixels += sigma * noise[..., None]
    pixels += (sigma * 0.5) * np.stack([noise[::-1], noise[:, ::-1], noise[::-1, ::-1]], axis=-1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def generate_scene(seed: int, split: str = "train", size: int = 224) -> tuple[Image.Image, np.ndarray]:
    """Draws one scene.

    Args:
        seed: the picture's number, from 0; the same seed, split and size give the same bytes.
        split: `train` (pairs and places that are not held out), `validation_seen` (the same, other pictures) or
            `validation_unseen` (mostly held-out pairs, and nouns in new places).
        size: side of the square picture in pixels, 64 to 1024.

    Returns:
        The RGB picture and its (size, size) uint16 label map of indices into `scene_vocabulary.CLASS_NAMES`; every
        pixel is labelled, and every class that is present covers at least 0.12 % of the picture.

    Raises:
        ValueError: if the seed is negative, the split unknown, or the size out of range.
    """
    check_request(split, size)
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")
    attempt = 0
    while True:
        rng = np.random.default_rng([SPLITS.index(split), seed, attempt])
        scene = _try_scene(split, size, rng)
        if scene is not None:
            return scene
        attempt += 1


def _try_scene(split: str, size: int, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray] | None:
    """Draws a scene, or returns None where a class would be too small or the scene too empty."""
    count = int(rng.integers(4, 10))
    wishes, stuff = _draw_wishes(split, count, rng)
    background = paint_background(size, stuff, rng)
    angle = rng.uniform(-math.pi, 0)
    light = (math.cos(angle), math.sin(angle))
    placed: list[_PlacedThing] = []
    for wish in wishes:
        thing = _place_thing(wish, background, light, placed, rng)
        if thing is not None:
            placed.append(thing)
    # Far things first; what hangs in the sky is behind everything that stands on the ground, the sun behind all.
    placed.sort(key=lambda thing: (thing.on_ground, thing.wish.noun not in _LIGHTS, thing.foot))
    placed = _keep_visible(placed, size)
    if len(placed) < 4:
        return None
    picture, labels = _paint_things(background, placed, light)
    counts = np.bincount(labels.ravel())
    if counts[counts > 0].min() < SMALLEST_VISIBLE_SHARE * size**2:
        return None
    return _photograph(picture, light, rng), labels

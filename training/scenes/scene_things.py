# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The things in the generated scenes: how each noun is drawn, how large, and in which paint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scene_nature import (
    draw_bird,
    draw_bush,
    draw_cactus,
    draw_cloud,
    draw_fish,
    draw_flower,
    draw_moon,
    draw_mushroom,
    draw_palm,
    draw_pine,
    draw_rock,
    draw_sun,
    draw_tree,
)
from scene_objects import (
    draw_ball,
    draw_balloon,
    draw_barrel,
    draw_bench,
    draw_chair,
    draw_cup,
    draw_fence,
    draw_flag,
    draw_hat,
    draw_kite,
    draw_lamp,
    draw_mailbox,
    draw_sign,
    draw_table,
    draw_umbrella,
)
from scene_pen import RGB, Paint, Pen, Point, jitter
from scene_structures import (
    draw_airplane,
    draw_boat,
    draw_bus,
    draw_car,
    draw_house,
    draw_rocket,
    draw_tent,
    draw_tower,
    draw_truck,
)
from scene_vocabulary import COLOURS


@dataclass(frozen=True)
class Thing:
    """How a noun is drawn.

    Attributes:
        draw: draws it with a pen.
        aspect: width over height.
        scale: its larger side, as a share of the side that the perspective gives at its place.
        paints: the paints of a noun without a colour word, one of which is taken.
        tilt: greatest turn in degrees.
        casts_shadow: False for what hangs in the air.
    """

    draw: Callable[[Pen], None]
    aspect: float
    scale: float
    paints: tuple[RGB, ...] = ()
    tilt: float = 0.0
    casts_shadow: bool = True


THINGS: dict[str, Thing] = {
    "house": Thing(draw_house, 1.15, 1.15),
    "tower": Thing(draw_tower, 0.5, 1.3),
    "tent": Thing(draw_tent, 1.45, 1.0),
    "car": Thing(draw_car, 2.0, 1.1),
    "truck": Thing(draw_truck, 1.8, 1.2),
    "bus": Thing(draw_bus, 2.0, 1.25),
    "boat": Thing(draw_boat, 1.1, 1.0),
    "airplane": Thing(draw_airplane, 1.7, 1.1, tilt=12),
    "rocket": Thing(draw_rocket, 0.6, 1.1, tilt=10),
    "ball": Thing(draw_ball, 1.0, 0.7),
    "balloon": Thing(draw_balloon, 0.6, 1.0, tilt=6),
    "kite": Thing(draw_kite, 0.75, 1.05, tilt=28),
    "umbrella": Thing(draw_umbrella, 1.15, 0.95),
    "flag": Thing(draw_flag, 0.8, 1.0),
    "fence": Thing(draw_fence, 2.0, 1.15),
    "bench": Thing(draw_bench, 1.7, 0.95),
    "chair": Thing(draw_chair, 0.68, 0.9),
    "table": Thing(draw_table, 1.5, 0.95),
    "lamp": Thing(draw_lamp, 0.6, 1.0),
    "mailbox": Thing(draw_mailbox, 0.85, 0.9),
    "cup": Thing(draw_cup, 1.15, 0.75),
    "hat": Thing(draw_hat, 1.5, 0.85),
    "barrel": Thing(draw_barrel, 0.8, 0.8),
    "sign": Thing(draw_sign, 0.9, 0.95),
    "flower": Thing(draw_flower, 0.75, 0.9),
    "mushroom": Thing(draw_mushroom, 1.0, 0.8),
    "fish": Thing(draw_fish, 1.6, 0.85, tilt=12),
    "bird": Thing(draw_bird, 1.25, 0.85, tilt=6),
    "tree": Thing(draw_tree, 0.8, 1.25, ((58, 120, 48), (84, 138, 52), (66, 110, 62))),
    "pine": Thing(draw_pine, 0.65, 1.25, ((32, 88, 62), (40, 96, 58))),
    "palm": Thing(draw_palm, 0.95, 1.25, ((70, 138, 58), (88, 146, 62))),
    "bush": Thing(draw_bush, 1.6, 0.8, ((64, 116, 54), (92, 132, 66))),
    "rock": Thing(draw_rock, 1.35, 0.8, ((138, 130, 122), (120, 118, 120), (150, 138, 124))),
    "cactus": Thing(draw_cactus, 0.7, 1.0, ((70, 132, 84), (86, 142, 78))),
    "cloud": Thing(draw_cloud, 2.0, 1.1, ((246, 246, 248), (236, 238, 242)), casts_shadow=False),
    "sun": Thing(draw_sun, 1.0, 0.75, ((255, 232, 120),), casts_shadow=False),
    "moon": Thing(draw_moon, 1.0, 0.6, ((240, 236, 214),), casts_shadow=False),
}


def choose_paint(adjective: str | None, noun: str, rng: np.random.Generator) -> Paint:
    """Returns a paint for a thing: its colour word's, two colours for a pattern, or its own without either."""
    if adjective is None:
        paints = THINGS[noun].paints
        return Paint(jitter(paints[int(rng.integers(len(paints)))], rng, 8))
    if adjective in COLOURS:
        return Paint(jitter(COLOURS[adjective], rng))
    names = list(COLOURS)
    while True:
        first, second = (COLOURS[names[index]] for index in rng.choice(len(names), 2, replace=False))
        # Two colours that look alike would make the pattern a word that nothing in the picture shows.
        if sum(abs(a - b) for a, b in zip(first, second, strict=True)) > 220:
            return Paint(jitter(first, rng), jitter(second, rng), adjective)


def draw_thing(
    noun: str, adjective: str | None, side: float, light: Point, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image, np.ndarray]:
    """Draws one thing.

    Args:
        noun: a key of `THINGS`.
        adjective: a colour, a pattern, or None for nouns without a colour word.
        side: the larger side in pixels.
        light: direction towards the light (x right, y down).
        rng: source of its variations.

    Returns:
        The RGB patch, its antialiased coverage (L) and its boolean silhouette (height, width).
    """
    thing = THINGS[noun]
    aspect = thing.aspect * rng.uniform(0.9, 1.1)
    width, height = (side, side / aspect) if aspect > 1 else (side * aspect, side)
    pen = Pen(max(4, round(width)), max(4, round(height)), choose_paint(adjective, noun, rng), rng)
    thing.draw(pen)
    mirrored = rng.uniform() < 0.5
    if mirrored:
        pen.picture = pen.picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if pen.patterned is not None:
            pen.patterned = pen.patterned.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle = float(rng.uniform(-thing.tilt, thing.tilt)) if thing.tilt else 0.0
    return pen.finish(light, angle)

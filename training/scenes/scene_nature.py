# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Plants, animals, rocks and what is in the sky of the generated scenes."""

from __future__ import annotations

import math

import numpy as np
from scene_pen import LEAF, Pen, mix


def draw_flower(pen: Pen) -> None:
    """Draws a flower."""
    pen.line([(0.5, 0.4), (0.47, 1)], 0.06, LEAF)
    pen.polygon([(0.48, 0.9), (0.12, 0.68), (0.24, 0.88)], LEAF)
    pen.polygon([(0.48, 0.84), (0.88, 0.64), (0.76, 0.84)], LEAF)
    count, phase = int(pen.rng.integers(5, 8)), pen.rng.uniform(0, math.pi)
    ratio = pen.height / pen.width
    for index in range(count):
        angle = phase + 2 * math.pi * index / count
        pen.disc(
            0.5 + 0.2 * ratio * math.cos(angle), 0.34 + 0.2 * math.sin(angle), 0.13, "main" if index % 2 else "light"
        )
    pen.disc(0.5, 0.34, 0.1, (240, 190, 50) if pen.paint.main[0] < 225 or pen.paint.main[2] > 120 else (96, 58, 30))


def draw_mushroom(pen: Pen) -> None:
    """Draws a mushroom."""
    pen.polygon([(0.38, 0.45), (0.62, 0.45), (0.7, 0.98), (0.3, 0.98)], (236, 224, 200))
    pen.box(0.56, 0.5, 0.68, 0.97, (210, 194, 166))
    pen.pie((0.01, 0.02, 0.99, 1.06), 180, 360)
    pen.ellipse(0.01, 0.46, 0.99, 0.62, "dark")
    spots = mix(pen.paint.main, (255, 255, 255), 0.6) if min(pen.paint.main) < 200 else (200, 196, 190)
    for x, y, radius in ((0.32, 0.3, 0.07), (0.62, 0.2, 0.08), (0.78, 0.4, 0.055)):
        pen.disc(x, y, radius, spots)


def draw_fish(pen: Pen) -> None:
    """Draws a fish."""
    pen.polygon([(0.32, 0.5), (0.01, 0.08), (0.08, 0.5), (0.01, 0.92)], "dark")
    pen.polygon([(0.4, 0.22), (0.56, 0.0), (0.74, 0.18)], "dark")
    pen.ellipse(0.2, 0.1, 0.99, 0.9)
    pen.pie((0.26, 0.1, 0.96, 0.9), 30, 150, "light")
    for x in (0.4, 0.52):
        pen.line([(x, 0.34), (x + 0.05, 0.5), (x, 0.66)], 0.03, "dark")
    pen.disc(0.84, 0.4, 0.09, (245, 245, 245))
    pen.disc(0.85, 0.4, 0.05, (20, 20, 20))


def draw_bird(pen: Pen) -> None:
    """Draws a bird."""
    pen.polygon([(0.9, 0.3), (1, 0.36), (0.88, 0.42)], (240, 160, 40))
    for x in (0.48, 0.58):
        pen.box(x, 0.78, x + 0.04, 1, (214, 140, 50))
    pen.polygon([(0.3, 0.55), (0, 0.5), (0.04, 0.72), (0.34, 0.78)], "dark")
    pen.ellipse(0.16, 0.36, 0.82, 0.88)
    pen.disc(0.76, 0.34, 0.2)
    pen.polygon([(0.62, 0.6), (0.42, 0.0), (0.14, 0.06), (0.3, 0.62)], "dark")
    pen.disc(0.82, 0.3, 0.045, (245, 245, 245))
    pen.disc(0.83, 0.3, 0.028, (15, 15, 15))


def draw_tree(pen: Pen) -> None:
    """Draws a tree."""
    pen.polygon([(0.43, 0.55), (0.57, 0.55), (0.62, 1), (0.38, 1)], (96, 68, 44))
    _foliage(pen, 0.5, 0.36, 0.36, 12)


def _foliage(pen: Pen, x: float, y: float, radius: float, count: int) -> None:
    """Piles up leafy discs, the shadowed ones first."""
    ratio = pen.height / pen.width
    for tone, lift in ((mix(pen.paint.main, (0, 0, 0), 0.25), 0.03), (pen.paint.main, 0.0), ("light", -0.05)):
        for _ in range(count):
            angle, distance = pen.rng.uniform(0, 2 * math.pi), radius * 0.62 * math.sqrt(pen.rng.uniform())
            size = radius * pen.rng.uniform(0.22, 0.42) * (0.6 if tone == "light" else 1)
            pen.disc(x + distance * ratio * math.cos(angle), y + lift + distance * 0.9 * math.sin(angle), size, tone)


def draw_pine(pen: Pen) -> None:
    """Draws a pine."""
    pen.box(0.44, 0.8, 0.56, 1, (90, 62, 42))
    for index, (top, bottom, half) in enumerate(((0.4, 0.88, 0.48), (0.2, 0.62, 0.38), (0.01, 0.38, 0.27))):
        pen.polygon([(0.5, top), (0.5 + half, bottom), (0.5 - half, bottom)], "main" if index % 2 else "dark")
        pen.polygon([(0.5, top), (0.5 - half, bottom), (0.5 - half * 0.2, bottom)], "light")


def draw_palm(pen: Pen) -> None:
    """Draws a palm."""
    lean = pen.rng.uniform(-0.12, 0.12)
    x = 0.5 + lean
    pen.line([(0.5 - lean, 1), (0.5, 0.7), (x, 0.3)], 0.06, (136, 104, 68))
    for angle in np.linspace(math.pi * 0.95, math.pi * 2.05, 7) + pen.rng.uniform(-0.1, 0.1):
        tip = (x + 0.5 * math.cos(angle), 0.34 + 0.3 * math.sin(angle) + 0.1)
        middle = (x + 0.28 * math.cos(angle), 0.24 + 0.26 * math.sin(angle))
        pen.polygon([(x, 0.27), middle, tip, (middle[0], middle[1] + 0.1)], "main" if angle % 1 < 0.5 else "dark")
    pen.disc(x, 0.3, 0.05, (110, 76, 46))


def draw_bush(pen: Pen) -> None:
    """Draws a bush."""
    pen.pie((0.04, 0.4, 0.96, 1.55), 180, 360, "dark")
    for x, y, radius in ((0.2, 0.66, 0.3), (0.44, 0.46, 0.4), (0.72, 0.6, 0.36)):
        pen.disc(x, y, radius * 0.95)
    for _ in range(16):
        tone = "light" if pen.rng.uniform() < 0.5 else "dark"
        pen.disc(pen.rng.uniform(0.15, 0.85), pen.rng.uniform(0.35, 0.88), pen.rng.uniform(0.05, 0.1), tone)


def draw_rock(pen: Pen) -> None:
    """Draws a rock."""
    peak, shoulder = pen.rng.uniform(0.3, 0.45), pen.rng.uniform(0.15, 0.35)
    pen.polygon([(0.01, 1), (0.08, 0.5), (peak, 0.03), (0.75, shoulder), (0.98, 0.65), (1, 1)])
    pen.polygon([(0.5, 1), (0.55, 0.5), (0.75, shoulder), (0.98, 0.65), (1, 1)], "dark")
    pen.polygon([(0.08, 0.5), (peak, 0.03), (0.55, 0.5), (0.3, 0.6)], "light")


def draw_cactus(pen: Pen) -> None:
    """Draws a cactus."""
    pen.box(0.03, 0.26, 0.21, 0.6, corner=0.08)
    pen.box(0.03, 0.48, 0.5, 0.6, corner=0.05)
    pen.box(0.79, 0.16, 0.97, 0.5, corner=0.08)
    pen.box(0.5, 0.38, 0.97, 0.5, corner=0.05)
    pen.box(0.34, 0.01, 0.66, 1.2, corner=0.14)
    for x in (0.42, 0.5, 0.58):
        pen.line([(x, 0.1), (x, 0.98)], 0.012, "dark")


def draw_cloud(pen: Pen) -> None:
    """Draws a cloud."""
    pen.box(0.06, 0.6, 0.94, 0.95, "dark", corner=0.17)
    for x, y, radius in ((0.26, 0.58, 0.3), (0.5, 0.4, 0.38), (0.72, 0.56, 0.32)):
        pen.disc(x + pen.rng.uniform(-0.04, 0.04), y, radius * pen.rng.uniform(0.9, 1.05))
    pen.box(0.08, 0.6, 0.92, 0.86, corner=0.13)


def draw_sun(pen: Pen) -> None:
    """Draws a sun."""
    for index in range(12):
        angle = index * math.pi / 6
        side = angle + math.pi / 2
        near = (0.5 + 0.3 * math.cos(angle), 0.5 + 0.3 * math.sin(angle))
        offset = (0.09 * math.cos(side), 0.09 * math.sin(side))
        tip = (0.5 + 0.49 * math.cos(angle), 0.5 + 0.49 * math.sin(angle))
        pen.polygon(
            [(near[0] + offset[0], near[1] + offset[1]), tip, (near[0] - offset[0], near[1] - offset[1])],
            (255, 214, 90),
        )
    pen.disc(0.5, 0.5, 0.36)
    pen.disc(0.47, 0.47, 0.26, (255, 250, 214))


def draw_moon(pen: Pen) -> None:
    """Draws a moon."""
    pen.disc(0.5, 0.5, 0.49)
    if pen.rng.uniform() < 0.5:
        pen.disc(0.8, 0.38, 0.42, None)
    for x, y, radius in ((0.28, 0.6, 0.08), (0.22, 0.38, 0.05), (0.42, 0.8, 0.05)):
        pen.disc(x, y, radius, "dark")

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What is built in the generated scenes, and what drives, floats and flies."""

from __future__ import annotations

from collections.abc import Sequence

from scene_pen import GLASS, RUBBER, STEEL, WOOD, Pen, Tone


def draw_house(pen: Pen) -> None:
    """Draws a house."""
    ridge, eaves = pen.rng.uniform(0.4, 0.6), pen.rng.uniform(0.4, 0.5)
    roof = pen.rng.choice(4)
    tone: Tone = ["dark", "dark", (112, 78, 66), (92, 94, 102)][roof]  # type: ignore[assignment]
    if pen.rng.uniform() < 0.6:
        pen.box(0.7, 0.08, 0.82, 0.4, (120, 84, 74))
    pen.box(0.08, eaves - 0.02, 0.92, 1, "main")
    pen.polygon([(0, eaves + 0.02), (ridge, 0.02), (1, eaves + 0.02)], tone)
    pen.box(0.08, eaves + 0.02, 0.92, eaves + 0.05, "dark")
    door = pen.rng.uniform(0.36, 0.5)
    pen.box(door, 0.66, door + 0.17, 1, (94, 62, 42))
    for left in (0.15, 0.7):
        pen.box(left, 0.58, left + 0.17, 0.77, (236, 236, 230))
        pen.box(left + 0.02, 0.6, left + 0.075, 0.75, GLASS)
        pen.box(left + 0.095, 0.6, left + 0.15, 0.75, GLASS)


def draw_tower(pen: Pen) -> None:
    """Draws a tower."""
    top = pen.rng.uniform(0.15, 0.2)
    pen.polygon([(0.2, top), (0.8, top), (0.9, 1), (0.1, 1)])
    pen.box(0.06, 0.1, 0.94, top + 0.04)
    for left in (0.06, 0.37, 0.68):
        pen.box(left, 0.01, left + 0.26, 0.12)
    pen.box(0.06, top + 0.03, 0.94, top + 0.05, "dark")
    for y in (0.45, 0.62, 0.8):
        pen.box(0.17, y, 0.83, y + 0.012, "dark")
    for y in (0.28, 0.5):
        pen.box(0.42, y, 0.6, y + 0.1, RUBBER, corner=0.03)
    pen.box(0.34, 0.82, 0.68, 1, (84, 58, 40), corner=0.05)
    pen.box(0.34, 0.93, 0.68, 1, (84, 58, 40))


def draw_tent(pen: Pen) -> None:
    """Draws a tent."""
    peak = pen.rng.uniform(0.38, 0.46)
    pen.polygon([(0.02, 1), (peak, 0.03), (0.78, 0.1), (0.99, 0.9), (0.8, 1)])
    pen.polygon([(peak, 0.03), (0.78, 0.1), (0.99, 0.9), (0.8, 1)], "main" if pen.paint.pattern else "dark")
    pen.polygon([(0.26, 1), (peak, 0.3), (0.6, 1)], (44, 40, 38))
    pen.polygon([(0.26, 1), (peak, 0.3), (0.38, 1)], "light")
    pen.line([(peak, 0.03), (0.8, 1)], 0.02, "dark")


def _wheels(pen: Pen, places: Sequence[float], radius: float) -> None:
    for x in places:
        pen.disc(x, 1 - radius, radius, RUBBER)
        pen.disc(x, 1 - radius, radius * 0.5, STEEL)


def draw_car(pen: Pen) -> None:
    """Draws a car."""
    roof = pen.rng.uniform(0.06, 0.14)
    pen.polygon([(0.16, 0.5), (0.28, roof), (0.64, roof), (0.82, 0.5)])
    pen.polygon([(0.22, 0.47), (0.31, roof + 0.09), (0.44, roof + 0.09), (0.44, 0.47)], GLASS)
    pen.polygon([(0.48, 0.47), (0.48, roof + 0.09), (0.62, roof + 0.09), (0.74, 0.47)], GLASS)
    pen.box(0.02, 0.44, 0.98, 0.84, corner=0.14)
    pen.box(0.02, 0.7, 0.98, 0.84, "dark", corner=0.06)
    pen.line([(0.46, 0.46), (0.46, 0.8)], 0.02, "dark")
    pen.ellipse(0.91, 0.5, 0.99, 0.62, (255, 240, 170))
    pen.box(0.02, 0.5, 0.06, 0.62, (170, 30, 30))
    _wheels(pen, (0.22, 0.78), 0.2)


def draw_truck(pen: Pen) -> None:
    """Draws a truck."""
    pen.box(0.01, 0.05, 0.66, 0.78)
    for x in (0.14, 0.27, 0.4, 0.53):
        pen.line([(x, 0.08), (x, 0.75)], 0.015, "dark")
    pen.polygon([(0.69, 0.78), (0.69, 0.28), (0.88, 0.28), (0.98, 0.52), (0.98, 0.78)], "light")
    pen.polygon([(0.74, 0.5), (0.74, 0.34), (0.86, 0.34), (0.93, 0.5)], GLASS)
    pen.box(0.01, 0.77, 0.99, 0.86, (60, 62, 66))
    pen.box(0.94, 0.6, 0.99, 0.68, (255, 240, 170))
    _wheels(pen, (0.14, 0.32, 0.82), 0.15)


def draw_bus(pen: Pen) -> None:
    """Draws a bus."""
    pen.box(0.01, 0.05, 0.99, 0.86, corner=0.12)
    pen.box(0.01, 0.6, 0.99, 0.66, "light")
    pen.box(0.01, 0.76, 0.99, 0.86, "dark", corner=0.05)
    for left in (0.06, 0.21, 0.36, 0.51, 0.66):
        pen.box(left, 0.17, left + 0.12, 0.47, GLASS, corner=0.03)
    pen.box(0.82, 0.17, 0.98, 0.52, GLASS, corner=0.03)
    pen.box(0.94, 0.66, 0.99, 0.73, (255, 240, 170))
    _wheels(pen, (0.22, 0.76), 0.16)


def draw_boat(pen: Pen) -> None:
    """Draws a boat."""
    mast = pen.rng.uniform(0.44, 0.52)
    pen.box(mast - 0.015, 0.02, mast + 0.02, 0.75, WOOD)
    pen.polygon([(mast + 0.04, 0.05), (mast + 0.04, 0.66), (0.93, 0.66)])
    pen.polygon([(mast - 0.03, 0.14), (mast - 0.03, 0.66), (0.12, 0.66)], "light")
    pen.polygon([(0.01, 0.72), (0.99, 0.7), (0.85, 0.98), (0.16, 0.98)])
    pen.polygon([(0.01, 0.72), (0.99, 0.7), (0.97, 0.77), (0.04, 0.78)], "dark")
    for x in (0.3, 0.5, 0.7):
        pen.disc(x, 0.86, 0.03, (236, 236, 228))


def draw_airplane(pen: Pen) -> None:
    """Draws an airplane."""
    pen.polygon([(0.03, 0.06), (0.14, 0.08), (0.28, 0.44), (0.08, 0.46)], "dark")
    pen.polygon([(0.42, 0.42), (0.3, 0.05), (0.4, 0.05), (0.64, 0.42)], "dark")
    pen.box(0.04, 0.36, 0.97, 0.66, corner=0.15)
    pen.polygon([(0.03, 0.4), (0.3, 0.36), (0.3, 0.62)])
    pen.polygon([(0.4, 0.56), (0.22, 0.97), (0.36, 0.97), (0.66, 0.56)], "dark")
    for x in (0.34, 0.44, 0.54, 0.64, 0.74):
        pen.disc(x, 0.47, 0.045, (232, 240, 246))
    pen.polygon([(0.84, 0.38), (0.92, 0.38), (0.965, 0.5), (0.84, 0.5)], GLASS)


def draw_rocket(pen: Pen) -> None:
    """Draws a rocket."""
    pen.polygon([(0.34, 0.82), (0.5, 1), (0.66, 0.82)], (255, 176, 40))
    pen.polygon([(0.28, 0.52), (0.01, 0.86), (0.3, 0.8)], "dark")
    pen.polygon([(0.72, 0.52), (0.99, 0.86), (0.7, 0.8)], "dark")
    pen.ellipse(0.24, 0.01, 0.76, 0.7)
    pen.polygon([(0.24, 0.34), (0.76, 0.34), (0.7, 0.84), (0.3, 0.84)])
    pen.box(0.29, 0.76, 0.71, 0.84, "dark")
    pen.disc(0.5, 0.34, 0.085, (234, 234, 230))
    pen.disc(0.5, 0.34, 0.06, GLASS)

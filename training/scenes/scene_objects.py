# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What lies and stands about in the generated scenes."""

from __future__ import annotations

import math

import numpy as np
from scene_pen import STEEL, WOOD, Pen, mix


def draw_ball(pen: Pen) -> None:
    """Draws a ball."""
    pen.ellipse(0.01, 0.01, 0.99, 0.99, "dark")
    pen.ellipse(0.02, 0.01, 0.96, 0.95, "main")
    if not pen.paint.pattern:
        pen.ellipse(0.16, 0.1, 0.64, 0.56, "light")
    pen.ellipse(0.26, 0.16, 0.4, 0.28, mix(pen.paint.main, (255, 255, 255), 0.75))


def draw_balloon(pen: Pen) -> None:
    """Draws a balloon."""
    sway = pen.rng.uniform(-0.15, 0.15)
    pen.line([(0.5, 0.6), (0.5 + sway, 0.8), (0.5 - sway, 1)], 0.014, (90, 90, 90))
    pen.polygon([(0.5, 0.58), (0.38, 0.69), (0.62, 0.69)], "dark")
    pen.ellipse(0.03, 0.01, 0.97, 0.63)
    if not pen.paint.pattern:
        pen.ellipse(0.18, 0.07, 0.6, 0.38, "light")
    pen.ellipse(0.26, 0.1, 0.4, 0.2, mix(pen.paint.main, (255, 255, 255), 0.75))


def draw_kite(pen: Pen) -> None:
    """Draws a kite."""
    sway = pen.rng.uniform(0.06, 0.16)
    tail = [(0.5, 0.62), (0.5 + sway, 0.74), (0.5 - sway, 0.86), (0.5 + sway, 0.98)]
    pen.line(tail, 0.016, "dark")
    for x, y in tail[1:3]:
        pen.polygon(
            [(x - 0.12, y - 0.035), (x + 0.12, y + 0.035), (x + 0.12, y - 0.035), (x - 0.12, y + 0.035)], "light"
        )
    pen.polygon([(0.5, 0.01), (0.97, 0.26), (0.5, 0.66), (0.03, 0.26)])
    if not pen.paint.pattern:
        pen.polygon([(0.5, 0.01), (0.97, 0.26), (0.5, 0.26)], "light")
        pen.polygon([(0.03, 0.26), (0.5, 0.26), (0.5, 0.66)], "dark")
    pen.line([(0.5, 0.02), (0.5, 0.65)], 0.014, WOOD)
    pen.line([(0.04, 0.26), (0.96, 0.26)], 0.014, WOOD)


def draw_umbrella(pen: Pen) -> None:
    """Draws an umbrella."""
    pen.box(0.485, 0.1, 0.52, 0.9, (96, 78, 60))
    pen.pie((0.485, 0.8, 0.65, 1.0), 0, 180, (96, 78, 60))
    pen.pie((0.52, 0.8, 0.615, 0.95), 0, 180, None)
    pen.pie((0.01, 0.04, 0.99, 0.98), 180, 360)
    if not pen.paint.pattern:
        pen.pie((0.3, 0.04, 0.7, 0.98), 180, 360, "light")
    for left in (0.01, 0.257, 0.504, 0.75):
        pen.ellipse(left, 0.45, left + 0.24, 0.6, None)
    pen.box(0.485, 0.46, 0.52, 0.6, (96, 78, 60))
    pen.box(0.485, 0, 0.515, 0.07, (96, 78, 60))


def draw_flag(pen: Pen) -> None:
    """Draws a flag."""
    wave = pen.rng.uniform(0.03, 0.06)
    xs = np.linspace(0.12, 0.99, 9)
    top = [(float(x), 0.1 + wave * math.sin((x - 0.12) * 8)) for x in xs]
    pen.polygon(top + [(x, y + 0.42) for x, y in reversed(top)])
    if not pen.paint.pattern:
        pen.polygon(top[4:7] + [(x, y + 0.42) for x, y in reversed(top[4:7])], "dark")
    pen.box(0.05, 0.02, 0.13, 1, STEEL)
    pen.disc(0.09, 0.04, 0.04, (226, 196, 90))


def draw_fence(pen: Pen) -> None:
    """Draws a fence."""
    pen.box(0, 0.36, 1, 0.5, "dark")
    pen.box(0, 0.7, 1, 0.84, "dark")
    count = int(pen.rng.integers(5, 8))
    pitch = 1 / count
    for index in range(count):
        left, right = (index + 0.12) * pitch, (index + 0.88) * pitch
        pen.polygon([(left, 1), (left, 0.2), ((left + right) / 2, 0.02), (right, 0.2), (right, 1)])
        pen.polygon([(right - 0.12 * pitch, 1), (right - 0.12 * pitch, 0.12), (right, 0.2), (right, 1)], "dark")


def draw_bench(pen: Pen) -> None:
    """Draws a bench."""
    for x in (0.1, 0.84):
        pen.box(x, 0.05, x + 0.06, 1, "dark")
    for y in (0.06, 0.26):
        pen.box(0.02, y, 0.98, y + 0.15)
    pen.polygon([(0.06, 0.5), (0.94, 0.5), (1, 0.68), (0, 0.68)], "light")
    pen.box(0, 0.66, 1, 0.75, "dark")
    for x in (0.02, 0.92):
        pen.box(x, 0.72, x + 0.06, 1, "dark")


def draw_chair(pen: Pen) -> None:
    """Draws a chair."""
    pen.box(0.16, 0.5, 0.26, 0.92, "dark")
    pen.box(0.78, 0.55, 0.88, 0.92, "dark")
    pen.box(0.06, 0.01, 0.28, 0.6, "main", corner=0.04)
    pen.box(0.12, 0.08, 0.22, 0.42, "dark")
    pen.polygon([(0.06, 0.55), (0.26, 0.46), (0.98, 0.46), (0.9, 0.57)], "light")
    pen.box(0.06, 0.56, 0.93, 0.66)
    pen.box(0.06, 0.6, 0.19, 1)
    pen.box(0.8, 0.6, 0.93, 1)


def draw_table(pen: Pen) -> None:
    """Draws a table."""
    for x in (0.2, 0.72):
        pen.box(x, 0.3, x + 0.07, 0.86, "dark")
    for x in (0.05, 0.86):
        pen.box(x, 0.3, x + 0.09, 1)
    pen.polygon([(0.18, 0.05), (0.82, 0.05), (1, 0.32), (0, 0.32)], "light")
    pen.box(0, 0.31, 1, 0.45)
    pen.box(0, 0.42, 1, 0.47, "dark")


def draw_lamp(pen: Pen) -> None:
    """Draws a lamp."""
    pen.box(0.43, 0.4, 0.57, 0.95, "dark")
    pen.ellipse(0.12, 0.88, 0.88, 1, "dark")
    pen.polygon([(0.26, 0.03), (0.74, 0.03), (1, 0.46), (0, 0.46)])
    pen.polygon([(0.4, 0.03), (0.6, 0.03), (0.66, 0.46), (0.34, 0.46)], "light")
    pen.ellipse(0.02, 0.41, 0.98, 0.51, (255, 244, 196))


def draw_mailbox(pen: Pen) -> None:
    """Draws a mailbox."""
    pen.box(0.42, 0.5, 0.6, 1, WOOD)
    pen.box(0.02, 0.06, 0.98, 0.4, corner=0.16)
    pen.box(0.02, 0.22, 0.98, 0.56)
    pen.box(0.02, 0.06, 0.4, 0.4, "dark", corner=0.16)
    pen.box(0.02, 0.22, 0.4, 0.56, "dark")
    pen.box(0.1, 0.3, 0.32, 0.36, (30, 30, 32))
    pen.box(0.7, 0.02, 0.76, 0.3, (220, 216, 206))
    pen.box(0.7, 0.02, 0.93, 0.14, (220, 216, 206))


def draw_cup(pen: Pen) -> None:
    """Draws a cup."""
    pen.ellipse(0.56, 0.26, 0.99, 0.8)
    pen.ellipse(0.66, 0.38, 0.88, 0.68, None)
    pen.polygon([(0.02, 0.12), (0.76, 0.12), (0.68, 0.9), (0.1, 0.9)])
    pen.ellipse(0.1, 0.82, 0.68, 0.99)
    pen.ellipse(0.02, 0.02, 0.76, 0.23, "light")
    pen.ellipse(0.07, 0.05, 0.71, 0.2, (84, 54, 36))


def draw_hat(pen: Pen) -> None:
    """Draws a hat."""
    pen.ellipse(0, 0.62, 1, 1, "dark")
    pen.ellipse(0, 0.58, 1, 0.94)
    pen.box(0.24, 0.02, 0.76, 0.76, corner=0.16)
    pen.pie((0.24, 0.62, 0.76, 0.88), 0, 180)
    pen.box(0.24, 0.56, 0.76, 0.7, (58, 52, 56) if sum(pen.paint.main) > 200 else (150, 146, 140))
    if not pen.paint.pattern:
        pen.box(0.3, 0.08, 0.38, 0.55, "light")


def draw_barrel(pen: Pen) -> None:
    """Draws a barrel."""
    pen.polygon(
        [(0.14, 0.06), (0.86, 0.06), (0.99, 0.36), (0.99, 0.66), (0.86, 0.95), (0.14, 0.95), (0.01, 0.66), (0.01, 0.36)]
    )
    for x, bulge in ((0.34, 0.28), (0.5, 0.5), (0.66, 0.72)):
        pen.line([(x, 0.08), (bulge, 0.5), (x, 0.94)], 0.015, "dark")
    pen.ellipse(0.14, 0.88, 0.86, 1)
    pen.polygon([(0.08, 0.2), (0.92, 0.2), (0.96, 0.3), (0.04, 0.3)], (112, 114, 118))
    pen.polygon([(0.04, 0.7), (0.96, 0.7), (0.92, 0.8), (0.08, 0.8)], (112, 114, 118))
    pen.ellipse(0.14, 0, 0.86, 0.13, "light")


def draw_sign(pen: Pen) -> None:
    """Draws a sign."""
    pen.box(0.42, 0.1, 0.54, 1, (104, 96, 88))
    pen.polygon([(0.01, 0.06), (0.74, 0.06), (0.99, 0.29), (0.74, 0.52), (0.01, 0.52)])
    letters = (40, 40, 44) if sum(pen.paint.main) > 390 else (240, 240, 236)
    pen.box(0.1, 0.18, 0.68, 0.24, letters)
    pen.box(0.1, 0.33, 0.56, 0.39, letters)

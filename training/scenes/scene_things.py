# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Drawings of the things in the generated scenes: one function a noun, in unit coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scene_pen import RGB, Paint, Pen, Point, Tone, jitter, mix
from scene_vocabulary import COLOURS

GLASS: RGB = (88, 122, 148)
RUBBER: RGB = (34, 34, 38)
STEEL: RGB = (164, 168, 174)
WOOD: RGB = (132, 92, 56)
LEAF: RGB = (62, 128, 52)


def _house(pen: Pen) -> None:
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


def _tower(pen: Pen) -> None:
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


def _tent(pen: Pen) -> None:
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


def _car(pen: Pen) -> None:
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


def _truck(pen: Pen) -> None:
    pen.box(0.01, 0.05, 0.66, 0.78)
    for x in (0.14, 0.27, 0.4, 0.53):
        pen.line([(x, 0.08), (x, 0.75)], 0.015, "dark")
    pen.polygon([(0.69, 0.78), (0.69, 0.28), (0.88, 0.28), (0.98, 0.52), (0.98, 0.78)], "light")
    pen.polygon([(0.74, 0.5), (0.74, 0.34), (0.86, 0.34), (0.93, 0.5)], GLASS)
    pen.box(0.01, 0.77, 0.99, 0.86, (60, 62, 66))
    pen.box(0.94, 0.6, 0.99, 0.68, (255, 240, 170))
    _wheels(pen, (0.14, 0.32, 0.82), 0.15)


def _bus(pen: Pen) -> None:
    pen.box(0.01, 0.05, 0.99, 0.86, corner=0.12)
    pen.box(0.01, 0.6, 0.99, 0.66, "light")
    pen.box(0.01, 0.76, 0.99, 0.86, "dark", corner=0.05)
    for left in (0.06, 0.21, 0.36, 0.51, 0.66):
        pen.box(left, 0.17, left + 0.12, 0.47, GLASS, corner=0.03)
    pen.box(0.82, 0.17, 0.98, 0.52, GLASS, corner=0.03)
    pen.box(0.94, 0.66, 0.99, 0.73, (255, 240, 170))
    _wheels(pen, (0.22, 0.76), 0.16)


def _boat(pen: Pen) -> None:
    mast = pen.rng.uniform(0.44, 0.52)
    pen.box(mast - 0.015, 0.02, mast + 0.02, 0.75, WOOD)
    pen.polygon([(mast + 0.04, 0.05), (mast + 0.04, 0.66), (0.93, 0.66)])
    pen.polygon([(mast - 0.03, 0.14), (mast - 0.03, 0.66), (0.12, 0.66)], "light")
    pen.polygon([(0.01, 0.72), (0.99, 0.7), (0.85, 0.98), (0.16, 0.98)])
    pen.polygon([(0.01, 0.72), (0.99, 0.7), (0.97, 0.77), (0.04, 0.78)], "dark")
    for x in (0.3, 0.5, 0.7):
        pen.disc(x, 0.86, 0.03, (236, 236, 228))


def _airplane(pen: Pen) -> None:
    pen.polygon([(0.03, 0.06), (0.14, 0.08), (0.28, 0.44), (0.08, 0.46)], "dark")
    pen.polygon([(0.42, 0.42), (0.3, 0.05), (0.4, 0.05), (0.64, 0.42)], "dark")
    pen.box(0.04, 0.36, 0.97, 0.66, corner=0.15)
    pen.polygon([(0.03, 0.4), (0.3, 0.36), (0.3, 0.62)])
    pen.polygon([(0.4, 0.56), (0.22, 0.97), (0.36, 0.97), (0.66, 0.56)], "dark")
    for x in (0.34, 0.44, 0.54, 0.64, 0.74):
        pen.disc(x, 0.47, 0.045, (232, 240, 246))
    pen.polygon([(0.84, 0.38), (0.92, 0.38), (0.965, 0.5), (0.84, 0.5)], GLASS)


def _rocket(pen: Pen) -> None:
    pen.polygon([(0.34, 0.82), (0.5, 1), (0.66, 0.82)], (255, 176, 40))
    pen.polygon([(0.28, 0.52), (0.01, 0.86), (0.3, 0.8)], "dark")
    pen.polygon([(0.72, 0.52), (0.99, 0.86), (0.7, 0.8)], "dark")
    pen.ellipse(0.24, 0.01, 0.76, 0.7)
    pen.polygon([(0.24, 0.34), (0.76, 0.34), (0.7, 0.84), (0.3, 0.84)])
    pen.box(0.29, 0.76, 0.71, 0.84, "dark")
    pen.disc(0.5, 0.34, 0.085, (234, 234, 230))
    pen.disc(0.5, 0.34, 0.06, GLASS)


def _ball(pen: Pen) -> None:
    pen.ellipse(0.01, 0.01, 0.99, 0.99, "dark")
    pen.ellipse(0.02, 0.01, 0.96, 0.95, "main")
    if not pen.paint.pattern:
        pen.ellipse(0.16, 0.1, 0.64, 0.56, "light")
    pen.ellipse(0.26, 0.16, 0.4, 0.28, mix(pen.paint.main, (255, 255, 255), 0.75))


def _balloon(pen: Pen) -> None:
    sway = pen.rng.uniform(-0.15, 0.15)
    pen.line([(0.5, 0.6), (0.5 + sway, 0.8), (0.5 - sway, 1)], 0.014, (90, 90, 90))
    pen.polygon([(0.5, 0.58), (0.38, 0.69), (0.62, 0.69)], "dark")
    pen.ellipse(0.03, 0.01, 0.97, 0.63)
    if not pen.paint.pattern:
        pen.ellipse(0.18, 0.07, 0.6, 0.38, "light")
    pen.ellipse(0.26, 0.1, 0.4, 0.2, mix(pen.paint.main, (255, 255, 255), 0.75))


def _kite(pen: Pen) -> None:
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


def _umbrella(pen: Pen) -> None:
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


def _flag(pen: Pen) -> None:
    wave = pen.rng.uniform(0.03, 0.06)
    xs = np.linspace(0.12, 0.99, 9)
    top = [(float(x), 0.1 + wave * math.sin((x - 0.12) * 8)) for x in xs]
    pen.polygon(top + [(x, y + 0.42) for x, y in reversed(top)])
    if not pen.paint.pattern:
        pen.polygon(top[4:7] + [(x, y + 0.42) for x, y in reversed(top[4:7])], "dark")
    pen.box(0.05, 0.02, 0.13, 1, STEEL)
    pen.disc(0.09, 0.04, 0.04, (226, 196, 90))


def _fence(pen: Pen) -> None:
    pen.box(0, 0.36, 1, 0.5, "dark")
    pen.box(0, 0.7, 1, 0.84, "dark")
    count = int(pen.rng.integers(5, 8))
    pitch = 1 / count
    for index in range(count):
        left, right = (index + 0.12) * pitch, (index + 0.88) * pitch
        pen.polygon([(left, 1), (left, 0.2), ((left + right) / 2, 0.02), (right, 0.2), (right, 1)])
        pen.polygon([(right - 0.12 * pitch, 1), (right - 0.12 * pitch, 0.12), (right, 0.2), (right, 1)], "dark")


def _bench(pen: Pen) -> None:
    for x in (0.1, 0.84):
        pen.box(x, 0.05, x + 0.06, 1, "dark")
    for y in (0.06, 0.26):
        pen.box(0.02, y, 0.98, y + 0.15)
    pen.polygon([(0.06, 0.5), (0.94, 0.5), (1, 0.68), (0, 0.68)], "light")
    pen.box(0, 0.66, 1, 0.75, "dark")
    for x in (0.02, 0.92):
        pen.box(x, 0.72, x + 0.06, 1, "dark")


def _chair(pen: Pen) -> None:
    pen.box(0.16, 0.5, 0.26, 0.92, "dark")
    pen.box(0.78, 0.55, 0.88, 0.92, "dark")
    pen.box(0.06, 0.01, 0.28, 0.6, "main", corner=0.04)
    pen.box(0.12, 0.08, 0.22, 0.42, "dark")
    pen.polygon([(0.06, 0.55), (0.26, 0.46), (0.98, 0.46), (0.9, 0.57)], "light")
    pen.box(0.06, 0.56, 0.93, 0.66)
    pen.box(0.06, 0.6, 0.19, 1)
    pen.box(0.8, 0.6, 0.93, 1)


def _table(pen: Pen) -> None:
    for x in (0.2, 0.72):
        pen.box(x, 0.3, x + 0.07, 0.86, "dark")
    for x in (0.05, 0.86):
        pen.box(x, 0.3, x + 0.09, 1)
    pen.polygon([(0.18, 0.05), (0.82, 0.05), (1, 0.32), (0, 0.32)], "light")
    pen.box(0, 0.31, 1, 0.45)
    pen.box(0, 0.42, 1, 0.47, "dark")


def _lamp(pen: Pen) -> None:
    pen.box(0.43, 0.4, 0.57, 0.95, "dark")
    pen.ellipse(0.12, 0.88, 0.88, 1, "dark")
    pen.polygon([(0.26, 0.03), (0.74, 0.03), (1, 0.46), (0, 0.46)])
    pen.polygon([(0.4, 0.03), (0.6, 0.03), (0.66, 0.46), (0.34, 0.46)], "light")
    pen.ellipse(0.02, 0.41, 0.98, 0.51, (255, 244, 196))


def _mailbox(pen: Pen) -> None:
    pen.box(0.42, 0.5, 0.6, 1, WOOD)
    pen.box(0.02, 0.06, 0.98, 0.4, corner=0.16)
    pen.box(0.02, 0.22, 0.98, 0.56)
    pen.box(0.02, 0.06, 0.4, 0.4, "dark", corner=0.16)
    pen.box(0.02, 0.22, 0.4, 0.56, "dark")
    pen.box(0.1, 0.3, 0.32, 0.36, (30, 30, 32))
    pen.box(0.7, 0.02, 0.76, 0.3, (220, 216, 206))
    pen.box(0.7, 0.02, 0.93, 0.14, (220, 216, 206))


def _cup(pen: Pen) -> None:
    pen.ellipse(0.56, 0.26, 0.99, 0.8)
    pen.ellipse(0.66, 0.38, 0.88, 0.68, None)
    pen.polygon([(0.02, 0.12), (0.76, 0.12), (0.68, 0.9), (0.1, 0.9)])
    pen.ellipse(0.1, 0.82, 0.68, 0.99)
    pen.ellipse(0.02, 0.02, 0.76, 0.23, "light")
    pen.ellipse(0.07, 0.05, 0.71, 0.2, (84, 54, 36))


def _hat(pen: Pen) -> None:
    pen.ellipse(0, 0.62, 1, 1, "dark")
    pen.ellipse(0, 0.58, 1, 0.94)
    pen.box(0.24, 0.02, 0.76, 0.76, corner=0.16)
    pen.pie((0.24, 0.62, 0.76, 0.88), 0, 180)
    pen.box(0.24, 0.56, 0.76, 0.7, (58, 52, 56) if sum(pen.paint.main) > 200 else (150, 146, 140))
    if not pen.paint.pattern:
        pen.box(0.3, 0.08, 0.38, 0.55, "light")


def _barrel(pen: Pen) -> None:
    pen.polygon(
        [(0.14, 0.06), (0.86, 0.06), (0.99, 0.36), (0.99, 0.66), (0.86, 0.95), (0.14, 0.95), (0.01, 0.66), (0.01, 0.36)]
    )
    for x, bulge in ((0.34, 0.28), (0.5, 0.5), (0.66, 0.72)):
        pen.line([(x, 0.08), (bulge, 0.5), (x, 0.94)], 0.015, "dark")
    pen.ellipse(0.14, 0.88, 0.86, 1)
    pen.polygon([(0.08, 0.2), (0.92, 0.2), (0.96, 0.3), (0.04, 0.3)], (112, 114, 118))
    pen.polygon([(0.04, 0.7), (0.96, 0.7), (0.92, 0.8), (0.08, 0.8)], (112, 114, 118))
    pen.ellipse(0.14, 0, 0.86, 0.13, "light")


def _sign(pen: Pen) -> None:
    pen.box(0.42, 0.1, 0.54, 1, (104, 96, 88))
    pen.polygon([(0.01, 0.06), (0.74, 0.06), (0.99, 0.29), (0.74, 0.52), (0.01, 0.52)])
    letters = (40, 40, 44) if sum(pen.paint.main) > 390 else (240, 240, 236)
    pen.box(0.1, 0.18, 0.68, 0.24, letters)
    pen.box(0.1, 0.33, 0.56, 0.39, letters)


def _flower(pen: Pen) -> None:
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


def _mushroom(pen: Pen) -> None:
    pen.polygon([(0.38, 0.45), (0.62, 0.45), (0.7, 0.98), (0.3, 0.98)], (236, 224, 200))
    pen.box(0.56, 0.5, 0.68, 0.97, (210, 194, 166))
    pen.pie((0.01, 0.02, 0.99, 1.06), 180, 360)
    pen.ellipse(0.01, 0.46, 0.99, 0.62, "dark")
    spots = mix(pen.paint.main, (255, 255, 255), 0.6) if min(pen.paint.main) < 200 else (200, 196, 190)
    for x, y, radius in ((0.32, 0.3, 0.07), (0.62, 0.2, 0.08), (0.78, 0.4, 0.055)):
        pen.disc(x, y, radius, spots)


def _fish(pen: Pen) -> None:
    pen.polygon([(0.32, 0.5), (0.01, 0.08), (0.08, 0.5), (0.01, 0.92)], "dark")
    pen.polygon([(0.4, 0.22), (0.56, 0.0), (0.74, 0.18)], "dark")
    pen.ellipse(0.2, 0.1, 0.99, 0.9)
    pen.pie((0.26, 0.1, 0.96, 0.9), 30, 150, "light")
    for x in (0.4, 0.52):
        pen.line([(x, 0.34), (x + 0.05, 0.5), (x, 0.66)], 0.03, "dark")
    pen.disc(0.84, 0.4, 0.09, (245, 245, 245))
    pen.disc(0.85, 0.4, 0.05, (20, 20, 20))


def _bird(pen: Pen) -> None:
    pen.polygon([(0.9, 0.3), (1, 0.36), (0.88, 0.42)], (240, 160, 40))
    for x in (0.48, 0.58):
        pen.box(x, 0.78, x + 0.04, 1, (214, 140, 50))
    pen.polygon([(0.3, 0.55), (0, 0.5), (0.04, 0.72), (0.34, 0.78)], "dark")
    pen.ellipse(0.16, 0.36, 0.82, 0.88)
    pen.disc(0.76, 0.34, 0.2)
    pen.polygon([(0.62, 0.6), (0.42, 0.0), (0.14, 0.06), (0.3, 0.62)], "dark")
    pen.disc(0.82, 0.3, 0.045, (245, 245, 245))
    pen.disc(0.83, 0.3, 0.028, (15, 15, 15))


def _tree(pen: Pen) -> None:
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


def _pine(pen: Pen) -> None:
    pen.box(0.44, 0.8, 0.56, 1, (90, 62, 42))
    for index, (top, bottom, half) in enumerate(((0.4, 0.88, 0.48), (0.2, 0.62, 0.38), (0.01, 0.38, 0.27))):
        pen.polygon([(0.5, top), (0.5 + half, bottom), (0.5 - half, bottom)], "main" if index % 2 else "dark")
        pen.polygon([(0.5, top), (0.5 - half, bottom), (0.5 - half * 0.2, bottom)], "light")


def _palm(pen: Pen) -> None:
    lean = pen.rng.uniform(-0.12, 0.12)
    x = 0.5 + lean
    pen.line([(0.5 - lean, 1), (0.5, 0.7), (x, 0.3)], 0.06, (136, 104, 68))
    for angle in np.linspace(math.pi * 0.95, math.pi * 2.05, 7) + pen.rng.uniform(-0.1, 0.1):
        tip = (x + 0.5 * math.cos(angle), 0.34 + 0.3 * math.sin(angle) + 0.1)
        middle = (x + 0.28 * math.cos(angle), 0.24 + 0.26 * math.sin(angle))
        pen.polygon([(x, 0.27), middle, tip, (middle[0], middle[1] + 0.1)], "main" if angle % 1 < 0.5 else "dark")
    pen.disc(x, 0.3, 0.05, (110, 76, 46))


def _bush(pen: Pen) -> None:
    pen.pie((0.04, 0.4, 0.96, 1.55), 180, 360, "dark")
    for x, y, radius in ((0.2, 0.66, 0.3), (0.44, 0.46, 0.4), (0.72, 0.6, 0.36)):
        pen.disc(x, y, radius * 0.95)
    for _ in range(16):
        tone = "light" if pen.rng.uniform() < 0.5 else "dark"
        pen.disc(pen.rng.uniform(0.15, 0.85), pen.rng.uniform(0.35, 0.88), pen.rng.uniform(0.05, 0.1), tone)


def _rock(pen: Pen) -> None:
    peak, shoulder = pen.rng.uniform(0.3, 0.45), pen.rng.uniform(0.15, 0.35)
    pen.polygon([(0.01, 1), (0.08, 0.5), (peak, 0.03), (0.75, shoulder), (0.98, 0.65), (1, 1)])
    pen.polygon([(0.5, 1), (0.55, 0.5), (0.75, shoulder), (0.98, 0.65), (1, 1)], "dark")
    pen.polygon([(0.08, 0.5), (peak, 0.03), (0.55, 0.5), (0.3, 0.6)], "light")


def _cactus(pen: Pen) -> None:
    pen.box(0.03, 0.26, 0.21, 0.6, corner=0.08)
    pen.box(0.03, 0.48, 0.5, 0.6, corner=0.05)
    pen.box(0.79, 0.16, 0.97, 0.5, corner=0.08)
    pen.box(0.5, 0.38, 0.97, 0.5, corner=0.05)
    pen.box(0.34, 0.01, 0.66, 1.2, corner=0.14)
    for x in (0.42, 0.5, 0.58):
        pen.line([(x, 0.1), (x, 0.98)], 0.012, "dark")


def _cloud(pen: Pen) -> None:
    pen.box(0.06, 0.6, 0.94, 0.95, "dark", corner=0.17)
    for x, y, radius in ((0.26, 0.58, 0.3), (0.5, 0.4, 0.38), (0.72, 0.56, 0.32)):
        pen.disc(x + pen.rng.uniform(-0.04, 0.04), y, radius * pen.rng.uniform(0.9, 1.05))
    pen.box(0.08, 0.6, 0.92, 0.86, corner=0.13)


def _sun(pen: Pen) -> None:
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


def _moon(pen: Pen) -> None:
    pen.disc(0.5, 0.5, 0.49)
    if pen.rng.uniform() < 0.5:
        pen.disc(0.8, 0.38, 0.42, None)
    for x, y, radius in ((0.28, 0.6, 0.08), (0.22, 0.38, 0.05), (0.42, 0.8, 0.05)):
        pen.disc(x, y, radius, "dark")


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
    "house": Thing(_house, 1.15, 1.15),
    "tower": Thing(_tower, 0.5, 1.3),
    "tent": Thing(_tent, 1.45, 1.0),
    "car": Thing(_car, 2.0, 1.1),
    "truck": Thing(_truck, 1.8, 1.2),
    "bus": Thing(_bus, 2.0, 1.25),
    "boat": Thing(_boat, 1.1, 1.0),
    "airplane": Thing(_airplane, 1.7, 1.1, tilt=12),
    "rocket": Thing(_rocket, 0.6, 1.1, tilt=10),
    "ball": Thing(_ball, 1.0, 0.7),
    "balloon": Thing(_balloon, 0.6, 1.0, tilt=6),
    "kite": Thing(_kite, 0.75, 1.05, tilt=28),
    "umbrella": Thing(_umbrella, 1.15, 0.95),
    "flag": Thing(_flag, 0.8, 1.0),
    "fence": Thing(_fence, 2.0, 1.15),
    "bench": Thing(_bench, 1.7, 0.95),
    "chair": Thing(_chair, 0.68, 0.9),
    "table": Thing(_table, 1.5, 0.95),
    "lamp": Thing(_lamp, 0.6, 1.0),
    "mailbox": Thing(_mailbox, 0.85, 0.9),
    "cup": Thing(_cup, 1.15, 0.75),
    "hat": Thing(_hat, 1.5, 0.85),
    "barrel": Thing(_barrel, 0.8, 0.8),
    "sign": Thing(_sign, 0.9, 0.95),
    "flower": Thing(_flower, 0.75, 0.9),
    "mushroom": Thing(_mushroom, 1.0, 0.8),
    "fish": Thing(_fish, 1.6, 0.85, tilt=12),
    "bird": Thing(_bird, 1.25, 0.85, tilt=6),
    "tree": Thing(_tree, 0.8, 1.25, ((58, 120, 48), (84, 138, 52), (66, 110, 62))),
    "pine": Thing(_pine, 0.65, 1.25, ((32, 88, 62), (40, 96, 58))),
    "palm": Thing(_palm, 0.95, 1.25, ((70, 138, 58), (88, 146, 62))),
    "bush": Thing(_bush, 1.6, 0.8, ((64, 116, 54), (92, 132, 66))),
    "rock": Thing(_rock, 1.35, 0.8, ((138, 130, 122), (120, 118, 120), (150, 138, 124))),
    "cactus": Thing(_cactus, 0.7, 1.0, ((70, 132, 84), (86, 142, 78))),
    "cloud": Thing(_cloud, 2.0, 1.1, ((246, 246, 248), (236, 238, 242)), casts_shadow=False),
    "sun": Thing(_sun, 1.0, 0.75, ((255, 232, 120),), casts_shadow=False),
    "moon": Thing(_moon, 1.0, 0.6, ((240, 236, 214),), casts_shadow=False),
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

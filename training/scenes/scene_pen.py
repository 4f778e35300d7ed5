# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A pen that draws the parts of a thing in its paint, and finishes the drawing with pattern, light and antialiasing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Tone = str | RGB
Point = tuple[float, float]

SUPERSAMPLING = 3

# What parts are made of that do not take a thing's own paint.
GLASS: RGB = (88, 122, 148)
RUBBER: RGB = (34, 34, 38)
STEEL: RGB = (164, 168, 174)
WOOD: RGB = (132, 92, 56)
LEAF: RGB = (62, 128, 52)


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Returns `first` moved by `share` (0 to 1) of the way to `second`."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def jitter(colour: RGB, rng: np.random.Generator, amount: float = 12.0) -> RGB:
    """Returns `colour` with every channel moved by up to `amount` levels, most of it in step."""
    change = rng.uniform(-amount, amount) + rng.uniform(-amount / 2, amount / 2, 3)
    return tuple(int(min(max(c + d, 0), 255)) for c, d in zip(colour, change, strict=True))  # type: ignore[return-value]


@dataclass
class Paint:
    """The paint of one thing: its own colour, and the second colour and pattern where it has one."""

    main: RGB
    second: RGB | None = None
    pattern: str | None = None

    def tone(self, tone: Tone) -> RGB:
        """Returns the RGB value of `main`, `dark`, `light` or of a colour given outright."""
        if not isinstance(tone, str):
            return tone
        bright = sum(self.main) / 3
        if tone == "dark":
            # A share of black alone would leave black things without an edge to tell their parts by.
            return mix(self.main, (70, 70, 78), 0.45) if bright < 50 else mix(self.main, (0, 0, 0), 0.24)
        if tone == "light":
            return mix(self.main, (255, 255, 255), 0.12 if bright < 50 else 0.22)
        return self.main


class Pen:
    """Draws filled shapes on a transparent patch, in units of the patch's sides (x right, y down).

    Args:
        width: the patch's width in pixels of the finished picture.
        height: the patch's height in pixels of the finished picture.
        paint: what the tones `main`, `dark` and `light` stand for.
        rng: source of the drawing's own variations.
    """

    def __init__(self, width: int, height: int, paint: Paint, rng: np.random.Generator):
        self.width, self.height = width * SUPERSAMPLING, height * SUPERSAMPLING
        self.paint = paint
        self.rng = rng
        # The fourth channel is the coverage. RGBX and not RGBA, since Pillow shrinks RGBA by way of two slow
        # conversions; empty pixels carry the main colour, so that shrinking leaves no dark rim all the same.
        self.picture = Image.new("RGBX", (self.width, self.height), (*paint.main, 0))
        self._draw = ImageDraw.Draw(self.picture)
        self.patterned = Image.new("L", (self.width, self.height)) if paint.pattern else None
        self._draw_patterned = ImageDraw.Draw(self.patterned) if self.patterned else None

    def _apply(self, method: str, shape: Sequence[float], tone: Tone | None, **options: object) -> None:
        fill = (0, 0, 0, 0) if tone is None else (*self.paint.tone(tone), 255)
        getattr(self._draw, method)(shape, fill=fill, **options)
        if self._draw_patterned is not None:
            getattr(self._draw_patterned, method)(shape, fill=255 if tone == "main" else 0, **options)

    def _scale(self, points: Sequence[Point]) -> list[float]:
        return [c for x, y in points for c in (x * self.width, y * self.height)]

    def polygon(self, points: Sequence[Point], tone: Tone | None = "main") -> None:
        """Fills a polygon; a tone of None cuts a hole."""
        self._apply("polygon", self._scale(points), tone)

    def ellipse(self, left: float, top: float, right: float, bottom: float, tone: Tone | None = "main") -> None:
        """Fills the ellipse inside a box."""
        self._apply("ellipse", self._scale([(left, top), (right, bottom)]), tone)

    def disc(self, x: float, y: float, radius: float, tone: Tone | None = "main") -> None:
        """Fills a true circle; the radius is a share of the patch's height."""
        half = radius * self.height / self.width
        self.ellipse(x - half, y - radius, x + half, y + radius, tone)

    def box(
        self, left: float, top: float, right: float, bottom: float, tone: Tone | None = "main", corner: float = 0.0
    ) -> None:
        """Fills a box; `corner` is the rounding as a share of the patch's height."""
        shape = self._scale([(left, top), (right, bottom)])
        if corner:
            self._apply("rounded_rectangle", shape, tone, radius=corner * self.height)
        else:
            self._apply("rectangle", shape, tone)

    def pie(self, box: tuple[float, float, float, float], start: float, end: float, tone: Tone | None = "main") -> None:
        """Fills the slice of an ellipse between two angles in degrees, clockwise from the right."""
        self._apply("pieslice", self._scale([box[:2], box[2:]]), tone, start=start, end=end)

    def line(self, points: Sequence[Point], thickness: float, tone: Tone | None = "dark") -> None:
        """Draws a line; the thickness is a share of the patch's height."""
        width = max(SUPERSAMPLING, round(thickness * self.height))
        self._apply("line", self._scale(points), tone, width=width, joint="curve")

    def finish(self, light: Point, angle: float = 0.0) -> tuple[Image.Image, Image.Image, np.ndarray]:
        """Applies the pattern and the light, and shrinks the drawing.

        Args:
            light: direction towards the light (x right, y down), of length up to one.
            angle: turn of the drawing in degrees, counter-clockwise.

        Returns:
            The RGB patch, its antialiased coverage (L) and its boolean silhouette (height, width).
        """
        if self.patterned is not None and self.paint.second is not None:
            where = self._pattern_mask() & (np.asarray(self.patterned) > 0)
            self.picture.paste(self.paint.second, mask=Image.fromarray(where.view(np.uint8) * 255))
        picture = self.picture
        if angle:
            picture = picture.rotate(angle, Image.Resampling.NEAREST, expand=True, fillcolor=(*self.paint.main, 0))
        small = np.asarray(picture.reduce(SUPERSAMPLING))
        rows = np.linspace(-1, 1, small.shape[0], dtype=np.float32)[:, None, None]
        columns = np.linspace(-1, 1, small.shape[1], dtype=np.float32)[None, :, None]
        shaded = small[..., :3] * (1 + 0.16 * (columns * light[0] + rows * light[1]))
        coverage = np.ascontiguousarray(small[..., 3])
        rgb = Image.fromarray(np.minimum(shaded, 255).astype(np.uint8))
        return rgb, Image.fromarray(coverage), coverage >= 128

    def _pattern_mask(self) -> np.ndarray:
        step = max(self.width, self.height) / self.rng.uniform(4.0, 5.2)
        x = np.arange(self.width, dtype=np.float32)[None, :] / step + np.float32(self.rng.uniform())
        y = np.arange(self.height, dtype=np.float32)[:, None] / step + np.float32(self.rng.uniform())
        if self.paint.pattern == "striped":
            angle = self.rng.choice([0.0, math.pi / 2, math.pi / 4, -math.pi / 4])
            return (x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))) % 1 < 0.5
        if self.paint.pattern == "checkered":
            return (x % 1 < 0.5) ^ (y % 1 < 0.5)
        shifted = x * 1.25 + 0.5 * (np.floor(y * 1.25) % 2)
        return (shifted % 1 - 0.5) ** 2 + (y * 1.25 % 1 - 0.5) ** 2 < 0.09

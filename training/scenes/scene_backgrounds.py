# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Backgrounds of the generated scenes: sky, distant shapes, grounds, waters and ways, as a picture and a label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scene_pen import RGB
from scene_textures import TEXTURE_SIZE, crop_texture, textures
from scene_vocabulary import CLASS_IDS

GROUNDS = ("grass", "sand", "snow", "soil", "pavement")
GROUND_FEATURES = ("road", "path", "river", "lake", "sea")


@dataclass(frozen=True)
class Weather:
    """One kind of sky and the light that comes with it.

    Attributes:
        top: sky colours at the zenith, one of which is taken.
        bottom: sky colours at the horizon, in the same order.
        tint: factor of each channel for everything below the sky.
        contrast: strength of shadows, 0 to 1.
        cloudiness: strength of the sky's own grey texture.
    """

    top: tuple[RGB, ...]
    bottom: tuple[RGB, ...]
    tint: tuple[float, float, float]
    contrast: float
    cloudiness: float = 0.0


WEATHERS: dict[str, Weather] = {
    "day": Weather(
        ((70, 140, 222), (96, 166, 236), (58, 120, 206)), ((190, 222, 246), (214, 232, 244)), (1, 1, 1), 0.4, 4
    ),
    "dusk": Weather(
        ((72, 70, 132), (98, 84, 150), (60, 84, 140)), ((250, 170, 110), (252, 190, 150)), (1.0, 0.9, 0.84), 0.34, 8
    ),
    "night": Weather(((20, 26, 66), (30, 30, 80)), ((58, 72, 124), (74, 72, 126)), (0.72, 0.75, 0.88), 0.22, 3),
    "overcast": Weather(
        ((146, 154, 164), (168, 172, 178)), ((204, 208, 212), (190, 196, 202)), (0.93, 0.95, 0.96), 0.15, 22
    ),
}

_GROUND_PAINTS: dict[str, tuple[RGB, ...]] = {
    "grass": ((104, 160, 70), (124, 172, 78), (88, 142, 62)),
    "sand": ((226, 202, 150), (234, 212, 166), (216, 190, 136)),
    "snow": ((232, 238, 246), (240, 244, 250)),
    "soil": ((134, 98, 68), (118, 84, 60), (150, 110, 78)),
    "pavement": ((176, 164, 156), (164, 160, 164), (188, 168, 148)),
}
_WATER_PAINTS: dict[str, tuple[RGB, ...]] = {
    "sea": ((34, 92, 140), (28, 108, 146), (44, 84, 132)),
    "lake": ((88, 150, 182), (100, 162, 186)),
    "river": ((70, 140, 176), (84, 148, 186)),
}


@dataclass
class Stuff:
    """What a scene shows besides things.

    Attributes:
        weather: a key of `WEATHERS`.
        ground: one of `GROUNDS`, or None for the open sea.
        feature: one of `GROUND_FEATURES`, or None.
        distance: what stands at the horizon, far to near: some of `mountain`, `hill`, `forest`.
        rainbow: whether there is one.
    """

    weather: str
    ground: str | None
    feature: str | None
    distance: tuple[str, ...] = ()
    rainbow: bool = False

    @property
    def places(self) -> frozenset[str]:
        """The stuff that things can stand on or hang in."""
        return frozenset(name for name in ("sky", self.ground, self.feature) if name)


@dataclass
class Background:
    """An empty scene.

    Attributes:
        picture: (size, size, 3) float32, 0 to 255.
        labels: (size, size) uint16 ids of `scene_vocabulary.CLASS_NAMES`.
        horizon: row where the ground begins.
        weather: the sky's kind.
    """

    picture: np.ndarray
    labels: np.ndarray
    horizon: int
    weather: Weather


class _Painter:
    """Paints stuff over a picture and its label map."""

    def __init__(self, size: int, horizon: int, tint: tuple[float, float, float], rng: np.random.Generator):
        self.size, self.horizon, self.rng = size, horizon, rng
        self.tint = np.array(tint, dtype=np.float32)
        self.picture = np.zeros((size, size, 3), dtype=np.float32)
        self.labels = np.zeros((size, size), dtype=np.uint16)
        depth = (np.arange(horizon, size, dtype=np.float32) - horizon + 0.5) / (size - horizon)  # 0 far, 1 near
        self.depth = depth
        scale = 1 / (depth + 0.12)
        # Texture coordinates of the ground plane: rows and columns crowd together towards the horizon.
        self._texture_rows = (scale * 150).astype(np.int64)
        centred = np.arange(size, dtype=np.float32) - size / 2
        self._texture_columns = (centred[None, :] * (224 / size) * scale[:, None] * 0.95).astype(np.int64)

    def choose(self, paints: tuple[RGB, ...]) -> np.ndarray:
        """Returns one of the paints, a little moved, as float32."""
        paint = np.array(paints[int(self.rng.integers(len(paints)))], dtype=np.float32)
        return paint + np.float32(self.rng.uniform(-8, 8))

    def plane_texture(self, name: str, first_row: int | None = None, last_row: int | None = None) -> np.ndarray:
        """Returns a texture seen in perspective on rows of the ground, (rows, size)."""
        first_row = self.horizon if first_row is None else first_row
        last_row = self.size if last_row is None else last_row
        rows = slice(first_row - self.horizon, last_row - self.horizon)
        shift = self.rng.integers(TEXTURE_SIZE, size=2)
        y = (self._texture_rows[rows, None] + shift[0]) % TEXTURE_SIZE
        x = (self._texture_columns[rows] + shift[1]) % TEXTURE_SIZE
        return textures()[name][y, x]

    def fill_rows(self, name: str, paint: np.ndarray, strength: float, first_row: int, last_row: int) -> None:
        """Covers rows of the ground with stuff."""
        texture = self.plane_texture(name, first_row, last_row)
        # Far texture is finer than a pixel: fading it is what a camera would do.
        fade = np.minimum(1, self.depth[first_row - self.horizon : last_row - self.horizon, None] * 3 + 0.25)
        bright = 1 + strength * texture * fade
        self.picture[first_row:last_row] = bright[..., None] * (paint * self.tint)
        self.labels[first_row:last_row] = CLASS_IDS[name]

    def fill_mask(self, name: str, mask: np.ndarray, paint: np.ndarray, strength: float) -> None:
        """Covers the masked part (size - horizon, size) of the ground with stuff."""
        bright = 1 + strength * self.plane_texture(name)[mask]
        self.picture[self.horizon :][mask] = bright[:, None] * (paint * self.tint)
        self.labels[self.horizon :][mask] = CLASS_IDS[name]


def _paint_sky(painter: _Painter, weather: Weather, has_stars: bool) -> None:
    rng, rows = painter.rng, painter.horizon + 1
    top, bottom = painter.choose(weather.top), painter.choose(weather.bottom)
    blend = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** np.float32(rng.uniform(0.8, 1.5))
    sky = top + (bottom - top) * blend
    texture = crop_texture("cloud", rows, painter.size, rng)
    painter.picture[:rows] = sky + (np.float32(weather.cloudiness) * texture)[..., None]
    painter.labels[:rows] = CLASS_IDS["sky"]
    if has_stars:
        count = int(rng.integers(15, 40))
        y, x = rng.integers(rows, size=count), rng.integers(painter.size, size=count)
        painter.picture[y, x] = rng.uniform(150, 255, count).astype(np.float32)[:, None]


def _paint_rainbow(painter: _Painter) -> None:
    size, rng = painter.size, painter.rng
    centre = size * rng.uniform(0.2, 0.8)
    outer, band = painter.horizon * rng.uniform(0.75, 0.95), size * rng.uniform(0.07, 0.1)
    y = np.arange(painter.horizon, dtype=np.float32)[:, None] - painter.horizon
    x = np.arange(size, dtype=np.float32)[None, :] - centre
    position = (outer - np.sqrt((x * 0.8) ** 2 + y**2)) / band
    mask = (position >= 0) & (position < 1)
    hues = np.array(
        [(226, 60, 60), (246, 150, 50), (248, 226, 80), (90, 190, 90), (70, 120, 220), (130, 80, 190)], np.float32
    )
    colours = hues[(position[mask] * len(hues)).astype(np.int64)]
    view = painter.picture[: painter.horizon]
    view[mask] = view[mask] * 0.3 + colours * 0.7
    painter.labels[: painter.horizon][mask] = CLASS_IDS["rainbow"]


def _mountain_skyline(painter: _Painter, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns a skyline of peaks as heights over the horizon in pixels, and which columns slope to the right."""
    rng, size = painter.rng, painter.size
    x = np.arange(size, dtype=np.float32) / size
    count = int(rng.integers(2, 6))
    peaks = (np.arange(count) + rng.uniform(0.15, 0.85, count)) / count
    tops = height * rng.uniform(0.6, 1.0, count)
    slopes = height * rng.uniform(1.6, 2.8, count)
    flanks = tops[:, None] - slopes[:, None] * np.abs(x[None, :] - peaks[:, None])
    nearest = flanks.argmax(axis=0)
    crags = crop_texture("leaves", 1, size, rng)[0] * np.float32(0.02 * height)
    heights = np.maximum(flanks.max(axis=0), 0.22 * height) + crags
    return heights.astype(np.float32), x > peaks[nearest]


def _forest_skyline(painter: _Painter, height: float) -> np.ndarray:
    """Returns a skyline of pointed treetops as heights over the horizon in pixels."""
    x = np.arange(painter.size, dtype=np.float32) * (224 / painter.size)
    step = painter.rng.uniform(9, 14)
    rolling = np.sin(x / painter.rng.uniform(18, 40) + painter.rng.uniform(0, 6))
    tops = 1 - np.abs((x / step + 0.35 * rolling) % 1 * 2 - 1)
    return (height * (0.72 + 0.12 * rolling + 0.28 * tops)).astype(np.float32)


def _paint_distance(painter: _Painter, name: str) -> None:
    """Paints mountains, hills or a forest between the sky and the horizon."""
    rng, horizon = painter.rng, painter.horizon
    if name == "mountain":
        heights, slopes_right = _mountain_skyline(painter, horizon * rng.uniform(0.6, 0.88))
        paint = painter.choose(((104, 108, 128), (118, 112, 120), (92, 104, 120)))
    elif name == "hill":
        phase, period = rng.uniform(0, 6), rng.uniform(3, 7)
        x = np.linspace(0, 1, painter.size, dtype=np.float32)
        wave = np.sin(x * period + phase) + 0.4 * np.sin(x * period * 2.3 + phase * 2)
        heights = (horizon * rng.uniform(0.26, 0.4) * (0.7 + 0.3 * wave)).astype(np.float32)
        paint = painter.choose(((126, 160, 98), (148, 166, 96), (112, 148, 104)))
    else:
        heights = _forest_skyline(painter, horizon * rng.uniform(0.26, 0.4))
        paint = painter.choose(((38, 74, 48), (46, 84, 46), (34, 66, 54)))
    top = max(0, int(horizon - heights.max()))
    above = horizon - np.arange(top, horizon, dtype=np.float32)[:, None]
    mask = above <= heights[None, :]
    shade = crop_texture("leaves" if name == "forest" else "cloud", horizon - top, painter.size, rng)
    strength = {"mountain": 0.07, "hill": 0.05, "forest": 0.2}[name]
    colours = (1 + strength * shade)[..., None] * paint
    if name == "mountain":
        colours *= np.where(slopes_right ^ (rng.uniform() < 0.5), 0.86, 1.1).astype(np.float32)[None, :, None]
        if rng.uniform() < 0.7:
            line = heights.max() * (rng.uniform(0.6, 0.78) + 0.05 * shade)
            snow = np.where(slopes_right, 226, 246).astype(np.float32)[None, :, None] * np.ones_like(colours)
            capped = above > line
            colours[capped] = snow[capped]
    haze = {"mountain": 0.25, "hill": 0.12, "forest": 0.0}[name]
    horizon_colour = painter.picture[horizon].mean(axis=0)
    colours = colours * painter.tint * (1 - haze) + horizon_colour * haze
    painter.picture[top:horizon][mask] = colours[mask]
    painter.labels[top:horizon][mask] = CLASS_IDS[name]


def _band_mask(painter: _Painter, centre: np.ndarray, half_width: np.ndarray) -> np.ndarray:
    x = np.arange(painter.size, dtype=np.float32)[None, :]
    return np.abs(x - centre[:, None]) <= half_width[:, None]


def _paint_road(painter: _Painter) -> None:
    rng, size, depth = painter.rng, painter.size, painter.depth
    paint = painter.choose(((88, 88, 94), (100, 98, 100), (76, 78, 86)))
    lines = np.array((236, 232, 214), np.float32) * painter.tint
    view = painter.picture[painter.horizon :]
    if rng.uniform() < 0.5:
        vanishing, foot = size * rng.uniform(0.25, 0.75), size * rng.uniform(0.2, 0.8)
        centre = vanishing + (foot - vanishing) * depth
        half_width = size * (0.015 + rng.uniform(0.2, 0.32) * depth)
        mask = _band_mask(painter, centre, half_width)
        dashes = (6 / (depth + 0.12) + rng.uniform()) % 1 < 0.5
        marking = _band_mask(painter, centre, half_width * 0.05) & dashes[:, None]
        x = np.abs(np.arange(size, dtype=np.float32)[None, :] - centre[:, None]) / half_width[:, None]
        marking |= (x > 0.86) & (x < 0.93)
    else:
        far = rng.uniform(0.12, 0.4)
        near = far + rng.uniform(0.25, 0.4)
        lean = rng.uniform(-0.12, 0.12) * np.linspace(-1, 1, size, dtype=np.float32)[None, :]
        across = (depth[:, None] + lean - far) / (near - far)
        mask = (across >= 0) & (across <= 1)
        dashes = (np.arange(size) * (224 / size) + rng.uniform(0, 40)) % 40 < 22
        marking = (np.abs(across - 0.45) < 0.035) & dashes[None, :]
        marking |= ((across > 0.04) & (across < 0.08)) | ((across > 0.92) & (across < 0.97))
    painter.fill_mask("road", mask, paint, 0.07)
    view[marking & mask] = lines


def _paint_winding(painter: _Painter, name: str) -> None:
    """Paints a path or a river that winds towards the horizon."""
    rng, size, depth = painter.rng, painter.size, painter.depth
    start, foot = size * rng.uniform(0.25, 0.75), size * rng.uniform(0.2, 0.8)
    bend = (
        size * rng.uniform(0.08, 0.2) * np.sin(np.pi * 2 * np.sqrt(depth) * rng.uniform(0.8, 1.3) + rng.uniform(0, 6))
    )
    centre = start + (foot - start) * depth + bend * np.sqrt(depth)
    if name == "path":
        half_width = size * (0.015 + rng.uniform(0.12, 0.18) * depth)
        paint = painter.choose(((206, 178, 142), (190, 166, 140)))
        mask = _band_mask(painter, centre, half_width)
        edge = _band_mask(painter, centre, half_width * 1.1)
        painter.picture[painter.horizon :][edge] *= 0.85
        painter.fill_mask(name, mask, paint, 0.13)
        return
    half_width = size * (0.03 + rng.uniform(0.2, 0.34) * depth)
    mask = _band_mask(painter, centre, half_width)
    bank = _band_mask(painter, centre, half_width * 1.08 + 1)
    painter.picture[painter.horizon :][bank] *= 0.78
    painter.fill_mask(name, mask, painter.choose(_WATER_PAINTS[name]), 0.1)


def _paint_lake(painter: _Painter) -> None:
    rng, size, depth = painter.rng, painter.size, painter.depth
    centre_x, centre_y = size * rng.uniform(0.2, 0.8), rng.uniform(0.3, 0.65)
    radius_x, radius_y = size * rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.3)
    x = (np.arange(size, dtype=np.float32)[None, :] - centre_x) / radius_x
    y = ((depth - centre_y) / radius_y)[:, None]
    wobble = 0.1 * np.sin(np.arctan2(y, x) * int(rng.integers(3, 6)) + rng.uniform(0, 6))
    distance = np.sqrt(x * x + y * y) + wobble
    painter.picture[painter.horizon :][distance < 1.06] *= 0.78
    painter.fill_mask("lake", distance < 1, painter.choose(_WATER_PAINTS["lake"]), 0.07)


def paint_background(size: int, stuff: Stuff, rng: np.random.Generator) -> Background:
    """Paints a scene without things.

    Args:
        size: the picture's side in pixels.
        stuff: what to show.
        rng: source of everything else.

    Returns:
        The background.
    """
    weather = WEATHERS[stuff.weather]
    horizon = round(size * rng.uniform(0.3, 0.52))
    painter = _Painter(size, horizon, weather.tint, rng)
    _paint_sky(painter, weather, has_stars=stuff.weather == "night")
    if stuff.rainbow:
        _paint_rainbow(painter)
    for name in stuff.distance:
        _paint_distance(painter, name)
    shore = horizon
    if stuff.feature == "sea":
        shore = size if stuff.ground is None else round(horizon + (size - horizon) * rng.uniform(0.3, 0.55))
        painter.fill_rows("sea", painter.choose(_WATER_PAINTS["sea"]), 0.09, horizon, shore)
    if stuff.ground is not None:
        strength = {"grass": 0.1, "sand": 0.05, "snow": 0.035, "soil": 0.13, "pavement": 0.08}[stuff.ground]
        painter.fill_rows(stuff.ground, painter.choose(_GROUND_PAINTS[stuff.ground]), strength, shore, size)
        if stuff.feature == "sea":
            foam = max(2, size // 90)
            painter.picture[shore - foam : shore] = painter.picture[shore - foam : shore] * 0.4 + 140 * painter.tint
    if stuff.feature == "road":
        _paint_road(painter)
    elif stuff.feature in ("path", "river"):
        _paint_winding(painter, stuff.feature)
    elif stuff.feature == "lake":
        _paint_lake(painter)
    return Background(painter.picture, painter.labels, horizon, weather)

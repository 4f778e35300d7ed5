# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Textures of the generated scenes: grass, sand, water and the like, which every picture takes its crops from."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image

# Side of a texture in pixels; it repeats at its borders.
TEXTURE_SIZE = 512


def _smooth_noise(rng: np.random.Generator, cells: int, size: int = TEXTURE_SIZE) -> np.ndarray:
    """Returns (size, size) noise that repeats at its borders, with `cells` bumps a side."""
    small = rng.standard_normal((cells, cells)).astype(np.float32)
    padded = np.pad(small, 2, mode="wrap")
    scale = size / cells
    edge = round(2 * scale)
    large = Image.fromarray(padded).resize((size + 2 * edge,) * 2, Image.Resampling.BICUBIC)
    return np.asarray(large)[edge : edge + size, edge : edge + size]


@functools.cache
def textures() -> dict[str, np.ndarray]:
    """Tileable textures of about unit strength: what every picture takes its crops from."""
    rng = np.random.default_rng(11)
    octaves = {cells: _smooth_noise(rng, cells) for cells in (8, 16, 32, 64, 128)}
    fine = rng.standard_normal((TEXTURE_SIZE, TEXTURE_SIZE)).astype(np.float32)
    blades = (fine + np.roll(fine, 1, 0) + np.roll(fine, 2, 0) + np.roll(fine, 3, 0)) / 2
    rows = np.arange(TEXTURE_SIZE, dtype=np.float32)[:, None] * (2 * np.pi / TEXTURE_SIZE)
    columns = rows.T
    ripples = np.sin(rows * 24 + 1.5 * octaves[8] + 0.4 * octaves[32])
    tiles_y, tiles_x = (np.arange(TEXTURE_SIZE) % 32)[:, None], np.arange(TEXTURE_SIZE)[None, :]
    offset = 16 * ((np.arange(TEXTURE_SIZE) // 32)[:, None] % 2)
    joints = (tiles_y < 3) | ((tiles_x + offset) % 32 < 3)
    tile_ids = ((tiles_x + offset) // 32 % 16 * 37 + (np.arange(TEXTURE_SIZE) // 32)[:, None] * 91) % 17
    pebbles = octaves[64] * 0.6 + octaves[128] * 0.9
    strengths = {
        "grass": 0.9 * blades + 0.7 * octaves[16] + 0.5 * octaves[64],
        "sand": 0.55 * ripples + 0.35 * fine + 0.5 * octaves[16],
        "snow": 0.8 * octaves[8] + 0.4 * octaves[16] + 0.15 * fine,
        "soil": 0.9 * octaves[64] + 0.7 * octaves[128] + 0.5 * fine,
        "pavement": -2.2 * joints + (tile_ids / 8.5 - 1) * 0.7 + 0.2 * fine,
        "sea": 1.1 * np.sin(rows * 32 + 2.2 * octaves[16]) ** 3 + 0.4 * octaves[32],
        "lake": 0.5 * np.sin(rows * 20 + 1.2 * octaves[8]) + 0.3 * octaves[16],
        "river": 0.6 * np.sin(columns * 16 + rows * 6 + 1.6 * octaves[16]) + 0.4 * octaves[32],
        "road": 0.5 * fine + 0.3 * octaves[16],
        "path": np.sign(pebbles) * np.sqrt(np.abs(pebbles)),
        "cloud": 0.8 * octaves[8] + 0.5 * octaves[16] + 0.25 * octaves[32],
        "leaves": 0.8 * octaves[64] + 0.7 * octaves[128],
        "noise": fine,
    }
    return {name: texture.astype(np.float32) for name, texture in strengths.items()}


def crop_texture(name: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a (height, width) float32 piece of a texture at a random place, repeated where it ends."""
    texture = textures()[name]
    rows = (np.arange(height) + rng.integers(TEXTURE_SIZE)) % TEXTURE_SIZE
    columns = (np.arange(width) + rng.integers(TEXTURE_SIZE)) % TEXTURE_SIZE
    return texture[rows[:, None], columns[None, :]]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Edges of what was found, brought to the edges of the picture, by a guided filter on the words' probabilities.

The guided filter (He, Sun and Tang, 2013) finds, around every place, the linear function of the colours that comes
closest to a map; here, as in its fast form (He and Sun, 2015, arXiv 1505.00996), on a smaller picture. The functions
are then brought to the picture's own size and applied to its own colours: where these have an edge, so has the map.
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import nn

# Longest side of the smaller picture, in pixels.
WORKING_SIDE = 256
# Half the side of the squares in which functions are found, and the variance of colours (0 to 1) that is noise.
RADIUS = 8
EPSILON = 1e-3
# What is computed at the picture's own size at once, in pixels a side.
TILE_SIDE = 256


def working_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the smaller picture on which edges of a picture of such height and width are found."""
    scale = min(WORKING_SIDE / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def refine_edges(
    maps: torch.Tensor, picture: Image.Image
) -> Iterator[tuple[tuple[slice, slice], torch.Tensor, torch.Tensor]]:
    """Brings maps of words to a picture's own size and edges, a tile at a time.

    Of each tile only those words are computed that are the likeliest somewhere near it.

    Args:
        maps: Probabilities, (words, height, width) of [`working_size`].
        picture: RGB, of any size.

    Yields:
        Where the tile lies (rows, columns), places of the words that are near it, rising, and their values
        (some words, tile height, tile width), which are near 0 to 1.
    """
    small = picture.resize((maps.shape[2], maps.shape[1]), Image.Resampling.BOX)
    factors = guided_filter_factors(_colours(small, maps), maps)
    winners = maps.argmax(dim=0)
    down, across = (
        _resizing_weights(source, target, maps)
        for source, target in ((maps.shape[1], picture.height), (maps.shape[2], picture.width))
    )
    for rows, row_source in _stretches(down):
        for columns, column_source in _stretches(across):
            near = winners[_widened(row_source), _widened(column_source)].unique()
            part = factors[near][:, :, row_source, column_source]
            part = down[rows, row_source] @ (part @ across[columns, column_source].T)
            colours = _colours(picture.crop((columns.start, rows.start, columns.stop, rows.stop)), maps)
            yield (rows, columns), near, (part[:, :3] * colours).sum(dim=1) + part[:, 3]


def guided_filter_factors(
    colours: torch.Tensor, maps: torch.Tensor, radius: int = RADIUS, epsilon: float = EPSILON
) -> torch.Tensor:
    """Finds the linear functions of the colours that come closest to maps, averaged around every place.

    Args:
        colours: (3, height, width), from 0 to 1.
        maps: (maps, height, width).
        radius: Half the side of the squares, in pixels.
        epsilon: Variance of the colours that is taken for noise.

    Returns:
        (maps, 4, height, width): the factors of the three colours, and what is added.
    """
    count = _box_sums(torch.ones_like(colours[0]), radius)
    mean, map_means = _box_sums(colours, radius) / count, _box_sums(maps, radius) / count
    covariance = _box_sums(colours[:, None] * colours, radius) / count - mean[:, None] * mean
    covariance += epsilon * torch.eye(3, device=maps.device)[:, :, None, None]
    # The inverse of a symmetric 3 x 3 matrix from the cross products of its rows.
    first, second, third = covariance
    inverse = torch.stack(
        [torch.linalg.cross(*pair, dim=0) for pair in ((second, third), (third, first), (first, second))]
    )
    inverse /= (first * inverse[0]).sum(dim=0)
    factors = maps.new_empty(len(maps), 4, *maps.shape[1:])
    for single, map_mean, target in zip(maps, map_means, factors, strict=True):
        together = _box_sums(colours * single, radius) / count - mean * map_mean
        target[:3] = (inverse * together).sum(dim=1)
        target[3] = map_mean - (target[:3] * mean).sum(dim=0)
        target.copy_(_box_sums(target, radius) / count)
    return factors


def _box_sums(values: torch.Tensor, radius: int) -> torch.Tensor:
    """Sums over squares around every place of (any, height, width), cut off at the border."""
    for dim in (-2, -1):
        length = values.shape[dim]
        start = torch.zeros_like(values.narrow(dim, 0, 1))
        # Of float32, whose last digits would be lost where sums grow with the picture: it is at most 256 a side.
        sums = torch.cat((start, values.cumsum(dim)), dim)
        places = torch.arange(length, device=values.device)
        above, below = (places + radius + 1).clamp(max=length), (places - radius).clamp(min=0)
        values = sums.index_select(dim, above) - sums.index_select(dim, below)
    return values


def _colours(picture: Image.Image, like: torch.Tensor) -> torch.Tensor:
    """The colours of a picture from 0 to 1, (3, height, width)."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).to(like.device)
    return pixels.permute(2, 0, 1).to(like.dtype) / 255


def _resizing_weights(source: int, target: int, like: torch.Tensor) -> torch.Tensor:
    """What a new axis is made of when an old one is resized bilinearly, (target, source); rows sum to one."""
    identity = torch.eye(source, device=like.device, dtype=like.dtype)[None, None]
    return nn.functional.interpolate(identity, size=(target, source), mode="bilinear", align_corners=False)[0, 0]


def _stretches(weights: torch.Tensor) -> list[tuple[slice, slice]]:
    """Cuts an axis into tiles, each with what of the old axis it is made of."""
    stretches = []
    for start in range(0, len(weights), TILE_SIDE):
        target = slice(start, min(start + TILE_SIDE, len(weights)))
        used = weights[target].any(dim=0).nonzero().flatten()
        stretches.append((target, slice(int(used[0]), int(used[-1]) + 1)))
    return stretches


def _widened(stretch: slice) -> slice:
    return slice(max(stretch.start - RADIUS, 0), stretch.stop + RADIUS)


__all__ = ["guided_filter_factors", "refine_edges", "working_size"]

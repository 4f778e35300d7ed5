# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Masks as polygons with holes that run exactly along the edges of the pixels, and as GeoJSON."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .output_marks import MARK

if TYPE_CHECKING:
    from .segmentation import Segmentation

Ring = list[tuple[int, int]]


def mask_to_polygons(mask: np.ndarray) -> list[list[Ring]]:
    """Finds the outlines of a mask.

    Pixels that touch at a corner alone belong to different polygons. The area of the polygons is the number of pixels.

    Args:
        mask: bool (height, width).

    Returns:
        For each connected part its outer ring, then its holes; rings are lists of corners (x, y), the first not
        repeated at the end, outer ones with positive area in these coordinates and holes with negative.
    """
    outer: list[Ring] = []
    holes: list[Ring] = []
    for loop in _closed_loops(mask):
        for ring in _split_where_it_touches_itself(loop):
            top = min(ring, key=lambda corner: (corner[1], corner[0]))
            is_outer = bool(mask[top[1], top[0]]) if top[1] < mask.shape[0] and top[0] < mask.shape[1] else False
            if (signed_area(ring) > 0) != is_outer:
                ring.reverse()
            (outer if is_outer else holes).append(ring)
    return _holes_to_their_polygons(outer, holes)


def signed_area(ring: Ring) -> float:
    """The area within a ring, negative where it runs the other way round."""
    corners = np.asarray(ring, dtype=np.int64)
    following = np.roll(corners, -1, axis=0)
    return float((corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]).sum()) / 2


def _closed_loops(mask: np.ndarray) -> list[Ring]:
    """Walks along all edges between inside and outside, from corner to corner."""
    padded = np.pad(mask.astype(bool), 1)
    north_west, north_east = padded[:-1, :-1], padded[:-1, 1:]
    south_west, south_east = padded[1:, :-1], padded[1:, 1:]
    is_crossing = (north_west == south_east) & (north_east == south_west) & (north_west != north_east)
    is_corner = (north_west ^ north_east ^ south_west ^ south_east) | is_crossing
    rows, columns = np.nonzero(is_corner)
    crossing = is_crossing[rows, columns]
    # Where two pixels touch at a corner, two corners lie on one another: the first has the edge to the left, and the
    # edge up if the pixel above left is inside.
    x, y = np.concatenate((columns, columns[crossing])), np.concatenate((rows, rows[crossing]))
    is_second = np.arange(len(x)) >= len(rows)
    has_edge_up = north_west[y, x] != is_second
    along_row = np.lexsort((is_second, x, y))
    along_column = np.lexsort((~has_edge_up, y, x))
    sideways, upwards = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    for partner, order in ((sideways, along_row), (upwards, along_column)):
        # In each row and column, edges run from every odd corner to the next.
        partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    loops = []
    left = np.ones(len(x), bool)
    horizontal, vertical, corners = sideways.tolist(), upwards.tolist(), list(zip(x.tolist(), y.tolist(), strict=True))
    for start in range(len(corners)):
        if not left[start]:
            continue
        loop, place = [], start
        while left[place]:
            across = horizontal[place]
            left[place] = left[across] = False
            loop += [corners[place], corners[across]]
            place = vertical[across]
        loops.append(loop)
    return loops


def _split_where_it_touches_itself(loop: Ring) -> list[Ring]:
    rings: list[Ring] = []
    path: Ring = []
    place_of: dict[tuple[int, int], int] = {}
    for corner in loop:
        if corner in place_of:
            start = place_of[corner]
            rings.append(path[start:])
            for passed in path[start:]:
                del place_of[passed]
            del path[start:]
        place_of[corner] = len(path)
        path.append(corner)
    rings.append(path)
    return rings


def _holes_to_their_polygons(outer: list[Ring], holes: list[Ring]) -> list[list[Ring]]:
    """Gives each hole to the smallest outer ring around it."""
    polygons = [[ring] for ring in sorted(outer, key=signed_area)]
    boxes = np.array([(*np.min(rings[0], axis=0), *np.max(rings[0], axis=0)) for rings in polygons]).reshape(-1, 4)
    for hole in holes:
        (left, top), (right, bottom) = np.min(hole, axis=0), np.max(hole, axis=0)
        fits = (boxes[:, 0] <= left) & (boxes[:, 1] <= top) & (boxes[:, 2] >= right) & (boxes[:, 3] >= bottom)
        # The middle of a pixel just inside the hole lies on no edge.
        x, y = min(hole, key=lambda corner: (corner[1], corner[0]))
        for place in np.flatnonzero(fits):
            if _is_inside((x + 0.5, y + 0.5), polygons[place][0]):
                polygons[place].append(hole)
                break
    return polygons


def _is_inside(point: tuple[float, float], ring: Ring) -> bool:
    """Counts the vertical edges to the left of a point that lies on none."""
    corners = np.asarray(ring)
    following = np.roll(corners, -1, axis=0)
    low, high = np.minimum(corners[:, 1], following[:, 1]), np.maximum(corners[:, 1], following[:, 1])
    crossed = (corners[:, 0] == following[:, 0]) & (corners[:, 0] < point[0]) & (low < point[1]) & (high > point[1])
    return bool(crossed.sum() % 2)


def geojson_features(
    result: "Segmentation", place: Callable[[float, float], tuple[float, float]] | None = None
) -> dict[str, Any]:
    """Describes a segmentation as a GeoJSON collection, one multipolygon a word that is in the picture.

    Args:
        result: The segmentation.
        place: Turns a corner's (x, y) in pixels, from the upper left, into coordinates; pixels as they are, if not
            given.
    """
    features = []
    for word in result:
        coordinates = [
            [[list((place or _as_is)(*corner)) for corner in [*ring, ring[0]]] for ring in polygon]
            for polygon in mask_to_polygons(word.mask)
        ]
        properties = {
            "name": word.name,
            "class_id": word.class_id,
            "pixels": word.area,
            "share": round(word.share, 6),
            "score": None if word.score is None else round(word.score, 4),
            "colour": "#{:02x}{:02x}{:02x}".format(*word.colour),
        }
        geometry = {"type": "MultiPolygon", "coordinates": coordinates}
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return {"type": "FeatureCollection", "generator": MARK, "name": result.name, "features": features}


def _as_is(x: float, y: float) -> tuple[float, float]:
    return x, y


__all__ = ["geojson_features", "mask_to_polygons", "signed_area"]

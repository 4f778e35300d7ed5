# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentations as JSON."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from ..inference.segmentation import Segmentation

Format = Literal["label_map", "overlay", "coco", "geojson"]
FORMATS: tuple[Format, ...] = get_args(Format)


def make_answer(result: Segmentation, formats: Sequence[str]) -> dict[str, Any]:
    """What `POST /segment` answers: size, each word's share and score, and the wanted formats.

    Args:
        result: The segmentation.
        formats: Names of [`FORMATS`]: `label_map` is a PNG in base64 whose values are places among the words, plus
            one (0: no word), with 8 or 16 bits; `overlay` a PNG in base64; `coco` masks as COCO has them,
            run lengths, and `geojson` polygons in pixels.
    """
    answer: dict[str, Any] = {
        "width": result.size[0],
        "height": result.size[1],
        "words": [
            {"word": name, "share": result.shares[name], "score": result.scores[name]} for name in result.class_names
        ],
    }
    return answer | {name: _WRITERS[name](result) for name in formats}


def make_hub_answer(result: Segmentation, threshold: float | None) -> list[dict[str, Any]]:
    """What the Hub's task answers: label, score and a black-and-white mask for each word that is in the picture."""
    return [
        {"label": word.name, "score": word.score, "mask": _png(Image.fromarray(word.mask.astype(np.uint8) * 255))}
        for word in result
        if threshold is None or (word.score or 0) >= threshold
    ]


def _label_map(result: Segmentation) -> str:
    is_small = len(result.class_names) < 255
    return _png(Image.fromarray((result.label_map + 1).astype(np.uint8 if is_small else np.uint16)))


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


_WRITERS: dict[str, Callable[[Segmentation], Any]] = {
    "label_map": _label_map,
    "overlay": lambda result: _png(result.overlay()),
    "coco": lambda result: result.to_coco(),
    "geojson": lambda result: result.to_geojson(),
}

__all__ = ["FORMATS", "Format", "make_answer", "make_hub_answer"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentations in COCO's formats: annotations with run-length masks, and panoptic pictures.

Categories are counted from 1, as COCO counts them: a word's category is its number in the label map plus one.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .output_marks import MARK

if TYPE_CHECKING:
    from .segmentation import Segmentation


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """Packs a mask as COCO does: lengths of runs down the columns, as text.

    Args:
        mask: bool (height, width).

    Returns:
        `{"size": [height, width], "counts": text}`, which `pycocotools.mask` decodes.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(bounds).tolist()
    if flat[0]:
        # The first run is of zeros.
        runs.insert(0, 0)
    return {"size": [int(side) for side in mask.shape], "counts": _pack_runs(runs)}


def _pack_runs(runs: list[int]) -> str:
    """Writes each run, from the third on its difference to the last but one, in digits of 5 bits, the lowest first."""
    text = bytearray()
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            digit, value = value & 31, value >> 5
            # The fifth bit is the sign of what is left.
            is_last = value == (-1 if digit & 16 else 0)
            text.append((digit if is_last else digit | 32) + 48)
            if is_last:
                break
    return text.decode("ascii")


def coco_categories(result: "Segmentation") -> list[dict[str, Any]]:
    """The words as COCO's categories."""
    return [{"id": place + 1, "name": name} for place, name in enumerate(result.class_names)]


def coco_annotations(result: "Segmentation", image_id: int = 1, first_id: int = 1) -> dict[str, Any]:
    """Describes a segmentation as COCO's file of annotations, one a word that is in the picture."""
    annotations = []
    for number, word in enumerate(result, start=first_id):
        left, top, right, bottom = word.box or (0, 0, 0, 0)
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": word.class_id + 1,
                "segmentation": encode_mask(word.mask),
                "area": word.area,
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
                "score": word.score,
            }
        )
    return {
        "info": {"description": f"{MARK}: {result.name}"},
        "images": [_image_entry(result, image_id)],
        "categories": coco_categories(result),
        "annotations": annotations,
    }


def coco_panoptic(result: "Segmentation", image_id: int = 1) -> tuple[Image.Image, dict[str, Any]]:
    """Describes a segmentation as COCO's panoptic format: a picture of segment ids, and what they are.

    Returns:
        RGB whose red + 256 green + 65536 blue is the segment's id, 0 where there is no word; and the JSON file's
        content.
    """
    ids = (result.label_map.astype(np.int32) + 1).clip(min=0)
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    segments = []
    for word in result:
        left, top, right, bottom = word.box or (0, 0, 0, 0)
        segments.append(
            {
                "id": word.class_id + 1,
                "category_id": word.class_id + 1,
                "area": word.area,
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
            }
        )
    description = {
        "info": {"description": f"{MARK}: {result.name}"},
        "images": [_image_entry(result, image_id)],
        "categories": [{**category, "isthing": 0} for category in coco_categories(result)],
        "annotations": [{"image_id": image_id, "file_name": f"{result.name}_panoptic.png", "segments_info": segments}],
    }
    return Image.fromarray(colours), description


def _image_entry(result: "Segmentation", image_id: int) -> dict[str, Any]:
    return {"id": image_id, "file_name": result.name, "width": result.size[0], "height": result.size[1]}


__all__ = ["coco_annotations", "coco_panoptic", "encode_mask"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentations as what labelling tools take for a first draft: Label Studio's brush masks and CVAT's."""

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from .output_marks import MARK

if TYPE_CHECKING:
    from .segmentation import Segmentation

# The lengths of the fields for a run, of which each run takes the shortest that it fits in.
_RUN_BITS = (3, 4, 8, 16)
_VALUE_BITS = 8


def encode_brush_mask(mask: np.ndarray) -> list[int]:
    """Packs a mask as Label Studio's brush does: the four channels of its picture as runs of bits.

    Args:
        mask: bool (height, width).

    Returns:
        Bytes from 0 to 255.
    """
    flat = mask.ravel()
    bounds = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]))
    # A pixel is four equal values: red, green, blue, opacity.
    lengths, values = np.diff(bounds) * 4, np.where(flat[bounds[:-1]], 255, 0)
    bits = [f"{flat.size * 4:032b}", f"{_VALUE_BITS - 1:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    for length, value in zip(lengths.tolist(), values.tolist(), strict=True):
        while length:
            run = min(length, 2 ** _RUN_BITS[-1])
            field = next(place for place, size in enumerate(_RUN_BITS) if run <= 2**size)
            bits.append(f"1{field:02b}{run - 1:0{_RUN_BITS[field]}b}{value:0{_VALUE_BITS}b}")
            length -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def label_studio_task(
    result: "Segmentation", image: str | None = None, from_name: str = "tag", to_name: str = "image"
) -> dict[str, Any]:
    """Describes a segmentation as a Label Studio task with a prediction, for `<BrushLabels>`.

    Args:
        result: The segmentation.
        image: The address under which Label Studio finds the picture; its name, if not given.
        from_name: The name of `<BrushLabels>` in the labelling configuration.
        to_name: The name of `<Image>`.
    """
    regions = []
    for word in result:
        regions.append(
            {
                "id": f"{result.name}-{word.class_id}",
                "from_name": from_name,
                "to_name": to_name,
                "type": "brushlabels",
                "original_width": result.size[0],
                "original_height": result.size[1],
                "image_rotation": 0,
                "score": word.score,
                "value": {"format": "rle", "rle": encode_brush_mask(word.mask), "brushlabels": [word.name]},
            }
        )
    scores = [word.score * word.share for word in result if word.score is not None]
    prediction = {"model_version": MARK, "score": float(sum(scores)), "result": regions}
    return {"data": {to_name: image or result.name}, "predictions": [prediction]}


def cvat_annotations(result: "Segmentation", file_name: str | None = None) -> str:
    """Describes a segmentation as "CVAT for images 1.1" in XML, with one mask a word that is in the picture.

    Args:
        result: The segmentation.
        file_name: The picture's name in CVAT; its name without ending, if not given.
    """
    width, height = result.size
    root = ElementTree.Element("annotations")
    root.append(ElementTree.Comment(MARK))
    ElementTree.SubElement(root, "version").text = "1.1"
    name = file_name or result.name
    image = ElementTree.SubElement(root, "image", id="0", name=name, width=str(width), height=str(height))
    for word in result:
        left, top, right, bottom = word.box or (0, 0, 0, 0)
        inside = word.mask[top:bottom, left:right].ravel()
        bounds = np.concatenate(([0], np.flatnonzero(inside[1:] != inside[:-1]) + 1, [inside.size]))
        runs = np.diff(bounds).tolist()
        if inside[0]:
            # The first run is outside the mask.
            runs.insert(0, 0)
        place = {"left": left, "top": top, "width": right - left, "height": bottom - top}
        ElementTree.SubElement(
            image,
            "mask",
            label=word.name,
            source="auto",
            occluded="0",
            rle=", ".join(map(str, runs)),
            z_order="0",
            attrib={key: str(value) for key, value in place.items()},
        )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


__all__ = ["cvat_annotations", "encode_brush_mask", "label_studio_task"]

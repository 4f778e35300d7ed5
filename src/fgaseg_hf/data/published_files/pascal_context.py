# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pascal Context: masks of 59 classes in a JSON file, and label maps of 459 in MATLAB's."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..benchmarks import data_file
from ..optional_packages import import_extra
from ..text_files import read_json_file
from .published_pictures import FoundSplits, LeftOut, PublishedPicture, find_file, find_folder


def find_pascal_context_59(source: Path) -> FoundSplits:
    """`JPEGImages/*.jpg` of VOC 2010 and `trainval_merged.json`, in which masks are painted in order."""
    folder = find_folder(source, ["JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages"])
    annotations = find_file(
        source, [f"{parent}trainval_merged.json" for parent in ("", "VOC2010/", "VOCdevkit/VOC2010/")]
    )
    import_extra("pycocotools.mask")
    content = read_json_file(annotations, "file of annotations")
    try:
        images = [image for image in content["images"] if image["phase"] == "val"]
        segments_of: dict[Any, list[dict[str, Any]]] = {image["image_id"]: [] for image in images}
        for segment in content["annos_segmentation"]:
            if segment["image_id"] in segments_of:
                segments_of[segment["image_id"]].append(segment)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"The file {annotations} is not Pascal Context's trainval_merged.json: get it anew."
        ) from error

    wanted = set(_pascal_context_pictures())
    found = [_painted_picture(folder, image, segments_of[image["image_id"]]) for image in images]
    pictures = [picture for picture in found if picture.name in wanted]
    left_out = Counter({"not on the list of validation pictures": len(found) - len(pictures)})
    for name in wanted - {picture.name for picture in pictures}:
        pictures.append(PublishedPicture(name, folder / f"{name}.jpg", "", _no_labels))
    yield "validation", (sorted(pictures, key=lambda picture: picture.name), +left_out)


def find_pascal_context_459(source: Path) -> FoundSplits:
    """`JPEGImages/*.jpg` of VOC 2010 and `trainval/*.mat`, whose LabelMap holds the ids."""
    folder = find_folder(source, ["JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages"])
    maps = find_folder(source, ["trainval", "VOC2010/trainval", "VOCdevkit/VOC2010/trainval"])
    import_extra("scipy.io")
    pictures = [
        PublishedPicture(name, folder / f"{name}.jpg", maps / f"{name}.mat", _matlab_reader(maps / f"{name}.mat"))
        for name in _pascal_context_pictures()
    ]
    yield "validation", (pictures, Counter())


def _pascal_context_pictures() -> list[str]:
    return data_file("pascal_context_validation_pictures.txt").split()


def _painted_picture(folder: Path, image: dict[str, Any], segments: list[dict[str, Any]]) -> PublishedPicture:
    """Returns a picture whose labels are masks in the file of annotations."""
    height, width = image["height"], image["width"]
    labels = hashlib.sha256(json.dumps([height, width, segments]).encode()).hexdigest()
    path = folder / image["file_name"]
    return PublishedPicture(path.stem, path, labels, _mask_painter(segments, height, width))


def _matlab_reader(path: Path) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        if not path.is_file():
            raise FileNotFoundError(path)
        # Outside the `try`: a missing extra is not a broken file.
        matlab_files = import_extra("scipy.io")
        try:
            return matlab_files.loadmat(path, variable_names=["LabelMap"])["LabelMap"].astype(np.int64)
        # A broken file fails in as many ways as it has fields.
        except Exception as error:
            raise LeftOut("with labels that cannot be read") from error

    return read


def _mask_painter(segments: Sequence[dict[str, Any]], height: int, width: int) -> Callable[[], np.ndarray]:
    """Returns a function that paints masks in order, later ones over earlier ones; 0 is where there is none."""

    def read() -> np.ndarray:
        mask_api = import_extra("pycocotools.mask")
        ids = np.zeros((height, width), dtype=np.int64)
        try:
            for segment in segments:
                mask = segment["segmentation"]
                if isinstance(mask, list):
                    # polygons
                    mask = mask_api.merge(mask_api.frPyObjects(mask, height, width))
                elif isinstance(mask["counts"], list):
                    mask = mask_api.frPyObjects(mask, *mask["size"])
                ids[mask_api.decode(mask) > 0] = segment["category_id"]
        except Exception as error:
            raise LeftOut("with labels that cannot be read") from error
        return ids

    return read


def _no_labels() -> np.ndarray:
    raise FileNotFoundError

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files that a segmentation can be saved as, by the name of the format."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .benchmark_palettes import cityscapes_pictures, pascal_voc_picture
from .coco_export import coco_annotations, coco_panoptic
from .label_map_files import save_label_map
from .labelling_tool_export import cvat_annotations, label_studio_task
from .output_marks import MARK, png_mark
from .png_writing import write_png
from .polygon_export import geojson_features
from .visualization import overlay_in_bands

if TYPE_CHECKING:
    from .segmentation import Segmentation

JPEG_QUALITY = 90


@dataclass(frozen=True)
class OutputFormat:
    """A way to save a segmentation.

    Attributes:
        endings: What the files' names end in, after the picture's name.
        write: Writes them, in this order.
        meaning: What they are, in a few words.
    """

    endings: tuple[str, ...]
    write: Callable[["Segmentation", Sequence[Path]], Any]
    meaning: str


def _write_json(content: Any, path: Path) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def _write_png(picture: Image.Image, path: Path) -> None:
    picture.save(path, pnginfo=png_mark())


def _write_overlay(result: "Segmentation", paths: Sequence[Path]) -> None:
    write_png(paths[0], *overlay_in_bands(result.picture, result.label_map, result.class_names))


def _write_overlay_jpg(result: "Segmentation", paths: Sequence[Path]) -> None:
    result.overlay().save(paths[0], quality=JPEG_QUALITY, comment=MARK.encode())


def _write_numpy(result: "Segmentation", paths: Sequence[Path]) -> None:
    np.savez_compressed(
        paths[0],
        generator_fgaseg_hf=np.array(MARK),
        label_map=result.label_map,
        confidence=result.confidence,
        class_names=np.array(result.class_names),
    )


def _write_panoptic(result: "Segmentation", paths: Sequence[Path]) -> None:
    picture, description = coco_panoptic(result)
    _write_png(picture, paths[0])
    _write_json(description, paths[1])


def _write_cityscapes(result: "Segmentation", paths: Sequence[Path]) -> None:
    for picture, path in zip(cityscapes_pictures(result), paths, strict=True):
        _write_png(picture, path)


FORMATS: dict[str, OutputFormat] = {
    "overlay": OutputFormat(("_overlay.png",), _write_overlay, "picture, colours and legend"),
    "overlay-jpg": OutputFormat(("_overlay.jpg",), _write_overlay_jpg, "the same, smaller"),
    "labels": OutputFormat(
        ("_labels.png", "_labels.json"),
        lambda result, paths: save_label_map(result.label_map, result.class_names, paths[0]),
        "class ids with a palette, and what they mean",
    ),
    "numpy": OutputFormat(("_labels.npz",), _write_numpy, "label_map, confidence and class_names"),
    "coco": OutputFormat(
        ("_coco.json",),
        lambda result, paths: _write_json(coco_annotations(result), paths[0]),
        "COCO annotations with run-length masks",
    ),
    "coco-panoptic": OutputFormat(("_panoptic.png", "_panoptic.json"), _write_panoptic, "COCO panoptic"),
    "geojson": OutputFormat(
        ("_polygons.geojson",),
        lambda result, paths: _write_json(geojson_features(result), paths[0]),
        "polygons with holes, in pixels",
    ),
    "label-studio": OutputFormat(
        ("_label_studio.json",),
        lambda result, paths: _write_json([label_studio_task(result)], paths[0]),
        "Label Studio task with brush masks",
    ),
    "cvat": OutputFormat(
        ("_cvat.xml",),
        lambda result, paths: paths[0].write_text(cvat_annotations(result), encoding="utf-8"),
        "CVAT for images 1.1 with masks",
    ),
    "pascal-voc": OutputFormat(
        ("_voc.png",), lambda result, paths: _write_png(pascal_voc_picture(result), paths[0]), "ids of Pascal VOC"
    ),
    "cityscapes": OutputFormat(("_labelIds.png", "_color.png"), _write_cityscapes, "ids and colours of Cityscapes"),
}

DEFAULT_FORMATS = ("overlay", "labels")


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """Checks names of formats.

    Raises:
        ValueError: One of them is none.
    """
    names = [formats] if isinstance(formats, str) else list(formats)
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"There is no format {name!r}: choose among {', '.join(FORMATS)}.")
    return tuple(dict.fromkeys(names))


def files_of(folder: Path, name: str, formats: Iterable[str]) -> list[Path]:
    """Where the files of a picture lie."""
    return [folder / f"{name}{ending}" for key in formats for ending in FORMATS[key].endings]


def write_formats(result: "Segmentation", folder: Path, name: str, formats: Iterable[str]) -> list[Path]:
    """Writes a segmentation in some formats.

    Returns:
        The files, as [`files_of`] lists them.

    Raises:
        ValueError: The words do not suit a format.
        OSError: A file cannot be written.
    """
    written = []
    for key in formats:
        paths = files_of(folder, name, [key])
        FORMATS[key].write(result, paths)
        written += paths
    return written


__all__ = ["DEFAULT_FORMATS", "FORMATS", "OutputFormat", "check_formats", "files_of", "write_formats"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files of a georeferenced picture's segmentation, written part by part: GeoTIFF, polygons, and what ids mean."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .label_map_files import label_meanings
from .output_marks import MARK
from .visualization import blend_colours, class_palette, outlines_of
from .word_shares import WordShares

BLOCKS = (512, 256, 128, 64)
RASTER_FORMATS = {
    "labels": ("_labels.tif", "_labels.json"),
    "overlay": ("_overlay.tif",),
    "geojson": ("_polygons.geojson",),
}


@dataclass
class RasterSegmentation(WordShares):
    """What a large picture was segmented into: numbers here, everything else in files.

    Attributes:
        name: What its files are called.
        class_names: The words.
        raster_size: Width and height.
        counts: Pixels of each word.
        totals: The sum of their confidence.
        files: What was written.
    """

    name: str
    class_names: tuple[str, ...]
    raster_size: tuple[int, int]
    counts: np.ndarray
    totals: np.ndarray
    files: list[Path] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.raster_size

    @property
    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        return self.counts, self.totals

    def __repr__(self) -> str:
        return f"RasterSegmentation({self.name!r}, {self.size[0]} x {self.size[1]}: {self.describe(8)})"


def raster_files_of(folder: Path, name: str, formats: Iterable[str]) -> list[Path]:
    """Where the files of a georeferenced picture lie; formats that it cannot have are left out."""
    return [folder / f"{name}{ending}" for key in known_formats(formats) for ending in RASTER_FORMATS[key]]


def known_formats(formats: Iterable[str]) -> list[str]:
    """Those of the formats that a georeferenced picture can have, each once."""
    # A GeoTIFF is what an overlay becomes, whichever kind of picture was asked for.
    names = ["overlay" if name == "overlay-jpg" else name for name in formats]
    return [name for name in dict.fromkeys(names) if name in RASTER_FORMATS]


class RasterWriter:
    """Writes the files of one raster, part by part; a context in which they are open."""

    def __init__(self, like: Any, folder: Path, name: str, labels: tuple[str, ...], formats: list[str], window: int):
        self.like, self.folder, self.name, self.labels = like, folder, name, labels
        self.formats = formats
        self.palette = class_palette(len(labels))
        self.empty = 255 if len(labels) <= 255 else 65535
        # Parts are written in whole blocks, or else blocks are packed several times.
        self.block = next((side for side in BLOCKS if window % side == 0), BLOCKS[0])
        self._opened = ExitStack()

    def __enter__(self) -> "RasterWriter":
        dtype = np.uint8 if self.empty == 255 else np.uint16
        self._labels = self._create("labels", dtype=dtype, count=1, nodata=self.empty)
        if self.empty == 255:
            colours = {place: (*map(int, colour), 255) for place, colour in enumerate(self.palette)}
            self._labels.write_colormap(1, {**colours, 255: (0, 0, 0, 0)})
        self._overlay = None
        if "overlay" in self.formats:
            self._overlay = self._create("overlay", dtype=np.uint8, count=3, photometric="RGB")
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.close()

    def _create(self, what: str, **profile: Any) -> Any:
        """A GeoTIFF of the same size and place, in blocks, and marked as this package's."""
        import rasterio

        like = self.like
        if min(like.width, like.height) >= self.block:
            profile |= {"tiled": True, "blockxsize": self.block, "blockysize": self.block}
        place = {"width": like.width, "height": like.height, "crs": like.crs, "transform": like.transform}
        path = self.folder / f"{self.name}_{what}.tif"
        file = rasterio.open(path, "w", driver="GTiff", compress="deflate", BIGTIFF="IF_SAFER", **place, **profile)
        self._opened.enter_context(file)
        points, system = like.gcps
        if points:
            file.gcps = (points, system)
        if like.rpcs is not None:
            file.rpcs = like.rpcs
        file.update_tags(TIFFTAG_SOFTWARE=MARK)
        return file

    def write(self, window: Any, ids: np.ndarray, pixels: np.ndarray) -> None:
        """Writes a part: ids (height, width), -1 where there is none, and the picture (height, width, 3)."""
        self._labels.write(np.where(ids < 0, self.empty, ids).astype(self._labels.dtypes[0]), 1, window=window)
        if self._overlay is not None:
            blended = blend_colours(Image.fromarray(pixels), ids, outlines_of(ids), self.palette, 0.5)
            self._overlay.write(np.asarray(blended).transpose(2, 0, 1), window=window)

    def finish(self, result: RasterSegmentation) -> None:
        """Writes what stands beside the label map, once that is whole and closed."""
        if "geojson" in self.formats:
            self._write_polygons()
        if "labels" in self.formats:
            meaning = label_meanings(self.labels, list(result.shares.values()), self.empty)
            path = self.folder / f"{self.name}_labels.json"
            path.write_text(meaning, encoding="utf-8", errors="backslashreplace")

    def _write_polygons(self) -> None:
        """Writes the outlines of connected pixels of one label, a line each, in the coordinates of the file."""
        import rasterio
        from rasterio.features import shapes

        head: dict[str, Any] = {"type": "FeatureCollection", "generator": MARK, "name": self.name}
        if self.like.crs is not None:
            code = self.like.crs.to_epsg()
            system = self.like.crs.to_wkt() if code is None else f"urn:ogc:def:crs:EPSG::{code}"
            head["crs"] = {"type": "name", "properties": {"name": system}}
        path = self.folder / f"{self.name}_polygons.geojson"
        with rasterio.open(self.folder / f"{self.name}_labels.tif") as labels, path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "features": [')
            separator = "\n"
            for geometry, value in shapes(rasterio.band(labels, 1), connectivity=4, transform=labels.transform):
                if int(value) < len(self.labels):
                    feature = {"type": "Feature", "properties": self._properties(int(value)), "geometry": geometry}
                    file.write(separator + json.dumps(feature, ensure_ascii=False))
                    separator = ",\n"
            file.write("\n]}\n")

    def _properties(self, place: int) -> dict[str, Any]:
        colour = "#{:02x}{:02x}{:02x}".format(*self.palette[place])
        return {"name": self.labels[place], "class_id": place, "colour": colour}


__all__ = ["RASTER_FORMATS", "RasterSegmentation", "RasterWriter", "known_formats", "raster_files_of"]

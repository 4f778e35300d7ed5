# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Large and georeferenced pictures: read and written part by part, with the same coordinates in what comes out."""

import importlib.util
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from .geotiff_writing import RASTER_FORMATS, RasterSegmentation, RasterWriter, known_formats, raster_files_of
from .segmenter import Segmenter
from .word_encoding import EncodedWords, Words
from .word_shares import sums_of_words

# Side of the parts that are segmented by themselves.
WINDOW = 1024
# What a part sees beyond its own edge, as a share of its side: what lies at the edge of a view is guessed worse.
MARGIN = 0.125
# How many pixels a side are looked at to find what is black and white in pictures of more than 8 bits.
PIXELS_LOOKED_AT = 1024
TIFF_SUFFIXES = (".tif", ".tiff")
# ModelPixelScale and ModelTransformation, one of which every GeoTIFF with a grid has.
GEO_TAGS = (33550, 34264)
MISSING = "GeoTIFF files keep their coordinates with the extra geo: pip install 'fgaseg_hf[geo]'."


def is_georeferenced(path: Path) -> bool:
    """Whether a file is a TIFF with coordinates, or one that is too large to be read whole."""
    if path.suffix.lower() not in TIFF_SUFFIXES or not path.is_file():
        return False
    try:
        # Its class, since `Image.open` refuses what has very many pixels.
        with TiffImageFile(path) as picture:
            limit = Image.MAX_IMAGE_PIXELS
            is_large = limit is not None and picture.width * picture.height > limit
            return is_large or any(tag in picture.tag_v2 for tag in GEO_TAGS)
    # A damaged head shows in any way; whoever segments the file says so.
    except Exception:
        return False


def has_rasterio() -> bool:
    """Whether the package that reads them is installed."""
    return importlib.util.find_spec("rasterio") is not None


def describe_lost_coordinates(paths: Iterable[Path | None]) -> str | None:
    """Says which pictures are segmented without their coordinates, since rasterio is not installed; if any are."""
    if has_rasterio():
        return None
    lost = [path.name for path in paths if path is not None and is_georeferenced(path)]
    others = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"{lost[0]}{others}: segmented without coordinates. {MISSING}" if lost else None


def segment_raster(
    segmenter: Segmenter,
    source: Path | str,
    words: Words | EncodedWords | None,
    folder: Path | str,
    name: str | None = None,
    formats: Iterable[str] = ("overlay", "labels"),
    window: int = WINDOW,
) -> RasterSegmentation:
    """Segments a picture of any size part by part, never holding it whole, and keeps where on earth it lies.

    Its first three bands (those that it calls red, green and blue, where it does) are the colours. Values of more than
    8 bits go from black, at the 2nd of a hundred parts of its values, to white at the 98th, the same for all its
    parts. Pixels that the file calls empty get no label.

    Args:
        segmenter: What segments.
        source: A file that GDAL reads, such as a GeoTIFF.
        words: What to look for.
        folder: Where to write.
        name: What the files' names begin with; the file's own name, if not given.
        formats: Among "labels" (NAME_labels.tif with a palette, and what its ids mean), "overlay" (NAME_overlay.tif)
            and "geojson" (NAME_polygons.geojson, in the picture's own coordinates).
        window: Side of the parts in pixels; the model sees each part at its own input size, so smaller parts are looked
            at more closely.

    Returns:
        What it found, with the files.

    Raises:
        ImportError: The package rasterio is not installed.
        ValueError: The file cannot be read, or there is no such format.
    """
    formats = list(formats)
    for wanted in formats:
        if wanted not in (*RASTER_FORMATS, "overlay-jpg"):
            raise ValueError(
                f"The format {wanted!r} is not written of a georeferenced picture: choose among "
                f"{', '.join(RASTER_FORMATS)}."
            )
    if window < 64:
        raise ValueError(f"`window` is {window}: give a side of 64 pixels or more.")
    try:
        import rasterio
        from rasterio.errors import RasterioError
    except ImportError as error:
        raise ImportError(MISSING) from error
    source, folder = Path(source), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = name or source.stem
    with tempfile.TemporaryDirectory(prefix=f".{name}.", suffix=".partial", dir=folder) as aside:
        try:
            with rasterio.open(source) as raster:
                encoded = segmenter.encode(words)
                target = RasterWriter(raster, Path(aside), name, encoded.labels, known_formats(formats), window)
                with target:
                    result = _segment_parts(segmenter, raster, encoded, target, window)
                target.finish(result)
        except RasterioError as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ValueError(
                f"The picture {str(source)!r} cannot be read ({reason}): give a file that GDAL reads."
            ) from error
        for path in raster_files_of(Path(aside), name, formats):
            result.files.append(path.replace(folder / path.name))
    return result


def _segment_parts(
    segmenter: Segmenter,
    raster: Any,
    words: EncodedWords,
    target: RasterWriter,
    window: int,
) -> RasterSegmentation:
    """Segments a raster part by part into files that are open."""
    num_labels = len(target.labels)
    counts, totals = np.zeros(num_labels, np.int64), np.zeros(num_labels)
    reader = PartReader(raster, window)
    parts = list(reader.parts())
    answers = segmenter((reader.picture(part) for part in parts), words)
    for part, answer in zip(parts, answers, strict=True):
        ids = np.where(raster.dataset_mask(window=part.own) > 0, part.inner(answer.label_map), -1)
        more = sums_of_words(ids, part.inner(answer.confidence), num_labels)
        counts, totals = counts + more[0], totals + more[1]
        target.write(part.own, ids, part.inner(np.asarray(answer.picture)))
    return RasterSegmentation(target.name, target.labels, (raster.width, raster.height), counts, totals)


@dataclass(frozen=True)
class RasterPart:
    """A part of a picture: `own` is what it is asked for, `seen` what is around it too."""

    own: Any
    seen: Any

    def inner(self, values: np.ndarray) -> np.ndarray:
        """Cuts what is its own out of what it saw."""
        top, left = self.own.row_off - self.seen.row_off, self.own.col_off - self.seen.col_off
        return values[top : top + self.own.height, left : left + self.own.width]


class PartReader:
    """Reads parts of a raster as pictures of 8 bits a colour."""

    def __init__(self, raster: Any, window: int) -> None:
        self.raster = raster
        self.window = window
        self.bands = self._colour_bands()
        self.colormap = self._colormap()
        self.range = None if self.colormap is not None or raster.dtypes[0] == "uint8" else self._values_range()

    def _colour_bands(self) -> list[int]:
        kinds = [kind.name for kind in self.raster.colorinterp]
        if all(kind in kinds for kind in ("red", "green", "blue")):
            return [kinds.index(kind) + 1 for kind in ("red", "green", "blue")]
        return [1, 2, 3] if self.raster.count >= 3 else [1]

    def _colormap(self) -> np.ndarray | None:
        if len(self.bands) > 1 or self.raster.colorinterp[0].name != "palette":
            return None
        table = np.zeros((256, 3), np.uint8)
        for place, colour in self.raster.colormap(1).items():
            if place < 256:
                table[place] = colour[:3]
        return table

    def _values_range(self) -> tuple[float, float]:
        size = (min(self.raster.height, PIXELS_LOOKED_AT), min(self.raster.width, PIXELS_LOOKED_AT))
        values = self.raster.read(self.bands, out_shape=(len(self.bands), *size), masked=True)
        known = values.compressed().astype(np.float64)
        known = known[np.isfinite(known)]
        lowest, highest = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
        return float(lowest), float(max(highest, lowest + 1e-9))

    def parts(self) -> Iterator[RasterPart]:
        """All parts, row by row."""
        from rasterio.windows import Window

        height, width, margin = self.raster.height, self.raster.width, round(self.window * MARGIN)
        # At the border as large as elsewhere, for the model to see all parts at one scale.
        rows, columns = (min(self.window + 2 * margin, length) for length in (height, width))
        for top in range(0, height, self.window):
            for left in range(0, width, self.window):
                own = Window(left, top, min(self.window, width - left), min(self.window, height - top))
                above, before = (
                    min(max(start - margin, 0), length - side)
                    for start, length, side in ((top, height, rows), (left, width, columns))
                )
                yield RasterPart(own, Window(before, above, columns, rows))

    def picture(self, part: RasterPart) -> Image.Image:
        """What a part sees."""
        values = self.raster.read(self.bands, window=part.seen)
        if self.colormap is not None:
            return Image.fromarray(self.colormap[values[0]])
        if self.range is not None:
            lowest, highest = self.range
            known = np.nan_to_num(values.astype(np.float32), nan=lowest, posinf=highest, neginf=lowest)
            values = np.rint(np.clip((known - lowest) / (highest - lowest), 0, 1) * 255).astype(np.uint8)
        if len(values) == 1:
            values = np.repeat(values, 3, axis=0)
        return Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0)))


__all__ = [
    "WINDOW",
    "PartReader",
    "RasterPart",
    "describe_lost_coordinates",
    "has_rasterio",
    "is_georeferenced",
    "segment_raster",
]

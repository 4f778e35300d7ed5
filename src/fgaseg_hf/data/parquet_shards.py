# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Parquet files of a prepared split: a shard is written whole or not at all, and says what it was made from."""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..model.picture_arrays import picture_to_rgb
from ..model.picture_reading import open_picture
from .benchmarks import SegmentationBenchmark
from .label_decoding import limit_short_side
from .optional_packages import import_extra
from .published_files.published_pictures import LeftOut, PublishedPicture

# The key of our own notes in a parquet file: what it was made from, and what was left out.
_NOTES_KEY = b"fgaseg_preparation"
# Counted up when the same files give other shards, so that those of an earlier version are not taken up again.
SHARD_FORMAT = 2


def shards(
    split: str, pictures: Sequence[PublishedPicture], pictures_per_shard: int
) -> dict[str, Sequence[PublishedPicture]]:
    """Cuts a split into parquet files: file name to pictures."""
    starts = range(0, len(pictures), pictures_per_shard)
    return {
        f"{split}-{number:05d}-of-{len(starts):05d}.parquet": pictures[start : start + pictures_per_shard]
        for number, start in enumerate(starts)
    }


def number_shards(split: str, folder: Path, made: Sequence[str]) -> None:
    """Numbers a split's shards anew without those that are empty, which `datasets` cannot read, and clears the rest."""
    for path in folder.glob(f"{split}-*"):
        if path.name not in made:
            # of an earlier attempt that had found other files
            path.unlink()
    metadata_of = import_extra("pyarrow.parquet").read_metadata
    filled = [name for name in made if metadata_of(folder / name).num_rows]
    for name in set(made) - set(filled):
        (folder / name).unlink()
    for number, name in enumerate(filled):
        # never onto a shard that is still to be renamed: numbers only become smaller
        (folder / name).rename(folder / f"{split}-{number:05d}-of-{len(filled):05d}.parquet")


def fingerprint(benchmark: SegmentationBenchmark, part: Sequence[PublishedPicture]) -> str:
    """Says what pictures are made from: other rules, other files or other contents give another fingerprint."""
    rules = [
        benchmark.name,
        benchmark.class_names,
        benchmark.published_ids,
        benchmark.ignored_ids,
        benchmark.max_short_side,
        benchmark.leaves_out_unannotated,
    ]
    made_from = [SHARD_FORMAT, rules, [picture.contents for picture in part]]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def read_notes(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """Returns what an earlier run noted in a shard; None if the shard is to be made, as one that was cut off is."""
    if not path.is_file():
        return None
    try:
        metadata = import_extra("pyarrow.parquet").read_metadata(path).metadata or {}
        notes = json.loads(metadata.get(_NOTES_KEY, b"{}"))
    # pyarrow has errors of its own for files of many kinds of damage, and all of them are ValueErrors or OSErrors
    except (ValueError, OSError):
        return None
    return notes if notes.get("fingerprint") == fingerprint else None


def write_shard(
    benchmark: SegmentationBenchmark,
    part: Sequence[PublishedPicture],
    path: Path,
    fingerprint: str,
    advance: Callable[[int], Any],
) -> dict[str, Any]:
    """Writes one parquet file, which has its name only once it is whole, and returns the notes in it.

    The notes are `fingerprint`, `left_out` (how many pictures by reason), `num_pictures`, `class_pixels` (annotated
    pixels of each class), `num_ignored_pixels`, and `sha256` of all that the rows hold.
    """
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    num_pixels = np.zeros(benchmark.unlabelled_id + 1, dtype=np.int64)
    contents = hashlib.sha256()
    for picture in part:
        try:
            row, labels = _make_row(benchmark, picture)
        except LeftOut as reason:
            left_out[str(reason)] += 1
        else:
            rows.append(row)
            contents.update(row["image"]["bytes"] + row["annotation"]["bytes"])
            num_pixels += np.bincount(labels.ravel(), minlength=len(num_pixels))
        advance(1)
    notes = {
        "fingerprint": fingerprint,
        "left_out": left_out,
        "num_pictures": len(rows),
        "class_pixels": num_pixels[: len(benchmark.class_names)].tolist(),
        "num_ignored_pixels": int(num_pixels[benchmark.unlabelled_id]),
        "sha256": contents.hexdigest(),
    }
    _write_rows(rows, notes, path)
    return notes


def _write_rows(rows: list[dict[str, Any]], notes: dict[str, Any], path: Path) -> None:
    import pyarrow
    from datasets import Features
    from datasets import Image as ImageFeature

    schema = Features({"image": ImageFeature(), "annotation": ImageFeature()}).arrow_schema
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    table = table.replace_schema_metadata({**(schema.metadata or {}), _NOTES_KEY: json.dumps(notes).encode()})
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            # Few rows a group, because readers take a group at a time.
            import_extra("pyarrow.parquet").write_table(table, file, row_group_size=100)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        # on a full disk half a file would only be in the way
        partial.unlink(missing_ok=True)
        raise


def _make_row(benchmark: SegmentationBenchmark, published: PublishedPicture) -> tuple[dict[str, Any], np.ndarray]:
    """Returns a row of a prepared split, and its class ids."""
    content, picture, labels = _read_published(benchmark, published)
    smaller, labels = limit_short_side(picture_to_rgb(picture), labels, benchmark.max_short_side)
    name = published.name.replace("/", "_")
    if smaller.size == picture.size:
        # As it was published: not even a JPEG's rounding changes.
        image = {"bytes": content, "path": published.picture.name}
    else:
        image = {"bytes": _encode(smaller, "PNG"), "path": f"{name}.png"}
    # 16 bits come whole through TIFF, which `datasets` takes for arrays of this type too.
    if labels.dtype == np.uint16:
        annotation = {
            "bytes": _encode(Image.fromarray(labels), "TIFF", compression="tiff_adobe_deflate"),
            "path": f"{name}.tiff",
        }
    else:
        annotation = {"bytes": _encode(Image.fromarray(labels), "PNG"), "path": f"{name}.png"}
    return {"image": image, "annotation": annotation}, labels


def _read_published(
    benchmark: SegmentationBenchmark, published: PublishedPicture
) -> tuple[bytes, Image.Image, np.ndarray]:
    """Returns the picture's file, the picture and its class ids, of one size; says why it cannot."""
    if not published.picture.is_file():
        raise LeftOut("without a picture")
    try:
        content = published.picture.read_bytes()
        picture = open_picture(Image.open(io.BytesIO(content)))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise LeftOut("with a picture that cannot be read") from error
    try:
        ids = published.read_labels()
    except FileNotFoundError as error:
        raise LeftOut("without labels") from error
    try:
        labels = benchmark.to_class_ids(ids)
    except ValueError as error:
        raise LeftOut("with ids that the benchmark does not know") from error
    if labels.shape != (picture.height, picture.width):
        raise LeftOut("with a picture and labels of different sizes")
    if benchmark.leaves_out_unannotated and (labels == benchmark.unlabelled_id).all():
        raise LeftOut("without an annotated pixel")
    return content, picture, labels


def _encode(picture: Image.Image, picture_format: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, picture_format, **settings)
    return buffer.getvalue()

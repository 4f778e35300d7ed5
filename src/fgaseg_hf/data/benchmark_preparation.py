# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Turns the published files of a benchmark into parquet in the Hub's layout: the work behind `fgaseg prepare`.

What comes out is a folder with `data/SPLIT-00000-of-00001.parquet` (columns `image` and `annotation`, label maps of
class ids), `class_names.txt`, a data set card and `benchmark.json`. It is made beside its final place and renamed when
it is whole; a run that was stopped goes on where it was.
"""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..model.image_processing_fgaseg import open_picture, picture_to_rgb
from .benchmarks import (
    PREPARED_BENCHMARK_FILE,
    SegmentationBenchmark,
    data_file,
    decode_label_map,
    find_benchmark,
    limit_short_side,
)

PICTURES_PER_SHARD = 500

# The key of our own notes in a parquet file: what it was made from, and what was left out.
_NOTES_KEY = b"fgaseg_preparation"
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class _LeftOut(Exception):
    """Says why a picture is left out."""


@dataclass(frozen=True)
class PublishedPicture:
    """A picture of a benchmark and where its labels come from.

    Attributes:
        name: unique within its split.
        picture: the file.
        read_labels: returns the published ids, integers (height, width).
    """

    name: str
    picture: Path
    read_labels: Callable[[], np.ndarray]


@dataclass
class PreparedSplit:
    """What became of one split.

    Attributes:
        num_pictures: pictures that were written.
        left_out: how many pictures were left out, by reason.
        num_published: pictures that the split should have, None if unknown.
        sha256: of all pictures and label maps as they are stored.
    """

    num_pictures: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    num_published: int | None = None
    sha256: str = ""


def prepare_benchmark(
    name: str,
    source: str | Path,
    out: str | Path,
    *,
    pictures_per_shard: int = PICTURES_PER_SHARD,
    show_progress: bool = True,
) -> dict[str, PreparedSplit]:
    """Writes a benchmark's published files as parquet in the Hub's layout.

    Args:
        name: one of `fgaseg_hf.data.benchmarks.BENCHMARKS`.
        source: folder of the published files, unpacked.
        out: folder to make. While it is being made, its parts lie in the folder of this name with `.incomplete` behind
            it; the next call goes on from these.
        pictures_per_shard: pictures a parquet file.
        show_progress: whether to draw a progress bar a split on standard error.

    Returns:
        What became of each split. A folder that was made before is left as it is, and its record returned.

    Raises:
        ValueError: there is no such benchmark or source, a file that all needs is missing or broken, no picture is
            left, `out` exists and is something else, or a package of the extra `eval` is not installed.
    """
    benchmark, source, out = find_benchmark(name), Path(source), Path(out).absolute()
    record_file = out / PREPARED_BENCHMARK_FILE
    if record_file.is_file():
        record = json.loads(record_file.read_text(encoding="utf-8"))
        if record["benchmark"] != benchmark.name:
            raise ValueError(f"The folder {out} holds {record['benchmark']} already: choose another with --out.")
        return {
            split: PreparedSplit(**{**numbers, "left_out": Counter(numbers["left_out"])})
            for split, numbers in record["splits"].items()
        }
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already and is no prepared benchmark: choose another folder with --out.")
    if not source.is_dir():
        raise ValueError(f"There is no folder {source}: name the folder of the published files with --source.")
    for module in ("datasets", "pyarrow.parquet"):
        _import_extra(module)
    if not benchmark.class_names:
        benchmark = _with_own_class_names(benchmark, source)

    splits = dict(_FINDERS[benchmark.name](source))
    working = out.with_name(f"{out.name}.incomplete")
    (working / "data").mkdir(parents=True, exist_ok=True)
    prepared = {}
    for split, (pictures, missing) in splits.items():
        prepared[split] = _prepare_split(benchmark, split, pictures, working, pictures_per_shard, show_progress)
        prepared[split].left_out += missing
        prepared[split].num_published = benchmark.num_pictures.get(split)
        if not prepared[split].num_pictures:
            reasons = _describe_left_out(prepared[split])
            raise ValueError(f"No picture of the split {split} in {source} can be used ({reasons}).")
    _write_descriptions(benchmark, prepared, working)
    for split, (pictures, _) in splits.items():
        _number_shards(split, working / "data", list(_shards(split, pictures, pictures_per_shard)))
    # An empty folder may stand in the new one's place.
    if out.exists():
        out.rmdir()
    working.rename(out)
    return prepared


def describe_preparation(prepared: dict[str, PreparedSplit]) -> str:
    """Says in a line a split how many pictures there are and how many were left out, and why."""
    lines = []
    for split, result in prepared.items():
        published = f" of {result.num_published:,} published" if result.num_published is not None else ""
        left_out = _describe_left_out(result)
        lines.append(f"{split}: {result.num_pictures:,}{published} pictures; left out: {left_out or 'none'}")
    return "\n".join(lines)


def _describe_left_out(result: PreparedSplit) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(result.left_out.items()))


def _import_extra(module: str) -> Any:
    """Imports a module of the extra `eval`."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ValueError(f"The package {package} is missing: pip install 'fgaseg_hf[eval]' brings it.") from error


# ----------------------------------------------------------------------------------------------------------------------
# Writing
# ----------------------------------------------------------------------------------------------------------------------


def _prepare_split(
    benchmark: SegmentationBenchmark,
    split: str,
    pictures: Sequence[PublishedPicture],
    working: Path,
    pictures_per_shard: int,
    show_progress: bool,
) -> PreparedSplit:
    """Writes the shards of a split that are not there yet."""
    result, contents = PreparedSplit(), hashlib.sha256()
    with tqdm(total=len(pictures), desc=split, unit="picture", disable=not show_progress) as bar:
        for number, (file_name, part) in enumerate(_shards(split, pictures, pictures_per_shard).items()):
            path = working / "data" / file_name
            fingerprint = _fingerprint(benchmark, part)
            notes = _read_notes(path, fingerprint)
            if notes is None:
                notes = _write_shard(benchmark, part, path, fingerprint, bar.update)
            else:
                bar.update(len(part))
            result.num_pictures += notes["num_pictures"]
            result.left_out += Counter(notes["left_out"])
            contents.update(notes["sha256"].encode())
            bar.set_postfix(part=number + 1, left_out=result.left_out.total())
    result.sha256 = contents.hexdigest()
    return result


def _shards(
    split: str, pictures: Sequence[PublishedPicture], pictures_per_shard: int
) -> dict[str, Sequence[PublishedPicture]]:
    """Cuts a split into parquet files: file name to pictures."""
    starts = range(0, len(pictures), pictures_per_shard)
    return {
        f"{split}-{number:05d}-of-{len(starts):05d}.parquet": pictures[start : start + pictures_per_shard]
        for number, start in enumerate(starts)
    }


def _number_shards(split: str, folder: Path, made: Sequence[str]) -> None:
    """Numbers a split's shards anew without those that are empty, which `datasets` cannot read, and clears the rest."""
    for path in folder.glob(f"{split}-*"):
        if path.name not in made:
            # of an earlier attempt that had found other files
            path.unlink()
    metadata_of = _import_extra("pyarrow.parquet").read_metadata
    filled = [name for name in made if metadata_of(folder / name).num_rows]
    for name in set(made) - set(filled):
        (folder / name).unlink()
    for number, name in enumerate(filled):
        # never onto a shard that is still to be renamed: numbers only become smaller
        (folder / name).rename(folder / f"{split}-{number:05d}-of-{len(filled):05d}.parquet")


def _fingerprint(benchmark: SegmentationBenchmark, part: Sequence[PublishedPicture]) -> str:
    """Says what a shard is made from: another benchmark or other pictures give another fingerprint."""
    made_from = [benchmark.name, benchmark.class_names, [(picture.name, picture.picture.name) for picture in part]]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def _read_notes(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """Returns what an earlier run noted in a shard; None if the shard is to be made."""
    if not path.is_file():
        return None
    metadata = _import_extra("pyarrow.parquet").read_metadata(path).metadata or {}
    notes = json.loads(metadata.get(_NOTES_KEY, b"{}"))
    return notes if notes.get("fingerprint") == fingerprint else None


def _write_shard(
    benchmark: SegmentationBenchmark,
    part: Sequence[PublishedPicture],
    path: Path,
    fingerprint: str,
    advance: Callable[[int], Any],
) -> dict[str, Any]:
    """Writes one parquet file, which has its name only once it is whole, and returns the notes in it."""
    import pyarrow
    from datasets import Features
    from datasets import Image as ImageFeature

    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for picture in part:
        try:
            rows.append(_make_row(benchmark, picture))
        except _LeftOut as reason:
            left_out[str(reason)] += 1
        advance(1)
    schema = Features({"image": ImageFeature(), "annotation": ImageFeature()}).arrow_schema
    contents = hashlib.sha256()
    for row in rows:
        contents.update(row["image"]["bytes"] + row["annotation"]["bytes"])
    notes = {
        "fingerprint": fingerprint,
        "left_out": left_out,
        "num_pictures": len(rows),
        "sha256": contents.hexdigest(),
    }
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    table = table.replace_schema_metadata({**(schema.metadata or {}), _NOTES_KEY: json.dumps(notes).encode()})
    partial = path.with_name(f"{path.name}.partial")
    # Few rows a group, because readers take a group at a time.
    _import_extra("pyarrow.parquet").write_table(table, partial, row_group_size=100)
    os.replace(partial, path)
    return notes


def _make_row(benchmark: SegmentationBenchmark, published: PublishedPicture) -> dict[str, Any]:
    if not published.picture.is_file():
        raise _LeftOut("without a picture")
    try:
        content = published.picture.read_bytes()
        picture = open_picture(Image.open(io.BytesIO(content)))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise _LeftOut("with a picture that cannot be read") from error
    try:
        ids = published.read_labels()
    except FileNotFoundError as error:
        raise _LeftOut("without labels") from error
    try:
        labels = benchmark.to_class_ids(ids)
    except ValueError as error:
        raise _LeftOut("with ids that the benchmark does not know") from error
    if labels.shape != (picture.height, picture.width):
        raise _LeftOut("with a picture and labels of different sizes")
    if benchmark.leaves_out_unannotated and (labels == benchmark.unlabelled_id).all():
        raise _LeftOut("without an annotated pixel")
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
    return {"image": image, "annotation": annotation}


def _encode(picture: Image.Image, picture_format: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, picture_format, **settings)
    return buffer.getvalue()


def _write_descriptions(benchmark: SegmentationBenchmark, prepared: dict[str, PreparedSplit], working: Path) -> None:
    """Writes the class names, the data set card and, last, the record that says what the folder is."""
    (working / "class_names.txt").write_text("\n".join(benchmark.class_names) + "\n", encoding="utf-8")
    data_files = "\n".join(f"  - split: {split}\n    path: data/{split}-*" for split in prepared)
    pictures_first = (
        f"The shorter side of larger pictures was brought to {benchmark.max_short_side} pixels (pictures bilinear, "
        "labels nearest)."
        if benchmark.max_short_side
        else "Pictures are the published files, byte for byte."
    )
    # `datasets` caches a folder by its name and this head of the card alone: with the contents in it, a folder that was
    # made anew is read anew.
    card = f"""---
pretty_name: {benchmark.title}
task_categories:
- image-segmentation
configs:
- config_name: default
  description: "{benchmark.name}, sha256 {" ".join(result.sha256 for result in prepared.values())}"
  data_files:
{data_files}
---

# {benchmark.title}

Made by `fgaseg prepare {benchmark.name}` from the published files; their licence holds.

- `image`: the picture. {pictures_first}
- `annotation`: a label map of one channel of {8 if benchmark.unlabelled_id == 255 else 16} bits. An id is a line of
  `class_names.txt`, counted from 0; {benchmark.unlabelled_id} is not annotated.

{describe_preparation(prepared)}
"""
    (working / "README.md").write_text(card, encoding="utf-8")
    record = {
        "benchmark": benchmark.name,
        "num_classes": len(benchmark.class_names),
        "unlabelled_id": benchmark.unlabelled_id,
        "splits": {split: vars(result) for split, result in prepared.items()},
    }
    (working / PREPARED_BENCHMARK_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------------------
# Finding the published files: one function a layout, which returns for each split the pictures, and how many were seen
# but do not belong to it
# ----------------------------------------------------------------------------------------------------------------------

_Found = Iterator[tuple[str, tuple[list[PublishedPicture], Counter[str]]]]


def _find_coco_stuff(source: Path) -> _Found:
    """`train2017/*.jpg` and `stuffthingmaps_trainval2017/train2017/*.png`, and the same of `val2017`."""
    parents = ("stuffthingmaps_trainval2017", "stuffthingmaps", "annotations")
    num_found = 0
    for split, folder in (("train", "train2017"), ("validation", "val2017")):
        maps = _first_folder(source, [f"{parent}/{folder}" for parent in parents])
        if maps is not None:
            num_found += 1
            yield split, (_pair_files(_find_folder(source, [folder, f"images/{folder}"]), maps), Counter())
    if not num_found:
        _find_folder(source, [f"{parent}/val2017" for parent in parents])


def _find_ade20k_150(source: Path) -> _Found:
    """`images/validation/*.jpg` and `annotations/validation/*.png` of ADEChallengeData2016."""
    pictures = _find_folder(source, ["images/validation", "ADEChallengeData2016/images/validation"])
    maps = _find_folder(source, ["annotations/validation", "ADEChallengeData2016/annotations/validation"])
    yield "validation", (_pair_files(pictures, maps), Counter())


def _find_ade20k_847(source: Path) -> _Found:
    """`**/ADE_val_00000001.jpg` and, beside it, `ADE_val_00000001_seg.png` of the full ADE20K, of either year."""
    stems = {path.with_suffix("") for path in source.rglob("ADE_val_*.jpg")}
    stems |= {path.with_name(path.name.removesuffix("_seg.png")) for path in source.rglob("ADE_val_*_seg.png")}
    if not stems:
        raise ValueError(
            f"There is no file ADE_val_*_seg.png in {source}: name the unpacked folder of the full ADE20K."
        )
    pictures = [
        PublishedPicture(
            stem.name,
            stem.with_name(f"{stem.name}.jpg"),
            _picture_reader(stem.with_name(f"{stem.name}_seg.png"), decoding="ade20k_code"),
        )
        for stem in sorted(stems, key=lambda stem: stem.name)
    ]
    yield "validation", (pictures, Counter())


def _find_pascal_context_59(source: Path) -> _Found:
    """`JPEGImages/*.jpg` of VOC 2010 and `trainval_merged.json`, in which masks are painted in order."""
    folder = _find_folder(source, ["JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages"])
    annotations = _find_file(
        source, [f"{parent}trainval_merged.json" for parent in ("", "VOC2010/", "VOCdevkit/VOC2010/")]
    )
    _import_extra("pycocotools.mask")
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
        images = [image for image in content["images"] if image["phase"] == "val"]
        segments_of: dict[Any, list[dict[str, Any]]] = {image["image_id"]: [] for image in images}
        for segment in content["annos_segmentation"]:
            if segment["image_id"] in segments_of:
                segments_of[segment["image_id"]].append(segment)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The file {annotations} is not Pascal Context's trainval_merged.json: get it anew."
        ) from error

    wanted = set(_pascal_context_pictures())
    pictures = {
        Path(image["file_name"]).stem: PublishedPicture(
            Path(image["file_name"]).stem,
            folder / image["file_name"],
            _mask_painter(segments_of[image["image_id"]], image["height"], image["width"]),
        )
        for image in images
    }
    left_out = Counter({"not on the list of validation pictures": len(pictures.keys() - wanted)})
    for name in wanted - pictures.keys():
        pictures[name] = PublishedPicture(name, folder / f"{name}.jpg", _no_labels)
    yield "validation", ([pictures[name] for name in sorted(wanted)], +left_out)


def _find_pascal_context_459(source: Path) -> _Found:
    """`JPEGImages/*.jpg` of VOC 2010 and `trainval/*.mat`, whose LabelMap holds the ids."""
    folder = _find_folder(source, ["JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages"])
    maps = _find_folder(source, ["trainval", "VOC2010/trainval", "VOCdevkit/VOC2010/trainval"])
    _import_extra("scipy.io")
    pictures = [
        PublishedPicture(name, folder / f"{name}.jpg", _matlab_reader(maps / f"{name}.mat"))
        for name in _pascal_context_pictures()
    ]
    yield "validation", (pictures, Counter())


def _find_pascal_voc(source: Path) -> _Found:
    """`ImageSets/Segmentation/val.txt`, `JPEGImages` and `SegmentationClass` (or `...ClassAug`) of VOC 2012."""
    root = _find_folder(source, [".", "VOC2012", "VOCdevkit/VOC2012"], holds="JPEGImages")
    names = _find_file(root, ["ImageSets/Segmentation/val.txt"]).read_text(encoding="utf-8").split()
    maps = _find_folder(root, ["SegmentationClass", "SegmentationClassAug"])
    pictures = [
        PublishedPicture(
            name, root / "JPEGImages" / f"{name}.jpg", _picture_reader(maps / f"{name}.png", "voc_colours")
        )
        for name in sorted(names)
    ]
    yield "validation", (pictures, Counter())


def _find_cityscapes(source: Path) -> _Found:
    """`leftImg8bit/val/CITY/*_leftImg8bit.png` and `gtFine/val/CITY/*_gtFine_labelIds.png`."""
    folder, maps = _find_folder(source, ["leftImg8bit/val"]), _find_folder(source, ["gtFine/val"])
    pictures = []
    for path in sorted(folder.glob("*/*_leftImg8bit.png")):
        name = path.name.removesuffix("_leftImg8bit.png")
        labels = maps / path.parent.name / f"{name}_gtFine_labelIds.png"
        pictures.append(PublishedPicture(name, path, _picture_reader(labels)))
    yield "validation", (pictures, Counter())


def _find_own_files(source: Path) -> _Found:
    """`images/*` and `annotations/*.png`, or one folder a split in both, and `class_names.txt`."""
    folder, maps = _find_folder(source, ["images"]), _find_folder(source, ["annotations", "masks", "labels"])
    splits = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not splits:
        yield "validation", (_pair_files(folder, maps), Counter())
    for split in splits:
        yield split, (_pair_files(folder / split, maps / split), Counter())


_FINDERS: dict[str, Callable[[Path], _Found]] = {
    "coco-stuff": _find_coco_stuff,
    "a-150": _find_ade20k_150,
    "a-847": _find_ade20k_847,
    "pc-59": _find_pascal_context_59,
    "pc-459": _find_pascal_context_459,
    "pas-20": _find_pascal_voc,
    "pas-20b": _find_pascal_voc,
    "cityscapes": _find_cityscapes,
    "folder": _find_own_files,
}


def _with_own_class_names(benchmark: SegmentationBenchmark, source: Path) -> SegmentationBenchmark:
    path = _find_file(source, ["class_names.txt"])
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines())
    if not names or "" in names or len(set(names)) != len(names):
        raise ValueError(f"The class names in {path} hold an empty line or a name twice: give each class a name.")
    benchmark = replace(benchmark, class_names=names)
    return replace(benchmark, ignored_ids=(benchmark.unlabelled_id,))


def _pascal_context_pictures() -> list[str]:
    return data_file("pascal_context_validation_pictures.txt").split()


def _first_folder(source: Path, places: Sequence[str], holds: str = "") -> Path | None:
    """Returns the first of some folders that exists (and holds another)."""
    return next((source / place for place in places if (source / place / holds).is_dir()), None)


def _find_folder(source: Path, places: Sequence[str], holds: str = "") -> Path:
    found = _first_folder(source, places, holds)
    if found is None:
        wanted = " or ".join(str(Path(place) / holds) for place in places)
        raise ValueError(f"The folder {source} has no {wanted}: unpack the published files there.")
    return found


def _find_file(source: Path, places: Sequence[str]) -> Path:
    for place in places:
        if (source / place).is_file():
            return source / place
    raise ValueError(f"The folder {source} has no file {' or '.join(places)}: put the published one there.")


def _pair_files(pictures: Path, maps: Path) -> list[PublishedPicture]:
    """Pairs pictures and label maps of the same name; either may lack the other."""
    if not maps.is_dir():
        raise ValueError(f"There is no folder {maps}, although there is {pictures}: put the label maps there.")
    picture_of = {path.stem: path for path in pictures.iterdir() if path.suffix.lower() in _PICTURE_SUFFIXES}
    map_of = {path.stem: path for path in maps.iterdir() if path.suffix.lower() in _PICTURE_SUFFIXES}
    return [
        PublishedPicture(
            name,
            picture_of.get(name, pictures / f"{name}.jpg"),
            _picture_reader(map_of.get(name, maps / f"{name}.png")),
        )
        for name in sorted(picture_of.keys() | map_of.keys())
    ]


def _picture_reader(path: Path, decoding: Any = "index") -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        if not path.is_file():
            raise FileNotFoundError(path)
        try:
            return decode_label_map(open_picture(path), decoding)
        except ValueError as error:
            raise _LeftOut("with labels that cannot be read") from error

    return read


def _matlab_reader(path: Path) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        if not path.is_file():
            raise FileNotFoundError(path)
        # Outside the `try`: a missing extra is not a broken file.
        matlab_files = _import_extra("scipy.io")
        try:
            return matlab_files.loadmat(path, variable_names=["LabelMap"])["LabelMap"].astype(np.int64)
        # A broken file fails in as many ways as it has fields.
        except Exception as error:
            raise _LeftOut("with labels that cannot be read") from error

    return read


def _mask_painter(segments: Sequence[dict[str, Any]], height: int, width: int) -> Callable[[], np.ndarray]:
    """Returns a function that paints masks in order, later ones over earlier ones; 0 is where there is none."""

    def read() -> np.ndarray:
        mask_api = _import_extra("pycocotools.mask")
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
            raise _LeftOut("with labels that cannot be read") from error
        return ids

    return read


def _no_labels() -> np.ndarray:
    raise FileNotFoundError


__all__ = ["PreparedSplit", "describe_preparation", "prepare_benchmark"]

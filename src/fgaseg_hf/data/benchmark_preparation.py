# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Turns the published files of a benchmark into parquet in the Hub's layout: the work behind `fgaseg prepare`.

What comes out is a folder with `data/SPLIT-00000-of-00001.parquet` (columns `image` and `annotation`, label maps of
class ids), `class_names.txt`, a data set card and `benchmark.json`. It is made beside its final place and renamed when
it is whole; a run that was stopped goes on where it was.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from .annotated_share import describe_odd_annotation
from .benchmarks import PREPARED_BENCHMARK_FILE, SegmentationBenchmark, find_benchmark, read_preparation_record
from .optional_packages import import_extra
from .parquet_shards import fingerprint, number_shards, read_notes, shards, write_shard
from .published_files.ade20k import find_ade20k_150, find_ade20k_847
from .published_files.cityscapes import find_cityscapes
from .published_files.coco_stuff import find_coco_stuff
from .published_files.own_files import find_own_files, with_own_class_names
from .published_files.pascal_context import find_pascal_context_59, find_pascal_context_459
from .published_files.pascal_voc import find_pascal_voc
from .published_files.published_pictures import FoundSplits, PublishedPicture, refuse_repeated_names

PICTURES_PER_SHARD = 500

_FINDERS: dict[str, Callable[[Path], FoundSplits]] = {
    "coco-stuff": find_coco_stuff,
    "a-150": find_ade20k_150,
    "a-847": find_ade20k_847,
    "pc-59": find_pascal_context_59,
    "pc-459": find_pascal_context_459,
    "pas-20": find_pascal_voc,
    "pas-20b": find_pascal_voc,
    "cityscapes": find_cityscapes,
    "folder": find_own_files,
}


@dataclass
class PreparedSplit:
    """What became of one split.

    Attributes:
        num_pictures: pictures that were written.
        left_out: how many pictures were left out, by reason.
        num_published: pictures that the split should have, None if unknown.
        sha256: of all pictures and label maps as they are stored.
        made_from: hash of the rules and of the contents of all files that it was made from.
        remark: what is odd about its annotation; see [`fgaseg_hf.data.annotated_share`].
    """

    num_pictures: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    num_published: int | None = None
    sha256: str = ""
    made_from: str = ""
    remark: str | None = None


def prepare_benchmark(
    name: str,
    source: str | Path,
    out: str | Path,
    *,
    do_reduce_labels: bool = False,
    pictures_per_shard: int = PICTURES_PER_SHARD,
    show_progress: bool = True,
) -> dict[str, PreparedSplit]:
    """Writes a benchmark's published files as parquet in the Hub's layout.

    Args:
        name: one of `fgaseg_hf.data.benchmarks.BENCHMARKS`.
        source: folder of the published files, unpacked.
        out: folder to make. While it is being made, its parts lie in the folder of this name with `.incomplete` behind
            it; the next call goes on from these.
        do_reduce_labels: whether the label maps of `folder` count the classes from 1, and 0 is not annotated.
        pictures_per_shard: pictures a parquet file.
        show_progress: whether to draw a progress bar a split on standard error.

    Returns:
        What became of each split. A folder that was made before of the same files is left as it is, and its record
        returned.

    Raises:
        ValueError: there is no such benchmark or source, a file that all needs is missing or broken, two files have
            one name, no picture is left, `out` exists and is something else or was made of other files, labels are to
            be reduced whose ids the benchmark knows, or a package of the extra `eval` is not installed.
    """
    benchmark, source, out = find_benchmark(name), Path(source), Path(out).absolute()
    if do_reduce_labels and benchmark.class_names:
        raise ValueError(f"--do_reduce_labels is for pictures of your own; the ids of {benchmark.name} are known.")
    before = _read_record(benchmark, out)
    if before is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already and is no prepared benchmark: choose another folder with --out.")
    if not source.is_dir():
        raise ValueError(f"There is no folder {source}: name the folder of the published files with --source.")
    for module in ("datasets", "pyarrow.parquet"):
        import_extra(module)
    if not benchmark.class_names:
        benchmark = with_own_class_names(benchmark, source, do_reduce_labels)
    splits = dict(_FINDERS[benchmark.name](source))
    for pictures, _ in splits.values():
        refuse_repeated_names(pictures)
    if before is not None:
        _check_made_from(benchmark, before, splits, source, out)
        return before

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
    for split, (pictures, _) in splits.items():
        number_shards(split, working / "data", list(shards(split, pictures, pictures_per_shard)))
    _write_descriptions(benchmark, prepared, working)
    # An empty folder may stand in the new one's place.
    if out.exists():
        out.rmdir()
    working.rename(out)
    return prepared


def _read_record(benchmark: SegmentationBenchmark, out: Path) -> dict[str, PreparedSplit] | None:
    """Returns what became of each split of a folder that is whole; None if there is none yet."""
    record = read_preparation_record(out)
    if record is None:
        return None
    if record["benchmark"] != benchmark.name:
        raise ValueError(f"The folder {out} holds {record['benchmark']} already: choose another with --out.")
    try:
        return {
            split: PreparedSplit(**{**numbers, "left_out": Counter(numbers["left_out"])})
            for split, numbers in record["splits"].items()
        }
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"The record in {out} is of another version: remove the folder to make it anew.") from error


def _check_made_from(
    benchmark: SegmentationBenchmark,
    before: dict[str, PreparedSplit],
    splits: Mapping[str, tuple[Sequence[PublishedPicture], Counter[str]]],
    source: Path,
    out: Path,
) -> None:
    """Refuses a folder that is whole but was made of other files than the source holds now."""
    other = [
        split
        for split in sorted(before.keys() | splits.keys())
        if split not in before
        or split not in splits
        or before[split].made_from != fingerprint(benchmark, splits[split][0])
    ]
    if other:
        raise ValueError(
            f"The folder {out} was made of other files than {source} holds now (split {', '.join(other)}): choose "
            f"another with --out, or remove {out} to make it anew."
        )


def describe_preparation(prepared: dict[str, PreparedSplit]) -> str:
    """Says in a line a split how many pictures there are and how many were left out, and why."""
    lines = []
    for split, result in prepared.items():
        published = f" of {result.num_published:,} published" if result.num_published is not None else ""
        left_out = _describe_left_out(result)
        lines.append(f"{split}: {result.num_pictures:,}{published} pictures; left out: {left_out or 'none'}")
    return "\n".join(lines)


def describe_remarks(prepared: dict[str, PreparedSplit]) -> str:
    """Says in a line a split what is odd about its annotation; empty if there is nothing to say."""
    return "\n".join(f"{split}: {result.remark}" for split, result in prepared.items() if result.remark)


def _describe_left_out(result: PreparedSplit) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(result.left_out.items()))


def _prepare_split(
    benchmark: SegmentationBenchmark,
    split: str,
    pictures: Sequence[PublishedPicture],
    working: Path,
    pictures_per_shard: int,
    show_progress: bool,
) -> PreparedSplit:
    """Writes the shards of a split that are not there yet, or were made of other files."""
    result, contents = PreparedSplit(), hashlib.sha256()
    class_pixels, num_ignored_pixels = [0] * len(benchmark.class_names), 0
    with tqdm(total=len(pictures), desc=split, unit="picture", disable=not show_progress) as bar:
        for number, (file_name, part) in enumerate(shards(split, pictures, pictures_per_shard).items()):
            path = working / "data" / file_name
            made_from = fingerprint(benchmark, part)
            notes = read_notes(path, made_from)
            if notes is None:
                notes = write_shard(benchmark, part, path, made_from, bar.update)
            else:
                bar.update(len(part))
            result.num_pictures += notes["num_pictures"]
            result.left_out += Counter(notes["left_out"])
            contents.update(notes["sha256"].encode())
            class_pixels = [sum(pair) for pair in zip(class_pixels, notes["class_pixels"], strict=True)]
            num_ignored_pixels += notes["num_ignored_pixels"]
            bar.set_postfix(part=number + 1, left_out=result.left_out.total())
    result.sha256 = contents.hexdigest()
    result.made_from = fingerprint(benchmark, pictures)
    result.remark = describe_odd_annotation(benchmark.class_names, class_pixels, num_ignored_pixels)
    return result


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


__all__ = ["PreparedSplit", "describe_preparation", "describe_remarks", "prepare_benchmark"]

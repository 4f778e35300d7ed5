# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures and label maps of one's own, with a list of the class names."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ..benchmarks import SegmentationBenchmark
from ..class_list_files import CLASS_NAMES_FILE, load_class_names
from .published_pictures import FoundSplits, find_file, find_folder, pair_files, pictures_in


def find_own_files(source: Path) -> FoundSplits:
    """`images/*` and `annotations/*.png`, or one folder a split in both, and `class_names.txt`."""
    folder, maps = find_folder(source, ["images"]), find_folder(source, ["annotations", "masks", "labels"])
    splits = _folders_in(folder)
    if not splits:
        yield "validation", (pair_files(folder, maps), Counter())
        return
    for parent in (folder, maps):
        beside = list(pictures_in(parent).values())
        if beside:
            raise ValueError(
                f"The picture {beside[0]} lies beside the folders of the splits ({', '.join(splits)}): "
                "move it into one of them."
            )
    alone = sorted(set(_folders_in(maps)) - set(splits))
    if alone:
        raise ValueError(f"There is a folder {maps / alone[0]} but no {folder / alone[0]}: put the pictures there.")
    for split in splits:
        yield split, (pair_files(folder / split, maps / split), Counter())


def with_own_class_names(
    benchmark: SegmentationBenchmark, source: Path, do_reduce_labels: bool = False
) -> SegmentationBenchmark:
    """Gives the benchmark `folder` the names of the source's `class_names.txt`.

    Args:
        benchmark: the benchmark `folder`.
        source: the folder of pictures, label maps and names.
        do_reduce_labels: whether label maps count the classes from 1, and 0 is not annotated.

    Raises:
        ValueError: there is no such file, or it has an empty line or a name twice.
    """
    find_file(source, [CLASS_NAMES_FILE])
    benchmark = replace(benchmark, class_names=tuple(load_class_names(source)))
    if not do_reduce_labels:
        return replace(benchmark, ignored_ids=(benchmark.unlabelled_id,))
    published_ids = tuple(range(1, len(benchmark.class_names) + 1))
    # With 255 classes, 255 is the last of them.
    ignored_ids = tuple(label for label in (0, benchmark.unlabelled_id) if label not in published_ids)
    return replace(benchmark, published_ids=published_ids, ignored_ids=ignored_ids)


def _folders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures and label maps of one's own, with a list of the class names."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ..benchmarks import SegmentationBenchmark
from .published_pictures import FoundSplits, find_file, find_folder, pair_files


def find_own_files(source: Path) -> FoundSplits:
    """`images/*` and `annotations/*.png`, or one folder a split in both, and `class_names.txt`."""
    folder, maps = find_folder(source, ["images"]), find_folder(source, ["annotations", "masks", "labels"])
    splits = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not splits:
        yield "validation", (pair_files(folder, maps), Counter())
    for split in splits:
        yield split, (pair_files(folder / split, maps / split), Counter())


def with_own_class_names(benchmark: SegmentationBenchmark, source: Path) -> SegmentationBenchmark:
    """Gives the benchmark `folder` the names of the source's `class_names.txt`.

    Raises:
        ValueError: there is no such file, or it has an empty line or a name twice.
    """
    path = find_file(source, ["class_names.txt"])
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines())
    if not names or "" in names or len(set(names)) != len(names):
        raise ValueError(f"The class names in {path} hold an empty line or a name twice: give each class a name.")
    benchmark = replace(benchmark, class_names=names)
    return replace(benchmark, ignored_ids=(benchmark.unlabelled_id,))

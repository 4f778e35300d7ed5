# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Loads segmentation data sets: which one, how it is read, and what a benchmark says of it.

A data set is whatever `datasets` loads with a picture column and a label map column: a Hub id, a local folder in the
Hub's layout, or a folder that `save_to_disk` wrote.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets

from .benchmarks import find_benchmark, prepared_benchmark_name
from .class_list_files import load_class_names, load_id_map, load_prompts
from .class_prompts import PromptedSynonyms
from .label_decoding import LabelDecoding
from .segmentation_split import SegmentationSplit

# Into how many parts, to be shared among processes and workers, a folder of `save_to_disk` is cut when it is streamed.
MAX_STREAM_PARTS = 64


@dataclass
class DatasetArguments:
    """Which data set, and how to read it: what is not said is taken from the benchmark, if one is named."""

    benchmark: str | None = field(
        default=None,
        metadata={
            "help": "coco-stuff, a-150, a-847, pc-59, pc-459, pas-20, pas-20b, cityscapes or folder; a folder that "
            "`fgaseg prepare` made says it itself"
        },
    )
    dataset: str | None = field(
        default=None, metadata={"help": "Hub id, folder in the Hub's layout, or saved folder; the benchmark's own"}
    )
    dataset_revision: str | None = field(default=None, metadata={"help": "commit, tag or branch of a Hub data set"})
    dataset_subset: str | None = field(default=None, metadata={"help": "configuration name of the data set"})
    image_column: str | None = field(default=None, metadata={"help": "column of the pictures; 'image' by default"})
    annotation_column: str | None = field(
        default=None,
        metadata={
            "help": "column of the label maps ('annotation' by default); 'segmentations[0]' is the first of a list"
        },
    )
    decoding: LabelDecoding | None = field(
        default=None, metadata={"help": "what label maps hold: ids, colours of Pascal VOC, or ADE20K's colour code"}
    )
    class_names: str | None = field(
        default=None,
        metadata={"help": "text file, one name a line in id order; the data set's class_names.txt by default"},
    )
    prompts: str | None = field(
        default=None, metadata={"help": "text file of what to ask for, a line a class, if not the names themselves"}
    )
    prompted_synonyms: PromptedSynonyms | None = field(
        default=None,
        metadata={"help": "of 'building, edifice', ask for the first, for all (the best counts) or for the line"},
    )
    class_groups: str | None = field(
        default=None, metadata={"help": 'JSON file of class names by group, such as {"seen": [...], "unseen": [...]}'}
    )
    ignored_ids: list[int] | None = field(
        default=None, metadata={"help": "ids that mean 'not annotated'; 255 by default"}
    )
    id_map: str | None = field(default=None, metadata={"help": "JSON file of raw ids to class ids; others are ignored"})
    background_id: int | None = field(
        default=None, metadata={"help": "class that every prediction from this id on counts as"}
    )
    max_short_side: int | None = field(
        default=None, metadata={"help": "pixels to which the shorter side of a larger picture is first brought"}
    )
    num_checked_label_maps: int = field(
        default=2000, metadata={"help": "label maps to check for wrong ids at the start (each is checked on use too)"}
    )


def load_split(
    path: str, split: str, revision: str | None = None, subset: str | None = None, streaming: bool = False
) -> Any:
    """Loads one split of a data set.

    Args:
        path: Hub id, local folder in the Hub's layout, or a folder written by `save_to_disk`.
        split: name of the split.
        revision: commit, tag or branch of a Hub data set.
        subset: configuration name of the data set, if it has several.
        streaming: whether to read rows as they are needed, without fetching and storing the whole split first.

    Returns:
        A `datasets.Dataset`, or a `datasets.IterableDataset` if it is streamed.

    Raises:
        ValueError: there is no such data set or split.
    """
    folder = Path(path)
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        loaded = datasets.load_from_disk(path)
        if not isinstance(loaded, datasets.Dataset):
            if split not in loaded:
                raise ValueError(f"The data set {path} has no split {split!r}, only {', '.join(loaded)}.")
            loaded = loaded[split]
        return loaded.to_iterable_dataset(num_shards=min(len(loaded), MAX_STREAM_PARTS)) if streaming else loaded
    try:
        return datasets.load_dataset(path, subset, split=split, revision=revision, streaming=streaming)
    except (FileNotFoundError, ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        raise ValueError(f"There is no data set {path!r}, neither as a folder nor (reachable) on the Hub.") from error


def default_split(arguments: DatasetArguments) -> str:
    """Returns the split that the benchmark measures on; prepared folders and all others call it "validation"."""
    if arguments.benchmark is None or arguments.dataset is not None:
        return "validation"
    return find_benchmark(arguments.benchmark).split


def load_segmentation_splits(
    arguments: DatasetArguments, names: Sequence[str], streamed_names: Sequence[str] = ()
) -> dict[str, SegmentationSplit]:
    """Loads some splits of the data set that the arguments describe, those of `streamed_names` as streams.

    Raises:
        ValueError: the data set, a split, a column, the class names or the id map do not exist or do not fit.
    """
    benchmark_name = arguments.benchmark
    if benchmark_name is None and arguments.dataset is not None:
        benchmark_name = prepared_benchmark_name(arguments.dataset)
    benchmark = find_benchmark(benchmark_name or "folder")
    path = arguments.dataset or benchmark.hub_id
    if path is None:
        raise ValueError(
            "--dataset is missing: a Hub id or a folder in the Hub's layout, such as `fgaseg prepare` makes of "
            "published files."
        )
    if arguments.class_names or not benchmark.class_names:
        class_names = load_class_names(path, arguments.class_names)
    else:
        class_names = list(benchmark.class_names)
    if not benchmark.class_names:
        benchmark = replace(benchmark, class_names=tuple(class_names))
    prepared_for = prepared_benchmark_name(path)
    if prepared_for is not None:
        if prepared_for != benchmark.name:
            raise ValueError(f"The folder {path} was prepared for {prepared_for}, not for {benchmark.name}.")
        benchmark = benchmark.prepared()

    id_map = load_id_map(arguments.id_map) if arguments.id_map else benchmark.id_map
    ignored_ids = benchmark.ignored_ids if arguments.ignored_ids is None else tuple(arguments.ignored_ids)
    benchmark = replace(
        benchmark,
        prompts=tuple(load_prompts(arguments.prompts)) if arguments.prompts else benchmark.prompts,
        prompted_synonyms=_given(arguments.prompted_synonyms, benchmark.prompted_synonyms),
        background_id=_given(arguments.background_id, benchmark.background_id),
    )
    prompted = benchmark.prompted_classes(class_names)
    revision = _given(arguments.dataset_revision, None if arguments.dataset else benchmark.revision)
    return {
        name: SegmentationSplit(
            rows=load_split(path, name, revision, arguments.dataset_subset, streaming=name in streamed_names),
            class_names=class_names,
            image_column=_given(arguments.image_column, benchmark.image_column),
            annotation_column=_given(arguments.annotation_column, benchmark.annotation_column),
            decoding=_given(arguments.decoding, benchmark.decoding),
            ignored_ids=ignored_ids or (),
            id_map=id_map,
            ignore_unmapped_ids=arguments.id_map is not None or benchmark.ignored_ids is None,
            prompts=[prompt for prompt, _ in prompted],
            class_of_prompt=[class_id for _, class_id in prompted],
            background_id=benchmark.background_id,
            max_short_side=_given(arguments.max_short_side, benchmark.max_short_side),
        )
        for name in names
    }


def _given(argument: Any, default: Any) -> Any:
    return default if argument is None else argument

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Loads segmentation data sets: which one, how it is read, and what a benchmark says of it.

A data set is whatever `datasets` loads with a picture column and a label map column: a Hub id, a local folder in the
Hub's layout, or a folder that `save_to_disk` wrote.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .benchmarks import SegmentationBenchmark, find_benchmark, read_preparation_record
from .class_list_files import load_class_names, load_id_map, load_prompts
from .class_prompts import PromptedSynonyms
from .label_decoding import LabelDecoding, unlabelled_id
from .segmentation_split import SegmentationSplit, split_column
from .split_rows import annotated_rows, load_split

logger = logging.getLogger(__name__)


@dataclass
class DatasetArguments:
    """Which data set, and how to read it: what is not said is taken from the benchmark, if one is named."""

    benchmark: str | None = field(
        default=None,
        metadata={
            "help": "coco-stuff, a-150, a-847, pc-59, pc-459, pas-20, pas-20b, cityscapes or folder; a folder that "
            "`fgaseg prepare` made says it itself. To measure, also several with commas, or all"
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
        default=None,
        metadata={
            "help": "ids that mean 'not annotated', or nothing behind it for none; by default the benchmark's, or 255 "
            "(65535 where 255 is a class)"
        },
    )
    id_map: str | None = field(
        default=None,
        metadata={
            "help": 'raw ids to class ids, a JSON file or the text itself, as in \'{"0": 0, "255": 1}\'; others are '
            "ignored"
        },
    )
    do_reduce_labels: bool = field(
        default=False,
        metadata={
            "help": "label maps count the classes from 1, and 0 is not annotated, as in many data sets of the Hub"
        },
    )
    skip_unannotated: bool = field(
        default=False, metadata={"help": "leave out rows that have no picture or no label map"}
    )
    background_id: int | None = field(
        default=None, metadata={"help": "class that every prediction from this id on counts as"}
    )
    max_short_side: int | None = field(
        default=None, metadata={"help": "pixels to which the shorter side of a larger picture is first brought"}
    )
    num_checked_label_maps: int = field(
        default=2000, metadata={"help": "label maps to check for wrong ids at the start (each is checked on use too)"}
    )


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
    benchmark, path = _find_data(arguments)
    if arguments.class_names or not benchmark.class_names:
        class_names = load_class_names(path, arguments.class_names)
    else:
        class_names = list(benchmark.class_names)
    record = read_preparation_record(path)
    if record is not None:
        if record["benchmark"] != benchmark.name:
            raise ValueError(f"The folder {path} was prepared for {record['benchmark']}, not for {benchmark.name}.")
        benchmark = replace(benchmark.prepared(), ignored_ids=(record["unlabelled_id"],))
    elif not benchmark.class_names:
        benchmark = replace(benchmark, ignored_ids=(unlabelled_id(len(class_names)),))

    id_map = load_id_map(arguments.id_map) if arguments.id_map else benchmark.id_map
    if arguments.do_reduce_labels:
        if id_map is not None:
            raise ValueError("--do_reduce_labels and a map of ids (--id_map, or the benchmark's) exclude each other.")
        id_map = {class_id + 1: class_id for class_id in range(len(class_names))}
        benchmark = replace(benchmark, ignored_ids=(0, *(benchmark.ignored_ids or ())))
    benchmark = replace(
        benchmark,
        class_names=benchmark.class_names or tuple(class_names),
        image_column=_given(arguments.image_column, benchmark.image_column),
        annotation_column=_given(arguments.annotation_column, benchmark.annotation_column),
        prompts=tuple(load_prompts(arguments.prompts)) if arguments.prompts else benchmark.prompts,
        prompted_synonyms=_given(arguments.prompted_synonyms, benchmark.prompted_synonyms),
        background_id=_given(arguments.background_id, benchmark.background_id),
    )
    prompted = benchmark.prompted_classes(class_names)
    return {
        name: SegmentationSplit(
            rows=_load_rows(arguments, benchmark, path, name, streaming=name in streamed_names),
            class_names=class_names,
            image_column=benchmark.image_column,
            annotation_column=benchmark.annotation_column,
            decoding=_given(arguments.decoding, benchmark.decoding),
            ignored_ids=_ignored_ids(arguments, benchmark, class_names, id_map),
            id_map=id_map,
            ignore_unmapped_ids=arguments.id_map is not None or benchmark.ignored_ids is None,
            prompts=[prompt for prompt, _ in prompted],
            class_of_prompt=[class_id for _, class_id in prompted],
            background_id=benchmark.background_id,
            max_short_side=_given(arguments.max_short_side, benchmark.max_short_side),
            title=f"the split {name!r} of {path}",
        )
        for name in names
    }


def _find_data(arguments: DatasetArguments) -> tuple[SegmentationBenchmark, str]:
    """Returns the benchmark that says how data are read, and where they are."""
    record = None if arguments.dataset is None else read_preparation_record(arguments.dataset)
    benchmark = find_benchmark(arguments.benchmark or (record or {}).get("benchmark") or "folder")
    path = arguments.dataset or benchmark.hub_id
    if path is None:
        raise ValueError(
            "--dataset is missing: a Hub id or a folder in the Hub's layout, such as `fgaseg prepare` makes of "
            "published files."
        )
    return benchmark, path


def _ignored_ids(
    arguments: DatasetArguments,
    benchmark: SegmentationBenchmark,
    class_names: Sequence[str],
    id_map: dict[int, int] | None,
) -> tuple[int, ...]:
    """Returns the ids that are not annotated: those that were given, or the benchmark's, of which none is a class."""
    if arguments.ignored_ids is not None:
        return tuple(arguments.ignored_ids)
    is_class = range(len(class_names)) if id_map is None else id_map
    return tuple(ignored for ignored in benchmark.ignored_ids or () if ignored not in is_class)


def _load_rows(
    arguments: DatasetArguments, benchmark: SegmentationBenchmark, path: str, split: str, streaming: bool
) -> Any:
    """Loads a split's rows; on request without those that lack their picture or label map."""
    revision = _given(arguments.dataset_revision, None if arguments.dataset else benchmark.revision)
    rows = load_split(path, split, revision, arguments.dataset_subset, streaming)
    if not arguments.skip_unannotated:
        return rows
    annotated = annotated_rows(rows, benchmark.image_column, split_column(benchmark.annotation_column)[0])
    if not streaming and len(annotated) < len(rows):
        logger.warning(
            "In the split %r of %s: %d of %d rows are left out, since they have no picture or no label map.",
            split,
            path,
            len(rows) - len(annotated),
            len(rows),
        )
    return annotated


def _given(argument: Any, default: Any) -> Any:
    return default if argument is None else argument

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentation data sets for training and evaluation: loading, ids, class names, vocabulary sampling, collation.

A data set is whatever `datasets` loads with a picture column and a label map column: a Hub id, a local folder in the
Hub's layout, or a folder that `save_to_disk` wrote.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, Sampler

from ..model.image_processing_fgaseg import open_picture, picture_to_rgb
from .augmentation import IGNORED_LABEL, AugmentationConfig, augment
from .benchmarks import (
    LabelDecoding,
    PromptedSynonyms,
    decode_label_map,
    find_benchmark,
    limit_short_side,
    prepared_benchmark_name,
)
from .data_collator import prompts_of_classes as prompts_of_classes

# Where the names lie in a data set's folder if nothing else is said.
CLASS_NAMES_FILE = "class_names.txt"
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


@dataclass(kw_only=True)
class SegmentationSplit:
    """One split of a data set, read as pairs of a picture and an array of class ids.

    Attributes:
        rows: the split with its columns; of a streamed one the length is not known, and single rows cannot be had.
        class_names: names in id order.
        image_column: column of the pictures.
        annotation_column: column of the label maps; "maps[0]" is the first of a list of them.
        decoding: what the numbers of a label map are; see `fgaseg_hf.data.benchmarks.LabelDecoding`.
        ignored_ids: raw ids that are not annotated.
        id_map: raw id to class id where the file's ids are not the class ids.
        ignore_unmapped_ids: whether raw ids that the id map lacks are not annotated; otherwise they are errors.
        prompts: what the model is asked for, one text an output; None asks for the class names.
        class_of_prompt: the class id that each prompt stands for; None where prompts and class names go in pairs.
        background_id: class that all further prompts stand for, as `class_of_prompt` then says; None without this rule.
        max_short_side: pixels to which the shorter side of a larger picture is brought; None leaves all as they are.
    """

    rows: Any
    class_names: list[str]
    image_column: str = "image"
    annotation_column: str = "annotation"
    decoding: LabelDecoding = "index"
    ignored_ids: tuple[int, ...] = (255,)
    id_map: dict[int, int] | None = None
    ignore_unmapped_ids: bool = True
    prompts: list[str] | None = None
    class_of_prompt: Any = None
    background_id: int | None = None
    max_short_side: int | None = None

    def __post_init__(self) -> None:
        self._label_column, self._label_place = split_column(self.annotation_column)
        column_names = list(self.rows.features or next(iter(self.rows)))
        for column in (self.image_column, self._label_column):
            if column not in column_names:
                raise ValueError(
                    f"The data set has no column {column!r}, only {', '.join(column_names)}; name the right one with "
                    "--image_column or --annotation_column."
                )
        self._label_rows = self.rows.select_columns([self._label_column])
        if self.background_id is not None and not 0 <= self.background_id < len(self.class_names):
            raise ValueError(
                f"--background_id is {self.background_id}, but must be the id of one of the {len(self.class_names)} "
                "class names."
            )
        if self.prompts is None:
            self.prompts = self.class_names
        if self.class_of_prompt is None:
            self.class_of_prompt = range(len(self.prompts))
        self.class_of_prompt = np.asarray(self.class_of_prompt, dtype=np.int64)
        asked_for = set(self.class_of_prompt.tolist())
        known = asked_for <= set(range(len(self.class_names)))
        fits = known if self.background_id is not None else known and len(asked_for) == len(self.class_names)
        if len(self.class_of_prompt) != len(self.prompts) or not fits:
            raise ValueError(
                f"There are {len(self.prompts)} prompts for {len(self.class_names)} class names; give one a name, or a "
                "--background_id that further predictions count as."
            )
        if self.id_map is not None:
            outside = [value for value in self.id_map.values() if not 0 <= value < len(self.class_names)]
            if outside:
                raise ValueError(
                    f"The id map leads to the class {outside[0]}, outside the {len(self.class_names)} class names."
                )

    @property
    def is_streamed(self) -> bool:
        """Whether rows come in their order alone, and nobody knows how many."""
        return isinstance(self.rows, datasets.IterableDataset)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns the RGB picture, turned upright, and its class ids as int64 (H, W) with `IGNORED_LABEL`."""
        return self.read_row(self.rows[int(index)], index)

    def read_row(self, row: dict[str, Any], index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns picture and class ids, as `split[index]` does, of a row that was read already.

        Raises:
            ValueError: picture or label map cannot be read, differ in size, or hold an id that is no class.
        """
        picture = picture_to_rgb(open_picture(row[self.image_column]))
        labels = self._to_class_ids(row[self._label_column], index)
        if labels.shape != picture.size[::-1]:
            raise ValueError(
                f"Row {index} has a picture of {picture.width} x {picture.height} pixels but a label map of "
                f"{labels.shape[1]} x {labels.shape[0]}; both must agree."
            )
        return limit_short_side(picture, labels, self.max_short_side)

    def label_map(self, index: int) -> np.ndarray:
        """Returns only the class ids of a row, int64 (H, W), without decoding its picture.

        Raises:
            ValueError: the map holds an id that is neither a class nor ignored.
        """
        return self._to_class_ids(self._label_rows[int(index)][self._label_column], index)

    def _to_class_ids(self, label_map: Any, index: int) -> np.ndarray:
        try:
            if self._label_place is not None:
                label_map = label_map[self._label_place]
            raw = decode_label_map(label_map, self.decoding)
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"The label map of row {index} cannot be read. {error}") from error
        present = np.unique(raw)
        if self.id_map is None:
            table = {int(label): int(label) for label in present}
        else:
            # an id far outside the class list: reported below, unless it is ignored
            unmapped = IGNORED_LABEL if self.ignore_unmapped_ids else len(self.class_names)
            table = {int(label): self.id_map.get(int(label), unmapped) for label in present}
        table |= dict.fromkeys(self.ignored_ids, IGNORED_LABEL)
        for label in present:
            class_id = table[int(label)]
            if class_id != IGNORED_LABEL and not 0 <= class_id < len(self.class_names):
                num_names = len(self.class_names)
                why = (
                    f"there are {num_names} class names (ids 0 to {num_names - 1}); give all names,"
                    if self.id_map is None
                    else "the id map lacks it; give another with --id_map,"
                )
                raise ValueError(
                    f"The label map of row {index} holds the id {label}, but {why} or list the id in --ignored_ids."
                )
        # `present` is sorted, so each pixel's place in it finds its class in one pass over the map
        classes = np.array([table[int(label)] for label in present], dtype=np.int64)
        return classes[np.searchsorted(present, raw)]

    @property
    def training_prompts(self) -> list[str]:
        """What training asks for: one prompt a class name, the first of several.

        Raises:
            ValueError: a background rule lets one class stand for many prompts, which no single one can be trained as.
        """
        if self.background_id is not None and len(self.prompts or []) > len(self.class_names):
            raise ValueError(
                f"Class {self.background_id} stands for all prompts from this id on, which is a rule to measure by; "
                "train on a data set without it, such as pas-20 or pc-59."
            )
        first = np.unique(self.class_of_prompt, return_index=True)[1]
        return [(self.prompts or [])[place] for place in first]

    def check_label_maps(
        self, num_checked: int | None = None, *, process_index: int = 0, num_processes: int = 1
    ) -> int:
        """Reads label maps, spread evenly over the split, to find ids outside the class list before training starts.

        Args:
            num_checked: how many maps to read at most; None reads all.
            process_index: of several processes that share the work, the number of this one.
            num_processes: how many there are.

        Returns:
            The number of maps that all processes read together.

        Raises:
            ValueError: a map holds an id that is neither a class nor ignored.
        """
        num_checked = len(self) if num_checked is None else min(num_checked, len(self))
        indices = spread_evenly(num_checked, len(self))
        for index in indices[process_index::num_processes]:
            self.label_map(index)
        return len(indices)


def split_column(column: str) -> tuple[str, int | None]:
    """Splits "segmentations[0]" into the column and the place in its list; a plain column has no place."""
    match = re.fullmatch(r"(.+)\[(\d+)\]", column)
    return (match[1], int(match[2])) if match else (column, None)


def spread_evenly(num_chosen: int, num_rows: int) -> list[int]:
    """Returns the numbers of up to `num_chosen` rows of `num_rows`, in order and spread evenly from first to last."""
    places = np.linspace(0, num_rows - 1, max(0, min(num_chosen, num_rows)))
    return sorted({int(place) for place in places.round()})


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


def load_class_names(dataset: str, class_names_file: str | None = None) -> list[str]:
    """Reads the class names of a data set: a text file with one name a line, in id order.

    Args:
        dataset: Hub id or folder of the data set; a local folder may hold `class_names.txt`.
        class_names_file: the file, if it lies elsewhere.

    Returns:
        The names. Of a line with several synonyms (separated by commas), all are kept in the name.

    Raises:
        ValueError: no file, an empty file or line, or a name twice.
    """
    path = Path(class_names_file) if class_names_file else Path(dataset) / CLASS_NAMES_FILE
    if not path.is_file():
        raise ValueError(
            f"There are no class names at {path}; pass --class_names FILE, a text file of one name a line in id order."
        )
    names = [line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines()]
    if not names or "" in names:
        raise ValueError(f"The class names in {path} have an empty line (line {names.index('') + 1 if names else 1}).")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"The class names in {path} hold {twice!r} twice; every class needs a name of its own.")
    return names


def load_prompts(path: str) -> list[str]:
    """Reads what to ask for, a line a class; several lines may be the same.

    Raises:
        ValueError: there is no such file, or it has an empty line.
    """
    if not Path(path).is_file():
        raise ValueError(f"There are no prompts at {path}; pass --prompts FILE, a text file of one prompt a line.")
    prompts = [line.strip() for line in Path(path).read_text(encoding="utf-8").rstrip().splitlines()]
    if not prompts or "" in prompts:
        raise ValueError(f"The prompts in {path} have an empty line; ask for something in each.")
    return prompts


def load_id_map(path: str | None) -> dict[int, int] | None:
    """Reads a JSON object of raw ids to class ids, such as {"7": 0, "11": 1}; None without a path."""
    if path is None:
        return None
    mapping = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(mapping, dict) or not all(isinstance(value, int) for value in mapping.values()):
        raise ValueError(f"The id map in {path} must be a JSON object that leads from raw ids to class ids.")
    return {int(raw): class_id for raw, class_id in mapping.items()}


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


class VocabularySampler:
    """Chooses for each training picture the classes that it is asked for: its own, and sampled others.

    With thousands of classes a picture cannot be compared with all of them in every step. Half of the other classes
    share a word with one of the picture's own ("red car" with "red house" and "blue car"), because telling these apart
    is what is hard to learn; the rest is drawn from the whole list.

    Args:
        class_names: all names.
        num_sampled_classes: how many classes every picture gets. At most three quarters of them are its own: of more, a
            random choice is kept, and the pixels of the others belong to none of the classes, which is just what the
            loss is told of them.
        held_out: names that training must never see, not even as a class that a picture does not hold.

    Raises:
        ValueError: the number does not lie between 1 and the number of names that are left, or a held-out name is
            unknown.
    """

    def __init__(self, class_names: Sequence[str], num_sampled_classes: int, held_out: Sequence[str] = ()) -> None:
        unknown = sorted(set(held_out) - set(class_names))
        if unknown:
            raise ValueError(f"The held-out name {unknown[0]!r} is not one of the class names.")
        num_usable = len(class_names) - len(set(held_out))
        if not 1 <= num_sampled_classes <= num_usable:
            raise ValueError(
                f"--num_sampled_classes is {num_sampled_classes}, but must lie between 1 and the {num_usable} class "
                "names that training may see."
            )
        self.held_out = np.array(
            [index for index, name in enumerate(class_names) if name in set(held_out)], dtype=np.int64
        )
        self.max_own_classes = max(3 * num_sampled_classes // 4, 1)
        self.num_classes = len(class_names)
        self.num_sampled_classes = num_sampled_classes
        words_of = [set(re.findall(r"\w{3,}", name.lower())) for name in class_names]
        classes_with: dict[str, list[int]] = {}
        for class_id, words in enumerate(words_of):
            for word in words:
                classes_with.setdefault(word, []).append(class_id)
        self.related_classes = [
            np.array(sorted({other for word in words for other in classes_with[word]} - {class_id}), dtype=np.int64)
            for class_id, words in enumerate(words_of)
        ]

    def __call__(self, present: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns `num_sampled_classes` different class ids in random order, among them most of the `present` ones."""
        present = np.setdiff1d(present, self.held_out)
        own = generator.permutation(present)
        # More of its own where there are too few others to fill up with.
        num_others = self.num_classes - len(self.held_out) - len(present)
        chosen = own[: max(self.max_own_classes, self.num_sampled_classes - num_others)]
        num_free = self.num_sampled_classes - len(chosen)
        if num_free:
            related = [self.related_classes[class_id] for class_id in present]
            hard = np.setdiff1d(np.concatenate(related) if related else [], present).astype(np.int64)
            hard = np.setdiff1d(hard, self.held_out)
            hard = generator.permutation(hard)[: num_free // 2]
            chosen = np.concatenate([chosen, hard])
            others = np.setdiff1d(np.arange(self.num_classes), np.concatenate([chosen, present, self.held_out]))
            others = generator.permutation(others)[: self.num_sampled_classes - len(chosen)]
            chosen = np.concatenate([chosen, others])
        return generator.permutation(chosen).astype(np.int64)


class TrainingSamples(Dataset):
    """Endless, reproducible stream of augmented training samples, addressed by a number counted from the run's start.

    Sample `g` is a function of `g` and the seed alone: epoch `g // len(split)` is a permutation of the split, and all
    that is random in the sample is drawn from a generator seeded with `g`. So a run that resumes, another number of
    processes and another number of workers all see the same samples.

    Args:
        split: where pictures and labels come from.
        augmentation: what may happen to a picture.
        seed: the run's seed.
        image_mean: mean a channel of the model's pictures, in 0..1.
        image_std: standard deviation a channel.
        vocabulary: chooses each picture's classes; None trains every picture on all class names.
        choose_picture: draws the number of a picture and a class that its crop must show, instead of the permutation;
            see `rare_class_sampling`.
        label_stride: keeps every so-many-th label along both axes; the loss is then computed on fewer pixels.
        ignore_index: label that the model reads as "not annotated".

    Each item is a dictionary of `pixel_values` (3, H, W), `labels` (H, W) long, indices into the picture's classes, and
    `class_indices` (T,) long, the ids of these classes (only with a `vocabulary`).

    Raises:
        ValueError: the split is empty, or `ignore_index` is the index of a class.
    """

    def __init__(
        self,
        split: SegmentationSplit,
        augmentation: AugmentationConfig,
        *,
        seed: int,
        image_mean: Sequence[float],
        image_std: Sequence[float],
        vocabulary: VocabularySampler | None = None,
        choose_picture: Callable[[np.random.Generator], tuple[int, int]] | None = None,
        label_stride: int = 1,
        ignore_index: int = 255,
    ) -> None:
        if not split.is_streamed and not len(split):
            raise ValueError("The training split is empty.")
        if label_stride < 1:
            raise ValueError(f"--label_stride is {label_stride}, but must be at least 1.")
        num_indices = vocabulary.num_sampled_classes if vocabulary else len(split.class_names)
        if 0 <= ignore_index < num_indices:
            raise ValueError(
                f"With {num_indices} classes a picture, the label {ignore_index} cannot mean 'ignored' at once; set "
                "`semantic_loss_ignore_index` in the model's config to -100, or pass --num_sampled_classes."
            )
        self.split = split
        self.augmentation = augmentation
        self.seed = seed
        self.mean = np.asarray(image_mean, dtype=np.float32)
        self.std = np.asarray(image_std, dtype=np.float32)
        self.vocabulary = vocabulary
        self.choose_picture = choose_picture
        self.label_stride = label_stride
        self.ignore_index = ignore_index
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def picture_index(self, sample: int) -> int:
        """Returns which picture of the split a sample shows."""
        epoch, place = divmod(sample, len(self.split))
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.split))
            self._epoch = epoch
        return int(self._order[place])

    def __getitem__(self, sample: int) -> dict[str, torch.Tensor]:
        generator = np.random.default_rng([self.seed, 1, sample])
        if self.choose_picture is None:
            index, shown_class = self.picture_index(sample), None
        else:
            index, shown_class = self.choose_picture(generator)
        return self.prepare(*self.split[index], generator, shown_class)

    def prepare(
        self, picture: Image.Image, labels: np.ndarray, generator: np.random.Generator, shown_class: int | None = None
    ) -> dict[str, torch.Tensor]:
        """Makes a sample of a picture and its class ids; all that is random comes from the generator."""
        pixels, labels = augment(picture, labels, self.augmentation, generator, shown_class)
        pixel_values = (pixels.astype(np.float32) / 255 - self.mean) / self.std
        item = {"pixel_values": torch.from_numpy(np.ascontiguousarray(pixel_values.transpose(2, 0, 1)))}
        middle = (self.label_stride - 1) // 2
        labels = np.ascontiguousarray(labels[middle :: self.label_stride, middle :: self.label_stride])
        if self.vocabulary is None:
            labels = np.where(labels == IGNORED_LABEL, self.ignore_index, labels)
        else:
            classes = self.vocabulary(np.setdiff1d(labels, [IGNORED_LABEL]), generator)
            # one place more than there are classes: IGNORED_LABEL is -1 and so reads the last place
            index_of = np.full(len(self.split.class_names) + 1, self.ignore_index, dtype=np.int64)
            index_of[classes] = np.arange(len(classes))
            labels = index_of[labels]
            item["class_indices"] = torch.from_numpy(classes)
        item["labels"] = torch.from_numpy(labels)
        return item


class ShardedBatches(Sampler):
    """Sample numbers of each batch of one process, so that all processes together see the global batches in order.

    Optimiser step `s` trains on the samples `s * batch_size` to `(s + 1) * batch_size - 1`. They are cut into
    `gradient_accumulation_steps` parts, and each of these into one part a process.

    Args:
        batch_size: pictures an optimiser step, over all processes and accumulation steps.
        first_step: the optimiser step to begin with.
        last_step: the step to end before.
        gradient_accumulation_steps: batches an optimiser step.
        process_index: number of this process.
        num_processes: how many there are.

    Raises:
        ValueError: the batch cannot be cut into equal parts.
    """

    def __init__(
        self,
        batch_size: int,
        first_step: int,
        last_step: int,
        *,
        gradient_accumulation_steps: int = 1,
        process_index: int = 0,
        num_processes: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % (gradient_accumulation_steps * num_processes):
            raise ValueError(
                f"--batch_size {batch_size} is the number of pictures an optimiser step over all processes; it must be "
                f"a multiple of processes x accumulation steps = {num_processes} x {gradient_accumulation_steps}."
            )
        self.batch_size = batch_size
        self.steps = range(first_step, last_step)
        self.num_parts = gradient_accumulation_steps
        self.process_index = process_index
        self.part_size = batch_size // (gradient_accumulation_steps * num_processes)
        self.num_processes = num_processes

    def __len__(self) -> int:
        return len(self.steps) * self.num_parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for part in range(self.num_parts):
                first = step * self.batch_size + (part * self.num_processes + self.process_index) * self.part_size
                yield list(range(first, first + self.part_size))

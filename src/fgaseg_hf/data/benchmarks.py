# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The benchmarks of open-vocabulary segmentation as data: class names, prompts, ids, columns and rules of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .class_prompts import PromptedSynonyms, split_synonyms
from .label_decoding import LabelDecoding, unlabelled_id
from .text_files import read_json_file

# Written into a prepared folder last of all, so that a folder that has it is whole.
PREPARED_BENCHMARK_FILE = "benchmark.json"


@dataclass(frozen=True, kw_only=True)
class SegmentationBenchmark:
    """What has to be known of a data set to measure on it.

    A class's id is its line in the class list, from 0. The ids in the published files are others; a prepared folder
    (see `fgaseg_hf.data.benchmark_preparation`) holds class ids, as [`SegmentationBenchmark.prepared`] says.

    Attributes:
        name: the name that commands take.
        title: the name that people know.
        class_names: names in id order, with all synonyms; empty where each data set brings its own (`class_names.txt`
            in its folder).
        published_ids: the id of each class in the published label maps; None where these hold class ids.
        prompts: what the model is asked for, one text an output of the model, if it is not the class names.
        prompted_synonyms: what a name such as "building, edifice" is asked for by: its first synonym (the published
            protocol), all of them, of which the best counts, or the line as it stands.
        hub_id: a data set on the Hugging Face Hub that holds the pictures; None where there is none.
        revision: its commit, tag or branch.
        split: the split that is measured on.
        image_column: column of the pictures.
        annotation_column: column of the label maps; "segmentations[0]" is the first of a list.
        decoding: what the numbers of a label map are.
        ignored_ids: ids in the label maps that are not annotated; None: all that are no class's.
        background_id: class that every prediction from this id on counts as; None without such a rule.
        max_short_side: pixels to which the shorter side of a larger picture is first brought (picture bilinear, labels
            nearest); None leaves all as they are.
        leaves_out_unannotated: whether a picture without an annotated pixel does not belong to the benchmark.
        num_pictures: how many pictures each split has, as published.
    """

    name: str
    title: str
    class_names: tuple[str, ...] = ()
    published_ids: tuple[int, ...] | None = None
    prompts: tuple[str, ...] | None = None
    prompted_synonyms: PromptedSynonyms = "first"
    hub_id: str | None = None
    revision: str | None = None
    split: str = "validation"
    image_column: str = "image"
    annotation_column: str = "annotation"
    decoding: LabelDecoding = "index"
    ignored_ids: tuple[int, ...] | None = (255,)
    background_id: int | None = None
    max_short_side: int | None = None
    leaves_out_unannotated: bool = False
    num_pictures: Mapping[str, int] = field(default_factory=dict)

    @property
    def id_map(self) -> dict[int, int] | None:
        """Published id to class id; None if the label maps hold class ids."""
        if self.published_ids is None:
            return None
        return {published: class_id for class_id, published in enumerate(self.published_ids)}

    def prompts_of(self, class_names: Sequence[str]) -> list[str]:
        """Returns what the model is asked for, one text an output of the model; several may be the same.

        Args:
            class_names: the names in id order.
        """
        return [prompt for prompt, _ in self.prompted_classes(class_names)]

    def prompted_classes(self, class_names: Sequence[str]) -> list[tuple[str, int]]:
        """Returns what the model is asked for, in the order of its outputs, each with the class that it stands for.

        A pixel is of the class of the prompt that fits it best. This is the only place that says so: synonyms stand for
        one class, and by a background rule all prompts from `background_id` on stand for this class.

        Args:
            class_names: the names in id order.
        """
        prompts = class_names if self.prompts is None else self.prompts
        last_class = len(prompts) - 1 if self.background_id is None else self.background_id
        pairs: list[tuple[str, int]] = []
        for place, line in enumerate(prompts):
            synonyms = [line]
            if self.prompts is None and self.prompted_synonyms != "line":
                synonyms = split_synonyms(line)[: 1 if self.prompted_synonyms == "first" else None]
            pairs += [(synonym, min(place, last_class)) for synonym in synonyms]
        return pairs

    @property
    def unlabelled_id(self) -> int:
        """What prepared label maps hold where nothing is annotated: 255, or 65535 in maps of 16 bits."""
        return unlabelled_id(len(self.class_names))

    def prepared(self) -> "SegmentationBenchmark":
        """Returns how a prepared folder of this benchmark is to be read: the same measure on label maps of class ids.

        Prepared pictures have been brought to `max_short_side` already.
        """
        return replace(
            self,
            hub_id=None,
            revision=None,
            split="validation",
            image_column="image",
            annotation_column="annotation",
            decoding="index",
            published_ids=None,
            ignored_ids=(self.unlabelled_id,),
            max_short_side=None,
        )

    def to_class_ids(self, published: np.ndarray) -> np.ndarray:
        """Turns a published label map into class ids.

        Args:
            published: ids as published, integers (height, width).

        Returns:
            uint8, or from 256 classes on uint16, (height, width), with `unlabelled_id` where nothing is annotated.

        Raises:
            ValueError: an id is neither a class's nor listed as ignored.
        """
        present, places = np.unique(published, return_inverse=True)
        id_map = self.id_map
        if id_map is None:
            id_map = {class_id: class_id for class_id in range(len(self.class_names))}
        ignored = present.tolist() if self.ignored_ids is None else self.ignored_ids
        table = dict.fromkeys(ignored, self.unlabelled_id) | id_map
        unknown = [label for label in present.tolist() if label not in table]
        if unknown:
            raise ValueError(f"The label map holds the id {unknown[0]}, which {self.title} does not know.")
        dtype = np.uint8 if self.unlabelled_id == 255 else np.uint16
        classes = np.array([table[label] for label in present.tolist()], dtype=dtype)
        return classes[places].reshape(published.shape)


def data_file(name: str) -> str:
    """Reads a text file of the package's data folder."""
    return files("fgaseg_hf").joinpath("data", name).read_text(encoding="utf-8")


def _class_list(name: str) -> dict[str, Any]:
    """Reads a table of the data folder, a line a class: published id, tab, name."""
    rows = [line.split("\t") for line in data_file(name).splitlines()[1:]]
    return {
        "published_ids": tuple(int(published) for published, _ in rows),
        "class_names": tuple(class_name for _, class_name in rows),
    }


# Columns and encodings of the Hub's data sets are what their cards say; where an upload is otherwise, every field can
# be given anew on the command line.
_COCO_STUFF_HOLES = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
_CITYSCAPES_LEFT_OUT = (*range(7), 9, 10, *range(14, 17), 18, 29, 30, 255)

BENCHMARKS: dict[str, SegmentationBenchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        SegmentationBenchmark(
            name="coco-stuff",
            title="COCO-Stuff-171",
            **_class_list("coco_stuff_171.tsv"),
            hub_id="GATE-engine/COCOStuff164K",
            annotation_column="mask",
            ignored_ids=(*_COCO_STUFF_HOLES, 255),
            num_pictures={"train": 118287, "validation": 5000},
        ),
        SegmentationBenchmark(
            name="a-150",
            title="ADE20K-150",
            **_class_list("ade20k_150.tsv"),
            hub_id="limingcv/Captioned_ADE20K",
            annotation_column="seg_map",
            ignored_ids=(0,),
            num_pictures={"validation": 2000},
        ),
        SegmentationBenchmark(
            name="a-847",
            title="ADE20K-847",
            **_class_list("ade20k_847.tsv"),
            hub_id="1aurent/ADE20K",
            annotation_column="segmentations[0]",
            decoding="ade20k_code",
            ignored_ids=None,
            max_short_side=512,
            num_pictures={"validation": 2000},
        ),
        SegmentationBenchmark(
            name="pc-59",
            title="Pascal Context 59",
            **_class_list("pascal_context_59.tsv"),
            ignored_ids=None,
            num_pictures={"validation": 5104},
        ),
        SegmentationBenchmark(
            name="pc-459",
            title="Pascal Context 459",
            **_class_list("pascal_context_459.tsv"),
            # A published label minus 1 is the class id: 0 becomes 65535, and 460 becomes 459.
            ignored_ids=(0, 460),
            num_pictures={"validation": 5104},
        ),
        SegmentationBenchmark(
            name="pas-20",
            title="Pascal VOC 20",
            **_class_list("pascal_voc_20.tsv"),
            hub_id="nateraw/pascal-voc-2012",
            split="val",
            annotation_column="mask",
            decoding="voc_colours",
            ignored_ids=(0, 255),
            leaves_out_unannotated=True,
            num_pictures={"validation": 1449},
        ),
        SegmentationBenchmark(
            name="pas-20b",
            title="Pascal VOC 20 with background",
            **_class_list("pascal_voc_20b.tsv"),
            prompts=tuple(data_file("pascal_voc_20b_prompts.txt").splitlines()),
            hub_id="nateraw/pascal-voc-2012",
            split="val",
            annotation_column="mask",
            decoding="voc_colours",
            background_id=20,
            num_pictures={"validation": 1449},
        ),
        SegmentationBenchmark(
            name="cityscapes",
            title="Cityscapes",
            **_class_list("cityscapes_19.tsv"),
            ignored_ids=_CITYSCAPES_LEFT_OUT,
            num_pictures={"validation": 500},
        ),
        # Whatever else `datasets` loads: class ids in one channel, names beside them.
        SegmentationBenchmark(
            name="folder",
            title="Pictures and label maps of one's own",
            prompted_synonyms="line",
        ),
    )
}


def find_benchmark(name: str) -> SegmentationBenchmark:
    """Returns the benchmark of a name; letter case makes no difference.

    Raises:
        ValueError: there is none.
    """
    try:
        return BENCHMARKS[name.lower()]
    except KeyError as error:
        raise ValueError(f"There is no benchmark {name!r}: take one of {', '.join(BENCHMARKS)}.") from error


def read_preparation_record(folder: str | Path) -> dict[str, Any] | None:
    """Returns what a prepared folder says of itself; None if it was made otherwise (or is an id on the Hub).

    Raises:
        ValueError: the record cannot be read.
    """
    path = Path(folder) / PREPARED_BENCHMARK_FILE
    if not path.is_file():
        return None
    record = read_json_file(path, "record of a preparation")
    if not isinstance(record, dict) or not {"benchmark", "unlabelled_id", "splits"} <= record.keys():
        raise ValueError(f"{path} is no record of a preparation: make the folder anew with `fgaseg prepare`.")
    return record

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""One split of a segmentation data set, read as pairs of a picture and an array of class ids."""

import logging
import re
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from PIL import Image

from ..model.picture_arrays import picture_to_rgb
from ..model.picture_reading import open_picture
from ..model.quoting import reason_of
from .annotated_share import describe_odd_annotation
from .augmentation import IGNORED_LABEL
from .class_list_files import check_distinct_names
from .label_decoding import LabelDecoding, decode_label_map, limit_short_side, unlabelled_id

logger = logging.getLogger(__name__)

# What Pillow, `datasets` and Arrow raise where a row cannot be decoded. Pillow reports broken PNG files as SyntaxError,
# and pictures of an absurd size by an exception of its own.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


class UnreadableRow(ValueError):
    """A row cannot be used; says which row of which split, and why."""


@dataclass(kw_only=True)
class SegmentationSplit:
    """One split of a data set, read as pairs of a picture and an array of class ids.

    Attributes:
        rows: the split with its columns; of a streamed one the length is not known, and single rows cannot be had.
        class_names: names in id order.
        image_column: column of the pictures.
        annotation_column: column of the label maps; "maps[0]" is the first of a list of them.
        decoding: what the numbers of a label map are; see `fgaseg_hf.data.label_decoding.LabelDecoding`.
        ignored_ids: raw ids that are not annotated; None: 255, or with more than 255 class names 65535.
        id_map: raw id to class id where the file's ids are not the class ids.
        ignore_unmapped_ids: whether raw ids that the id map lacks are not annotated; otherwise they are errors.
        prompts: what the model is asked for, one text an output; None asks for the class names.
        class_of_prompt: the class id that each prompt stands for; None where prompts and class names go in pairs.
        background_id: class that all further prompts stand for, as `class_of_prompt` then says; None without this rule.
        max_short_side: pixels to which the shorter side of a larger picture is brought; None leaves all as they are.
        title: what messages call it, such as "the split 'train' of my/dataset".
    """

    rows: Any
    class_names: list[str]
    image_column: str = "image"
    annotation_column: str = "annotation"
    decoding: LabelDecoding = "index"
    ignored_ids: tuple[int, ...] | None = None
    id_map: dict[int, int] | None = None
    ignore_unmapped_ids: bool = True
    prompts: list[str] | None = None
    class_of_prompt: Any = None
    background_id: int | None = None
    max_short_side: int | None = None
    title: str = ""

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
        check_distinct_names(self.class_names, "The class names")
        if self.ignored_ids is None:
            self.ignored_ids = (unlabelled_id(len(self.class_names)),)
        self._check_prompts()
        if self.id_map is not None:
            outside = [value for value in self.id_map.values() if not 0 <= value < len(self.class_names)]
            if outside:
                raise ValueError(
                    f"The id map leads to the class {outside[0]}, outside the {len(self.class_names)} class names."
                )

    def _check_prompts(self) -> None:
        """Fills in the prompts and the classes that they stand for, and refuses what does not fit the class names."""
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

    @property
    def is_streamed(self) -> bool:
        """Whether rows come in their order alone, and nobody knows how many."""
        return isinstance(self.rows, datasets.IterableDataset)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns the RGB picture, turned upright, and its class ids as int64 (H, W) with `IGNORED_LABEL`."""
        return self.read_row(self._fetch(self.rows, index), index)

    def _fetch(self, rows: Any, index: int) -> dict[str, Any]:
        """Reads a row; `datasets` decodes its pictures on the way."""
        try:
            return rows[int(index)]
        except UNREADABLE as error:
            raise UnreadableRow(f"{self.where}Row {index} cannot be read ({reason_of(error)}).") from error

    @property
    def where(self) -> str:
        """How messages about a row begin: "In TITLE: ", or nothing."""
        return f"In {self.title}: " if self.title else ""

    def read_row(self, row: dict[str, Any], index: int) -> tuple[Image.Image, np.ndarray]:
        """Returns picture and class ids, as `split[index]` does, of a row that was read already.

        Raises:
            UnreadableRow: picture or label map lack or cannot be read, differ in size, or hold an id that is no class.
        """
        if row[self.image_column] is None:
            raise self._lacks("picture", self.image_column, index)
        try:
            picture = picture_to_rgb(open_picture(row[self.image_column]))
        except UNREADABLE as error:
            message = f"{self.where}The picture of row {index} cannot be read ({reason_of(error)})."
            raise UnreadableRow(message) from error
        labels = self._to_class_ids(row[self._label_column], index)
        if labels.shape != picture.size[::-1]:
            raise UnreadableRow(
                f"{self.where}Row {index} has a picture of {picture.width} x {picture.height} pixels but a label map "
                f"of {labels.shape[1]} x {labels.shape[0]}; both must agree."
            )
        return limit_short_side(picture, labels, self.max_short_side)

    def label_map(self, index: int) -> np.ndarray:
        """Returns only the class ids of a row, int64 (H, W), without decoding its picture.

        Raises:
            UnreadableRow: there is no map, it cannot be read, or it holds an id that is neither a class nor ignored.
        """
        return self._to_class_ids(self._fetch(self._label_rows, index)[self._label_column], index)

    def _lacks(self, what: str, column: str, index: int) -> "UnreadableRow":
        return UnreadableRow(
            f"{self.where}Row {index} has no {what} (its column {column!r} is empty): give it one, or leave such rows "
            "out with --skip_unannotated."
        )

    def _to_class_ids(self, label_map: Any, index: int) -> np.ndarray:
        if label_map is None or (self._label_place is not None and len(label_map) == 0):
            raise self._lacks("label map", self.annotation_column, index)
        try:
            if self._label_place is not None:
                label_map = label_map[self._label_place]
            raw = decode_label_map(label_map, self.decoding)
        except (ValueError, LookupError, TypeError) as error:
            raise UnreadableRow(f"{self.where}The label map of row {index} cannot be read. {error}") from error
        present = np.unique(raw)
        # `present` is sorted, so each pixel's place in it finds its class in one pass over the map
        classes = np.array([self._class_of_id(int(label), index) for label in present], dtype=np.int64)
        return classes[np.searchsorted(present, raw)]

    def _class_of_id(self, label: int, index: int) -> int:
        """Returns the class of a raw id, or `IGNORED_LABEL`."""
        num_names = len(self.class_names)
        if label in (self.ignored_ids or ()):
            return IGNORED_LABEL
        class_id = label if self.id_map is None else self.id_map.get(label)
        if class_id is None and self.ignore_unmapped_ids:
            return IGNORED_LABEL
        if class_id is None or not 0 <= class_id < num_names:
            why = (
                f"there are {num_names} class names (ids 0 to {num_names - 1}); give all names,"
                if self.id_map is None
                else "the id map lacks it; give another with --id_map,"
            )
            raise UnreadableRow(
                f"{self.where}The label map of row {index} holds the id {label}, but {why} or list the id in "
                "--ignored_ids."
            )
        return class_id

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

        What is odd about them, classes that occur nowhere or more ignored pixels than others, is logged in one line.

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
        num_pixels = np.zeros(len(self.class_names) + 1, dtype=np.int64)
        for index in indices[process_index::num_processes]:
            # what is ignored, -1, is counted in the first place
            num_pixels += np.bincount(self.label_map(index).ravel() - IGNORED_LABEL, minlength=len(num_pixels))
        # of a part of the maps nobody can say that a class occurs nowhere
        whole = len(indices) == len(self) and num_processes == 1
        seen = num_pixels[1:] if whole else np.maximum(num_pixels[1:], 1)
        remark = describe_odd_annotation(self.class_names, seen.tolist(), int(num_pixels[0])) if indices else None
        if remark is not None and process_index == 0:
            logger.warning("%s%s.", self.where, remark)
        return len(indices)


def split_column(column: str) -> tuple[str, int | None]:
    """Splits "segmentations[0]" into the column and the place in its list; a plain column has no place."""
    match = re.fullmatch(r"(.+)\[(\d+)\]", column)
    return (match[1], int(match[2])) if match else (column, None)


def spread_evenly(num_chosen: int, num_rows: int) -> list[int]:
    """Returns the numbers of up to `num_chosen` rows of `num_rows`, in order and spread evenly from first to last."""
    places = np.linspace(0, num_rows - 1, max(0, min(num_chosen, num_rows)))
    return sorted({int(place) for place in places.round()})

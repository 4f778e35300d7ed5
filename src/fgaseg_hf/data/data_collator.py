# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Makes batches for training and evaluation: pictures, labels, and the prompts of the class names."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ..model.label_map_reading import IGNORED_ID, label_map_to_array, reduce_labels
from .class_prompts import encode_prompts, prompts_of_classes
from .label_decoding import read_ids, unlabelled_id


class FGASegDataCollator:
    """Turns samples into the model's inputs; for `Trainer`, for a `DataLoader`, for a loop of one's own.

    A sample is either a row of a data set, with a picture and a label map, which the processor then resizes and
    normalises; or it holds tensors already: `pixel_values` (3, H, W), `labels` (H, W) and, if the picture has classes
    of its own, `class_indices` (T,), ids of the class names that `labels` counts.

    A call returns `pixel_values` (B, 3, H, W) first, as `Trainer` reads the batch's size from the first entry; then
    `labels` (B, H, W), `input_ids` and `attention_mask` of the names in use, cut to the longest of them, and, for
    samples with classes of their own, `class_indices` (B, T), which are rows of these `input_ids`. With weights of the
    classes there are `class_weights`, (N,) or (B, T).

    Args:
        processor: an `FGASegProcessor`; encodes the class names once.
        class_names: names in id order.
        prompts: what to ask for, one text a class name and maybe some the same; the names themselves if None.
        ignored_ids: ids of the data set's label maps that mean "not annotated"; None: 255, or with more than 255 class
            names 65535.
        ignore_index: label that the model reads so; `semantic_loss_ignore_index` of its config.
        image_column: entry of a row that holds the picture.
        annotation_column: entry of a row that holds the label map.
        keep_label_maps: whether a batch of rows also has `label_maps`, a list of int64 (H_i, W_i) tensors at the
            pictures' own sizes, to measure predictions by.
        class_weights: what a pixel of each class counts in the losses, one number a class name; 1 if None.

    Raises:
        ValueError: the class names are empty, blank or repeated; or there is not one prompt, or weight, for each.
    """

    def __init__(
        self,
        processor: Any,
        class_names: Sequence[str],
        *,
        prompts: Sequence[str] | None = None,
        ignored_ids: Iterable[int] | None = None,
        ignore_index: int = 255,
        image_column: str = "image",
        annotation_column: str = "annotation",
        keep_label_maps: bool = False,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        self.processor = processor
        self.class_names = list(class_names)
        if ignored_ids is None:
            ignored_ids = (unlabelled_id(len(self.class_names)),)
        self.ignored_ids = tuple(read_ids(ignored_ids, "ignored_ids"))
        self.ignore_index = ignore_index
        self.image_column = image_column
        self.annotation_column = annotation_column
        self.keep_label_maps = keep_label_maps
        self.needs_annotations = True
        if class_weights is not None and len(class_weights) != len(self.class_names):
            raise ValueError(
                f"There are {len(class_weights)} class weights for {len(self.class_names)} class names; give each one."
            )
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        if prompts is None or list(prompts) == self.class_names:
            encoded = processor(text=self.class_names, return_tensors="pt")
        elif len(prompts) == len(self.class_names):
            encoded = encode_prompts(processor, prompts)
        else:
            raise ValueError(
                f"There are {len(prompts)} prompts for {len(self.class_names)} class names; give one a name."
            )
        self.input_ids: torch.Tensor = encoded["input_ids"]
        self.attention_mask: torch.Tensor = encoded["attention_mask"]

    @property
    def reduces_labels(self) -> bool:
        """Whether the image processor reads label maps as counting the classes from 1."""
        return bool(getattr(getattr(self.processor, "image_processor", None), "do_reduce_labels", False))

    def for_evaluation(self, annotated: bool = True) -> "FGASegDataCollator":
        """Returns the same collator, but with `keep_label_maps`; not `annotated`, it takes rows of pictures alone."""
        collator = copy.copy(self)
        collator.keep_label_maps, collator.needs_annotations = True, annotated
        return collator

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Makes a batch of samples; see the class.

        Raises:
            ValueError: a row lacks a column, its label map does not fit the picture, it holds an id that is neither
                a class nor ignored, or `ignore_index` is the index of a class.
        """
        if "pixel_values" not in samples[0]:
            return self._prepare_rows(samples) | self._all_classes()
        batch = {name: torch.stack([sample[name] for sample in samples]) for name in ("pixel_values", "labels")}
        if "class_indices" not in samples[0]:
            return batch | self._all_classes()
        class_ids = torch.stack([sample["class_indices"] for sample in samples])
        rows, class_indices = torch.unique(class_ids, return_inverse=True)
        batch |= prompts_of_classes(self.input_ids, self.attention_mask, rows)
        if self.class_weights is not None:
            batch["class_weights"] = self.class_weights[class_ids]
        return batch | {"class_indices": class_indices}

    def _all_classes(self) -> dict[str, torch.Tensor]:
        """Returns what the model is told of the classes where every picture has all of them."""
        classes = {"input_ids": self.input_ids, "attention_mask": self.attention_mask}
        return classes if self.class_weights is None else classes | {"class_weights": self.class_weights}

    def _prepare_rows(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if 0 <= self.ignore_index < len(self.class_names):
            raise ValueError(
                f"With {len(self.class_names)} class names the label {self.ignore_index} cannot mean 'ignored'; set "
                "`semantic_loss_ignore_index` in the model's config, and `ignore_index` here, to -100."
            )
        if not self.needs_annotations and self.annotation_column not in rows[0] and self.image_column in rows[0]:
            return dict(self.processor(images=[row[self.image_column] for row in rows], return_tensors="pt"))
        for column in (self.image_column, self.annotation_column):
            if column not in rows[0]:
                raise ValueError(
                    f"A row has no {column!r}, only {', '.join(rows[0])}; name the right columns with `image_column` "
                    "and `annotation_column`, and keep Trainer from dropping them by `remove_unused_columns=False`."
                )
        for number, row in enumerate(rows):
            for column in (self.image_column, self.annotation_column):
                if row[column] is None:
                    raise ValueError(
                        f"Sample {number} of a batch has nothing in its column {column!r}: leave such rows out of the "
                        "data set, as `--skip_unannotated` does."
                    )
        label_maps = [self._to_labels(row[self.annotation_column]) for row in rows]
        prepared = self.processor(
            images=[row[self.image_column] for row in rows],
            segmentation_maps=label_maps,
            return_tensors="pt",
            # The label maps above are reduced already.
            **({"do_reduce_labels": False} if self.reduces_labels else {}),
        )
        batch = {"pixel_values": prepared["pixel_values"], "labels": prepared["labels"]}
        if self.keep_label_maps:
            batch["label_maps"] = [torch.from_numpy(label_map) for label_map in label_maps]
        return batch

    def _to_labels(self, label_map: Any) -> np.ndarray:
        ids = label_map_to_array(label_map)
        if self.reduces_labels:
            ids = reduce_labels(ids)
        ignored = np.isin(ids, (*self.ignored_ids, IGNORED_ID) if self.reduces_labels else self.ignored_ids)
        is_wrong = ~ignored & ((ids < 0) | (ids >= len(self.class_names)))
        if is_wrong.any():
            raise ValueError(
                f"A label map holds the id {ids[is_wrong][0]}, but there are {len(self.class_names)} class names (ids "
                f"0 to {len(self.class_names) - 1}); give all names, or list the id in `ignored_ids`."
            )
        return np.where(ignored, self.ignore_index, ids)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Splits of a few tiny pictures, for tests of what reads and trains on them."""

import numpy as np
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from fgaseg_hf.data.segmentation_split import SegmentationSplit

NAMES = ["sky", "red car", "blue car", "red house", "tree", "water"]


def rows_of(label_maps: list[Image.Image], pictures: list[Image.Image] | None = None) -> Dataset:
    pictures = pictures or [Image.new("RGB", label_map.size, (9 * n, 0, 0)) for n, label_map in enumerate(label_maps)]
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    return Dataset.from_dict({"image": pictures, "annotation": label_maps}, features=features)


def split_of(label_maps: list[Image.Image], **fields: object) -> SegmentationSplit:
    return SegmentationSplit(rows=rows_of(label_maps), class_names=NAMES, **fields)  # type: ignore[arg-type]


def label_map(ids: list[list[int]], dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(ids, dtype=dtype))

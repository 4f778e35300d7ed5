# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pascal VOC 2012: 20 classes, with or without their background."""

from collections import Counter
from pathlib import Path

from .published_pictures import FoundSplits, PublishedPicture, find_file, find_folder, picture_reader


def find_pascal_voc(source: Path) -> FoundSplits:
    """`ImageSets/Segmentation/val.txt`, `JPEGImages` and `SegmentationClass` (or `...ClassAug`) of VOC 2012."""
    root = find_folder(source, [".", "VOC2012", "VOCdevkit/VOC2012"], holds="JPEGImages")
    names = find_file(root, ["ImageSets/Segmentation/val.txt"]).read_text(encoding="utf-8").split()
    maps = find_folder(root, ["SegmentationClass", "SegmentationClassAug"])
    pictures = [
        PublishedPicture(name, root / "JPEGImages" / f"{name}.jpg", picture_reader(maps / f"{name}.png", "voc_colours"))
        for name in sorted(names)
    ]
    yield "validation", (pictures, Counter())

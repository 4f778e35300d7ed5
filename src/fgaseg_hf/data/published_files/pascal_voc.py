# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pascal VOC 2012: 20 classes, with or without their background."""

from collections import Counter
from pathlib import Path

from ..text_files import read_text_file
from .published_pictures import FoundSplits, PublishedPicture, find_file, find_folder, picture_reader


def find_pascal_voc(source: Path) -> FoundSplits:
    """`ImageSets/Segmentation/val.txt`, `JPEGImages` and `SegmentationClass` (or `...ClassAug`) of VOC 2012."""
    root = find_folder(source, [".", "VOC2012", "VOCdevkit/VOC2012"], holds="JPEGImages")
    names = read_text_file(find_file(root, ["ImageSets/Segmentation/val.txt"]), "list of pictures").split()
    maps = find_folder(root, ["SegmentationClass", "SegmentationClassAug"])
    pictures = []
    for name in sorted(names):
        picture, labels = root / "JPEGImages" / f"{name}.jpg", maps / f"{name}.png"
        pictures.append(PublishedPicture(name, picture, labels, picture_reader(labels, "voc_colours")))
    yield "validation", (pictures, Counter())

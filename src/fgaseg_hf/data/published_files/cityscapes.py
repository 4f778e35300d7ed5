# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Cityscapes: the 500 finely annotated pictures of its validation cities."""

from collections import Counter
from pathlib import Path

from .published_pictures import FoundSplits, PublishedPicture, find_folder, picture_reader


def find_cityscapes(source: Path) -> FoundSplits:
    """`leftImg8bit/val/CITY/*_leftImg8bit.png` and `gtFine/val/CITY/*_gtFine_labelIds.png`."""
    folder, maps = find_folder(source, ["leftImg8bit/val"]), find_folder(source, ["gtFine/val"])
    pictures = []
    for path in sorted(folder.glob("*/*_leftImg8bit.png")):
        name = path.name.removesuffix("_leftImg8bit.png")
        labels = maps / path.parent.name / f"{name}_gtFine_labelIds.png"
        pictures.append(PublishedPicture(name, path, labels, picture_reader(labels)))
    yield "validation", (pictures, Counter())

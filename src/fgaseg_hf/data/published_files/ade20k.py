# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""ADE20K: the challenge's 150 classes, and the 847 of the full data set."""

from collections import Counter
from pathlib import Path

from .published_pictures import FoundSplits, PublishedPicture, find_folder, pair_files, picture_reader


def find_ade20k_150(source: Path) -> FoundSplits:
    """`images/validation/*.jpg` and `annotations/validation/*.png` of ADEChallengeData2016."""
    pictures = find_folder(source, ["images/validation", "ADEChallengeData2016/images/validation"])
    maps = find_folder(source, ["annotations/validation", "ADEChallengeData2016/annotations/validation"])
    yield "validation", (pair_files(pictures, maps), Counter())


def find_ade20k_847(source: Path) -> FoundSplits:
    """`**/ADE_val_00000001.jpg` and, beside it, `ADE_val_00000001_seg.png` of the full ADE20K, of either year."""
    stems = {path.with_suffix("") for path in source.rglob("ADE_val_*.jpg")}
    stems |= {path.with_name(path.name.removesuffix("_seg.png")) for path in source.rglob("ADE_val_*_seg.png")}
    if not stems:
        raise ValueError(
            f"There is no file ADE_val_*_seg.png in {source}: name the unpacked folder of the full ADE20K."
        )
    pictures = []
    for stem in sorted(stems, key=lambda stem: (stem.name, stem)):
        labels = stem.with_name(f"{stem.name}_seg.png")
        read_labels = picture_reader(labels, decoding="ade20k_code")
        pictures.append(PublishedPicture(stem.name, stem.with_name(f"{stem.name}.jpg"), labels, read_labels))
    yield "validation", (pictures, Counter())

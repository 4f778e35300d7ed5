# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""COCO-Stuff 164k: the pictures of COCO 2017 and its `stuffthingmaps`."""

from collections import Counter
from pathlib import Path

from .published_pictures import FoundSplits, find_folder, first_folder, pair_files


def find_coco_stuff(source: Path) -> FoundSplits:
    """`train2017/*.jpg` and `stuffthingmaps_trainval2017/train2017/*.png`, and the same of `val2017`."""
    parents = ("stuffthingmaps_trainval2017", "stuffthingmaps", "annotations")
    num_found = 0
    for split, folder in (("train", "train2017"), ("validation", "val2017")):
        maps = first_folder(source, [f"{parent}/{folder}" for parent in parents])
        if maps is not None:
            num_found += 1
            yield split, (pair_files(find_folder(source, [folder, f"images/{folder}"]), maps), Counter())
    if not num_found:
        find_folder(source, [f"{parent}/val2017" for parent in parents])

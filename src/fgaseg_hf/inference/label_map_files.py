# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Label maps as files: pictures of ids with a palette, and what the ids mean."""

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .output_marks import MARK, png_mark
from .visualization import bands_of, check_class_ids, class_palette, class_shares, label_ids


def label_map_picture(label_map: Any, num_classes: int) -> Image.Image:
    """Turns a label map into a picture of class ids.

    Args:
        label_map: Class ids of shape (height, width); negative ids, and 255 where there are fewer classes, mark pixels
            without a class.
        num_classes: How many classes there are, at most 65535.

    Returns:
        Up to 255 classes (256 if every pixel has a class) of mode `P` with the colours of `draw_overlay`, and 255 where
        there is no class; beyond of mode `I;16`, and 65535 where there is no class.

    Raises:
        ValueError: An id is no class, or there are too many classes.
    """
    ids = label_ids(label_map)
    check_class_ids(ids, num_classes)
    if num_classes > 65535:
        raise ValueError(f"There are {num_classes} class names: a label map of 16 bits holds up to 65535.")
    bands = bands_of(ids.shape)
    eight_bits = num_classes <= 255 or (
        num_classes == 256 and all(((ids[rows] >= 0) & (ids[rows] < num_classes)).all() for rows in bands)
    )
    stored = np.empty(ids.shape, np.uint8 if eight_bits else np.uint16)
    for rows in bands:
        unlabelled = (ids[rows] < 0) | (ids[rows] >= num_classes)
        stored[rows] = np.where(unlabelled, 255 if eight_bits else 65535, ids[rows])
    picture = Image.fromarray(stored)
    if eight_bits:
        colours = np.zeros((256, 3), dtype=np.uint8)
        colours[:num_classes] = class_palette(num_classes)
        picture.putpalette(colours.tobytes())
    return picture


def save_label_map(label_map: Any, class_names: Sequence[str], path: str | os.PathLike[str]) -> Path:
    """Saves a label map as a PNG file of class ids, and beside it a JSON file that says what the ids mean.

    Up to 255 classes (256 if every pixel has a class) the PNG has 8 bits and a palette, so that any viewer shows the
    colours of `draw_overlay`; beyond that it has 16 bits. Reading it back gives the ids.

    Args:
        label_map: Class ids of shape (height, width); negative ids, and 255 where there are fewer names, mark pixels
            without a class.
        class_names: One name an id, at most 65535.
        path: Where the PNG goes; the JSON gets the same name with the suffix `.json`.

    Returns:
        Path of the JSON file: `{"classes": [{"id", "name", "colour", "share"}, ...], "unlabelled_id": 255 or
            65535, "generator"}`.

    Raises:
        ValueError: `path` does not end in `.png`, an id has no name, or there are too many classes.
        OSError: The files cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"The label map would be saved as {path.name!r}: give a path that ends in .png.")
    ids, num_classes = label_ids(label_map), len(class_names)
    picture = label_map_picture(ids, num_classes)
    # Runs of equal ids are all that there is to pack: smaller than at Pillow's own setting, in a quarter of the time.
    picture.save(path, pnginfo=png_mark(), compress_level=1, compress_type=zlib.Z_RLE)
    unlabelled_id = 255 if picture.mode == "P" else 65535
    json_path = path.with_suffix(".json")
    # Half a character, which UTF-8 has no bytes for, becomes the escape that JSON has for it.
    meaning = label_meanings(class_names, class_shares(ids, num_classes), unlabelled_id)
    json_path.write_text(meaning, encoding="utf-8", errors="backslashreplace")
    return json_path


def label_meanings(class_names: Sequence[str], shares: Sequence[float] | np.ndarray, unlabelled_id: int) -> str:
    """What stands beside a saved label map: JSON that says what its ids mean, see [`save_label_map`].

    Args:
        class_names: One name an id.
        shares: Which part of the picture each covers.
        unlabelled_id: What pixels without a class have.
    """
    palette = class_palette(len(class_names))
    meaning = {
        "generator": MARK,
        "classes": [
            {"id": index, "name": name, "colour": palette[index].tolist(), "share": round(float(shares[index]), 6)}
            for index, name in enumerate(class_names)
        ],
        "unlabelled_id": unlabelled_id,
    }
    return json.dumps(meaning, indent=2, ensure_ascii=False) + "\n"


__all__ = ["label_map_picture", "label_meanings", "save_label_map"]

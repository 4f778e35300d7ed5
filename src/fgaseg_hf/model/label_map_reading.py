# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Label maps of every kind made arrays of class ids, and resized without mixing the ids."""

import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .picture_arrays import flatten_pictures, to_numpy
from .picture_reading import Source, open_picture

IGNORED_ID = 255
"""What [`reduce_labels`] writes where no class is known, as the image processors of Transformers do."""


def label_map_to_array(label_map: Source | np.ndarray | torch.Tensor) -> np.ndarray:
    """Reads the class ids of one label map, as they are stored.

    Args:
        label_map: A Pillow picture of one channel (8 bits, 16 bits, palette: the ids are the palette's indices), a path
            of one, or an array or tensor of shape (height, width), (1, height, width) or (height, width, 1).

    Returns:
        int64 array of shape (height, width).

    Raises:
        ValueError: The map has no pixels, several channels, or ids that are not whole numbers.
    """
    if isinstance(label_map, str | os.PathLike | Image.Image):
        label_map = open_picture(label_map)
        # Never `.convert`: it would turn palette indices into colours.
        ids = np.asarray(label_map)
        if label_map.mode == "PA":
            ids = ids[..., 0]
        if ids.ndim != 2:
            raise ValueError(
                f"It is a colour picture of mode {label_map.mode}: give class ids in one channel, or a palette picture."
            )
    else:
        ids = to_numpy(label_map)
        if ids.ndim == 3 and 1 in (ids.shape[0], ids.shape[2]):
            ids = ids[0] if ids.shape[0] == 1 else ids[..., 0]
        if ids.ndim != 2:
            raise ValueError(f"Its shape is {ids.shape}: give class ids of shape (height, width).")
    if ids.size == 0:
        raise ValueError(f"Its shape is {ids.shape}: give a map with at least one pixel a side.")
    if ids.dtype.kind == "f" and not (np.isfinite(ids).all() and (ids == np.rint(ids)).all()):
        raise ValueError("Some of its class ids are not whole numbers: give integers.")
    if ids.dtype.kind in "uf" and not (ids.min() >= -(2.0**53) and ids.max() <= 2.0**53):
        raise ValueError(f"Its class ids go from {ids.min()} to {ids.max()}: give ids up to 2**53.")
    return ids.astype(np.int64)


def flatten_label_maps(segmentation_maps: Any, num_pictures: int) -> list[Any]:
    """Lists the single label maps; a bare array of rank 3 is a batch when its length is the number of pictures."""
    if isinstance(segmentation_maps, (np.ndarray, torch.Tensor)) and segmentation_maps.ndim >= 3:
        return list(segmentation_maps) if len(segmentation_maps) == num_pictures else [segmentation_maps]
    if isinstance(segmentation_maps, (list, tuple)):
        return [label_map for entry in segmentation_maps for label_map in flatten_pictures(entry, 3)]
    return flatten_pictures(segmentation_maps, 3)


def resize_label_map(label_map: np.ndarray | torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resizes class ids without mixing them: each new pixel takes the id at its centre.

    Args:
        label_map: Ids of shape (height, width).
        size: New (height, width).

    Returns:
        int64 tensor of shape `size`.
    """
    ids = torch.as_tensor(label_map).long()
    rows, columns = (_centres(*lengths) for lengths in zip(ids.shape, size, strict=True))
    return ids[rows][:, columns]


def _centres(old_length: int, new_length: int) -> torch.Tensor:
    """Which old place lies at the centre of each new one."""
    places = torch.arange(old_length, dtype=torch.float64)[None, None]
    return F.interpolate(places, size=new_length, mode="nearest-exact")[0, 0].long()


def reduce_labels(ids: np.ndarray) -> np.ndarray:
    """Makes ids that count the classes from 1, with 0 for "no class", count them from 0.

    Args:
        ids: int64, of any shape; `IGNORED_ID` marks pixels without a class too.

    Returns:
        The ids less one, and `IGNORED_ID` where there is no class.

    Raises:
        ValueError: There are ids beyond `IGNORED_ID`, among which it is a class itself.
    """
    if ids.size and ids.max() > IGNORED_ID:
        raise ValueError(
            f"Its class ids go up to {ids.max()}, and `do_reduce_labels` marks pixels without a class by {IGNORED_ID}: "
            "subtract 1 by yourself, and mark them by an id that is no class."
        )
    return np.where((ids == 0) | (ids == IGNORED_ID), IGNORED_ID, ids - 1)

# Copyright 2026 The fgaseg_hf authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Label maps of every kind made arrays of class ids, and resized without mixing the ids."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .picture_arrays import Picture, flatten_pictures, to_numpy
from .picture_reading import open_picture


def label_map_to_array(label_map: Picture) -> np.ndarray:
    """Reads the class ids of one label map, as they are stored.

    Args:
        label_map: A Pillow picture of one channel (8 bits, 16 bits, palette: the ids are the palette's indices), or an
            array or tensor of shape (height, width), (1, height, width) or (height, width, 1).

    Returns:
        int64 array of shape (height, width).

    Raises:
        ValueError: The map has no pixels, several channels, or ids that are not whole numbers.
    """
    if isinstance(label_map, Image.Image):
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
    ids = torch.as_tensor(label_map)
    # float64 holds every id of up to 53 bits exactly; integer tensors cannot be interpolated.
    return F.interpolate(ids[None, None].double(), size=size, mode="nearest-exact")[0, 0].long()

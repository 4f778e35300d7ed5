# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Which size and filter a picture is resized with, by the settings of Transformers' image processors."""

from typing import Any

import numpy as np
from transformers.image_transforms import get_resize_output_image_size, get_size_with_aspect_ratio
from transformers.image_utils import (
    ChannelDimension,
    PILImageResampling,
    SizeDict,
    get_image_size_for_max_height_width,
)

from .quoting import quote


def resized_size(height: int, width: int, size: SizeDict) -> tuple[int, int]:
    """Which (height, width) a picture is resized to by a `size` in any of Transformers' forms.

    Raises:
        ValueError: It is in none of them.
    """
    if size.shortest_edge and size.longest_edge:
        return get_size_with_aspect_ratio((height, width), size.shortest_edge, size.longest_edge)
    if size.shortest_edge:
        like = np.broadcast_to(np.uint8(0), (3, height, width))
        return get_resize_output_image_size(
            like, size=size.shortest_edge, default_to_square=False, input_data_format=ChannelDimension.FIRST
        )
    if size.max_height and size.max_width:
        return get_image_size_for_max_height_width((height, width), size.max_height, size.max_width)
    if size.height and size.width:
        return size.height, size.width
    raise ValueError(
        f"`size` is {quote(dict(size))}: give a height and width, a shortest edge, or a largest height and width."
    )


def pillow_filter(resample: Any) -> PILImageResampling:
    """Pillow's filter by its number, or of the name of torchvision's; bilinear, if none is given."""
    if resample is None:
        return PILImageResampling.BILINEAR
    if isinstance(resample, int):
        return PILImageResampling(int(resample))
    # Torchvision's filters bear the names of Pillow's.
    return getattr(PILImageResampling, resample.name.removesuffix("_EXACT"))

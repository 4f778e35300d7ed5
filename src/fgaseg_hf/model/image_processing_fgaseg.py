# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures and label maps in, `pixel_values` and `labels` out; logits in, label maps at the pictures' own sizes out."""

import os
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_utils import (
    ChannelDimension,
)
from transformers.processing_utils import Unpack
from transformers.utils import is_torchvision_available, logging

from .image_processing_steps import FGASegImageProcessingMixin, FGASegImageProcessorKwargs
from .picture_arrays import picture_to_array, picture_to_rgb
from .picture_reading import open_picture
from .picture_resizing import pillow_filter, resized_size

logger = logging.get_logger(__name__)


class FGASegImageProcessorPil(FGASegImageProcessingMixin, PilBackend):
    """The image processor on Pillow and NumPy: what every door takes, whether torchvision is installed or not.

    Pictures are resized to 384 x 384 (bilinear), divided by 255 and normalised with CLIP's mean and standard deviation;
    every step is a setting, as in Transformers' own image processors.
    """

    resizes_alone = True

    def __init__(self, **kwargs: Unpack[FGASegImageProcessorKwargs]):
        super().__init__(**kwargs)

    def _prepare_picture(
        self,
        picture: Any,
        do_convert_rgb: bool,
        do_rescale: bool,
        input_data_format: str | ChannelDimension | None,
        device: "str | torch.device | None",
        **kwargs: Any,
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """Reads and resizes one picture; see the mixin."""
        do_resize, size, resample = kwargs.get("do_resize"), kwargs.get("size"), kwargs.get("resample")
        if isinstance(picture, str | os.PathLike | Image.Image):
            picture = open_picture(picture)
            picture = picture_to_rgb(picture) if do_convert_rgb else picture
            own_size = (picture.height, picture.width)
            if do_resize and size is not None and picture.mode == "RGB":
                # As it is: an array of a large picture would be made only to be turned back.
                height, width = resized_size(*own_size, size)
                picture = picture.resize((width, height), pillow_filter(resample))
                do_resize = False
            pixels = picture_to_array(picture, False)
        else:
            pixels = self.process_image(picture, do_convert_rgb, input_data_format, device, do_rescale)
            own_size = (pixels.shape[-2], pixels.shape[-1])
        return (self.resize(pixels, size, resample) if do_resize else pixels), own_size

    def resize(
        self, image: np.ndarray, size: Any, resample: Any = None, reducing_gap: int | None = None, **kwargs: Any
    ) -> np.ndarray:
        """Resizes a picture (channels, height, width), floating-point ones without rounding them to 8 bits."""
        if image.dtype.kind != "f":
            return super().resize(image, size, resample, reducing_gap, **kwargs)
        # Pillow resizes floating-point values one channel at a time.
        height, width = resized_size(image.shape[-2], image.shape[-1], size)
        channels = [
            np.asarray(Image.fromarray(channel.astype(np.float32)).resize((width, height), pillow_filter(resample)))
            for channel in image
        ]
        return np.stack(channels)


class FGASegImageProcessor(FGASegImageProcessingMixin, TorchvisionBackend):
    """The image processor on torchvision, which works on whole batches and on a GPU, for who asks for it by its name.

    Same settings and same results (but for the rounding of the resizing) as `FGASegImageProcessorPil`, which this class
    gives instead of itself where torchvision is not installed, as Transformers does for its own.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Makes the Pillow twin on machines without torchvision."""
        if cls is FGASegImageProcessor and not is_torchvision_available():
            logger.warning_once("torchvision is not installed: using FGASegImageProcessorPil.")
            return FGASegImageProcessorPil(*args, **kwargs)
        return super().__new__(cls)

    def __init__(self, **kwargs: Unpack[FGASegImageProcessorKwargs]):
        super().__init__(**kwargs)

    def process_image(
        self,
        image: Any,
        do_convert_rgb: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        device: "str | torch.device | None" = None,
        do_rescale: bool | None = True,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Turns one picture into a tensor of shape (channels, height, width) on `device`."""
        if (
            isinstance(image, torch.Tensor)
            and image.dtype == torch.uint8
            and image.ndim == 3
            and image.shape[0] == 3
            and image.numel() > 0
            and input_data_format in (None, ChannelDimension.FIRST)
        ):
            # Nothing to convert: it stays on its device.
            return image if device is None else image.to(device)
        array = picture_to_array(image, bool(do_convert_rgb), input_data_format, values_are_fractions=not do_rescale)
        # A copy: arrays made from Pillow pictures are read-only.
        tensor = torch.from_numpy(np.array(array, order="C"))
        return tensor if device is None else tensor.to(device)


__all__ = ["FGASegImageProcessor", "FGASegImageProcessorPil"]

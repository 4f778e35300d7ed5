# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures and label maps in, `pixel_values` and `labels` out; logits in, label maps at the pictures' own sizes out."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, TensorType
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_processing_outputs import SemanticSegmentationPostProcessorOutput
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import (
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
    ChannelDimension,
    ImageInput,
    PILImageResampling,
)
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import is_torchvision_available, logging

from .label_map_reading import flatten_label_maps, label_map_to_array, resize_label_map
from .picture_arrays import flatten_pictures, picture_to_array
from .picture_reading import open_picture
from .semantic_postprocessing import label_maps_from_logits

logger = logging.get_logger(__name__)


class FGASegImageProcessingMixin(BaseImageProcessor):
    """What the two backends of the image processor share: reading, label maps and post-processing."""

    resample = PILImageResampling.BILINEAR
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size = {"height": 384, "width": 384}
    default_to_square = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True

    def __call__(  # type: ignore[override]
        self, images: ImageInput, segmentation_maps: ImageInput | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepares pictures and label maps: see [`preprocess`]."""
        return self.preprocess(images, segmentation_maps, **kwargs)

    def preprocess(
        self, images: ImageInput, segmentation_maps: ImageInput | None = None, **kwargs: Unpack[ImagesKwargs]
    ) -> BatchFeature:
        """Prepares pictures, and label maps where they are known.

        Args:
            images: One picture or several (a list, or an array of rank 4), each a path, a Pillow picture of any mode,
                or an array or tensor of 1, 3 or 4 channels, first or last. 16-bit pictures are scaled to 8 bits,
                transparent ones laid on white, EXIF orientation is applied. Floating-point values between 0 and 1 need
                `do_rescale=False`.
            segmentation_maps: As many label maps as pictures, each of its picture's size: Pillow pictures of one
                channel (8 or 16 bits, palette), paths of such, or integer arrays of shape (height, width).
            **kwargs: `do_resize`, `size`, `resample`, `do_rescale`, `do_normalize`, `image_mean`, `image_std`,
                `do_convert_rgb`, `return_tensors`, ... for this call alone.

        Returns:
            `pixel_values` of shape (batch, 3, height, width), float32, and with `segmentation_maps` also `labels` of
            shape (batch, height, width), int64.

        Raises:
            ValueError: A picture or label map is unreadable, has no pixels or no fitting shape; or the label maps do
                not fit the pictures.
        """
        return super().preprocess(images, segmentation_maps, **kwargs)

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Opens paths and addresses in any nesting of lists, keeping each picture's mode; the rest passes through."""
        if isinstance(image_url_or_urls, (list, tuple)):
            return [self.fetch_images(entry) for entry in image_url_or_urls]
        if isinstance(image_url_or_urls, (str, os.PathLike)):
            return open_picture(image_url_or_urls)
        return image_url_or_urls

    def process_image(
        self,
        image: Any,
        do_convert_rgb: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        device: "str | torch.device | None" = None,
        do_rescale: bool | None = True,
        **kwargs: Any,
    ) -> Any:
        """Turns one picture into a NumPy array of shape (channels, height, width)."""
        return picture_to_array(image, bool(do_convert_rgb), input_data_format, values_are_fractions=not do_rescale)

    def _preprocess_image_like_inputs(  # type: ignore[override]
        self,
        images: ImageInput,
        segmentation_maps: ImageInput | None = None,
        *,
        do_convert_rgb: bool | None = None,
        do_rescale: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        device: "str | torch.device | None" = None,
        return_tensors: str | TensorType | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        pictures = []
        for number, picture in enumerate(flatten_pictures(images, 3), start=1):
            try:
                pictures.append(
                    self.process_image(
                        picture,
                        do_convert_rgb=do_convert_rgb,
                        input_data_format=input_data_format,
                        do_rescale=do_rescale,
                        device=device,
                    )
                )
            except ValueError as error:
                raise ValueError(f"Picture {number} cannot be used. {error}") from error
        if not pictures:
            raise ValueError("`images` is empty: give at least one picture.")
        processed = self._preprocess(pictures, do_rescale=do_rescale, return_tensors=None, **kwargs)["pixel_values"]
        data = {"pixel_values": processed}

        if segmentation_maps is not None:
            if kwargs.get("do_center_crop") or kwargs.get("do_pad"):
                raise ValueError(
                    "`do_center_crop` and `do_pad` do not reach label maps: crop or pad pictures and maps beforehand."
                )
            labels = self._prepare_labels(segmentation_maps, pictures, processed)
            data["labels"] = [
                labels_of_picture.to(picture.device) if isinstance(picture, torch.Tensor) else labels_of_picture.numpy()
                for labels_of_picture, picture in zip(labels, processed, strict=True)
            ]
        return BatchFeature(data=data, tensor_type=return_tensors)

    def _prepare_labels(
        self, segmentation_maps: ImageInput, pictures: Sequence[Any], processed: Sequence[Any]
    ) -> list[torch.Tensor]:
        """Reads the label maps and resizes each to the (height, width) that its picture ended up with."""
        label_maps = flatten_label_maps(segmentation_maps, len(pictures))
        if len(label_maps) != len(pictures):
            raise ValueError(
                f"There are {len(label_maps)} segmentation maps for {len(pictures)} pictures: give one each, of one "
                "channel."
            )
        labels = []
        for number, (label_map, before, after) in enumerate(zip(label_maps, pictures, processed, strict=True), start=1):
            try:
                ids = label_map_to_array(label_map)
            except ValueError as error:
                raise ValueError(f"Segmentation map {number} cannot be used. {error}") from error
            if ids.shape != tuple(before.shape[-2:]):
                raise ValueError(
                    f"Segmentation map {number} is {ids.shape[0]} x {ids.shape[1]} but its picture "
                    f"{before.shape[-2]} x {before.shape[-1]} (height x width): give maps of the pictures' sizes, EXIF "
                    "orientation applied."
                )
            labels.append(resize_label_map(ids, tuple(after.shape[-2:])))
        return labels

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[tuple[int, int]] | torch.Tensor | None = None,
        return_segmentation_scores: bool = False,
        threshold: float | None = None,
        class_chunk_size: int | None = None,
    ) -> list[torch.Tensor] | list[SemanticSegmentationPostProcessorOutput]:
        """Turns logits into one label map a picture, at the picture's own size, in bounded memory.

        The result is that of resizing all logits bilinearly and taking each pixel's best class, but for the last digit
        of logits that are level; classes that cannot win in a place are not resized there, see [`find_best_classes`].

        Args:
            outputs: What the model returned, or its logits of shape (batch, classes, height, width).
            target_sizes: (height, width) of each picture, as it stands upright; `None` keeps the logits' size.
            return_segmentation_scores: Whether to return the resized logits too: all classes at full size, so memory is
                no longer bounded.
            threshold: Pixels whose best class has a probability (sigmoid of the logit) below this get `UNLABELLED_ID`
                (-1) instead of a class.
            class_chunk_size: How many classes to resize at once where scores are not returned; by default as many as
                fit into 64 MiB.

        Returns:
            A list of int64 tensors of shape (height, width) holding class indices; or, with
            `return_segmentation_scores`, of outputs with such a `segmentation` and `segmentation_scores` of shape
            (classes, height, width).

        Raises:
            ValueError: `outputs` holds no logits, a logit is not a number, the number of target sizes is not the batch
                size, or a size, the threshold or the chunk size is out of range.
        """
        return label_maps_from_logits(outputs, target_sizes, return_segmentation_scores, threshold, class_chunk_size)

    def to_dict(self) -> dict[str, Any]:
        """Serialises the settings; code shared through the Hub names both backends, so each machine takes its best."""
        settings = super().to_dict()
        auto_map = settings.get("auto_map")
        if auto_map and "AutoImageProcessor" in auto_map:
            reference = auto_map["AutoImageProcessor"]
            reference = reference if isinstance(reference, str) else next(entry for entry in reference if entry)
            module = reference.rsplit(".", 1)[0]
            both = [f"{module}.FGASegImageProcessorPil", f"{module}.FGASegImageProcessor"]
            settings["auto_map"] = {**auto_map, "AutoImageProcessor": both}
        return settings


class FGASegImageProcessorPil(FGASegImageProcessingMixin, PilBackend):
    """The image processor on Pillow and NumPy: needs no torchvision.

    Pictures are resized to 384 x 384 (bilinear), divided by 255 and normalised with CLIP's mean and standard deviation;
    every step is a setting, as in Transformers' own image processors.
    """

    def __init__(self, **kwargs: Unpack[ImagesKwargs]):
        super().__init__(**kwargs)

    def resize(
        self, image: np.ndarray, size: Any, resample: Any = None, reducing_gap: int | None = None, **kwargs: Any
    ) -> np.ndarray:
        """Resizes a picture (channels, height, width), floating-point ones without rounding them to 8 bits."""
        if image.dtype.kind != "f":
            return super().resize(image, size, resample, reducing_gap, **kwargs)
        # Pillow resizes floating-point values one channel at a time; the new size is the stock method's decision.
        height, width = super().resize(np.zeros(image.shape, np.uint8), size, PILImageResampling.NEAREST).shape[-2:]
        resample = PILImageResampling.BILINEAR if resample is None else resample
        channels = [
            np.asarray(Image.fromarray(channel.astype(np.float32)).resize((width, height), resample=resample))
            for channel in image
        ]
        return np.stack(channels)


class FGASegImageProcessor(FGASegImageProcessingMixin, TorchvisionBackend):
    """The image processor on torchvision, which works on whole batches and on a GPU.

    Same settings and same results (but for the rounding of the resizing) as `FGASegImageProcessorPil`, which this class
    gives instead of itself where torchvision is not installed, as Transformers does for its own.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Makes the Pillow twin on machines without torchvision."""
        if cls is FGASegImageProcessor and not is_torchvision_available():
            logger.warning_once("torchvision is not installed: using FGASegImageProcessorPil.")
            return FGASegImageProcessorPil(*args, **kwargs)
        return super().__new__(cls)

    def __init__(self, **kwargs: Unpack[ImagesKwargs]):
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

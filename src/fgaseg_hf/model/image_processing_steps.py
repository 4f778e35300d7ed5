# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What both backends of the image processor share: reading, label maps, post-processing and what is saved."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import BatchFeature, TensorType
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
from transformers.utils import logging

from .label_map_reading import flatten_label_maps, label_map_to_array, reduce_labels, resize_label_map
from .picture_arrays import flatten_pictures, picture_to_array
from .picture_reading import open_picture
from .quoting import reason_of
from .semantic_postprocessing import label_maps_from_logits

logger = logging.get_logger(__name__)

# What a saved processor's file holds beside its settings.
KEYS_OF_FILES = ("auto_map", "feature_extractor_type", "image_processor_type", "processor_class")


# What `from_pretrained` hands on beside settings.
KEYWORDS_OF_LOADING = (
    *("adapter_kwargs", "backend", "code_revision", "config", "return_unused_kwargs", "torch_dtype", "dtype"),
    *("trust_remote_code", "use_auth_token", "use_fast", "user_agent", "repo_type"),
)
# Settings of Transformers' other processors for semantic segmentation, and what stands for each here.
SETTINGS_OF_OTHERS = {
    "do_flip_channel_order": "give pictures in RGB",
    "ensure_multiple_of": "give `size`, in multiples of the patch size",
    "ignore_index": "set `config.semantic_loss_ignore_index` of the model",
    "keep_aspect_ratio": "give `size` as a shortest edge",
    "reduce_labels": "its name is `do_reduce_labels` now",
    "size_divisor": "give `size`, in multiples of the patch size",
}


class FGASegImageProcessorKwargs(ImagesKwargs, total=False):
    """Settings of the image processor.

    Attributes:
        do_reduce_labels: Whether label maps count their classes from 1, with 0 where there is none: ids become one
            less, and 0 becomes 255.
    """

    do_reduce_labels: bool


class FGASegImageProcessingMixin(BaseImageProcessor):
    """What the two backends of the image processor share: reading, label maps and post-processing."""

    valid_kwargs = FGASegImageProcessorKwargs
    resample = PILImageResampling.BILINEAR
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size = {"height": 384, "width": 384}
    default_to_square = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    do_reduce_labels = False
    # Whether pictures are resized one by one while they are read, so that of many large ones one is in memory.
    resizes_alone = False

    def __init__(self, **kwargs: Unpack[FGASegImageProcessorKwargs]):
        self._check_settings(kwargs)
        super().__init__(**kwargs)  # type: ignore[misc]

    @classmethod
    def _check_settings(cls, settings: Mapping[str, Any], known_besides: Sequence[str] = KEYS_OF_FILES) -> None:
        """Refuses settings of other processors by name, and warns of those that nobody knows.

        Raises:
            ValueError: One is a setting of Transformers' other processors for semantic segmentation.
        """
        known = {*cls.valid_kwargs.__annotations__, *ImagesKwargs.__annotations__, *known_besides}
        unknown = [name for name in settings if name not in known and not name.startswith("_")]
        for name in unknown:
            if settings[name] is not None and name in SETTINGS_OF_OTHERS:
                raise ValueError(f"{cls.__name__} has no setting `{name}`: {SETTINGS_OF_OTHERS[name]}.")
        if unknown:
            logger.warning(f"`{unknown[0]}` is no setting of {cls.__name__}: it changes nothing.")

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in Transformers; settings given by keyword are checked as those of the constructor are."""
        cls._check_settings(kwargs, KEYWORDS_OF_LOADING)
        return super().from_dict(image_processor_dict, **kwargs)

    def __call__(  # type: ignore[override]
        self, images: ImageInput, segmentation_maps: ImageInput | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepares pictures and label maps: see [`preprocess`]."""
        return self.preprocess(images, segmentation_maps, **kwargs)

    def preprocess(
        self,
        images: ImageInput,
        segmentation_maps: ImageInput | None = None,
        **kwargs: Unpack[FGASegImageProcessorKwargs],
    ) -> BatchFeature:
        """Prepares pictures, and label maps where they are known.

        Args:
            images: One picture or several (a list, or an array of rank 4), each a path, a Pillow picture of any mode,
                or an array or tensor of 1, 3 or 4 channels, first or last. 16-bit pictures are scaled to 8 bits,
                transparent ones laid on white, EXIF orientation is applied. Floating-point values between 0 and 1 need
                `do_rescale=False`. See [`open_picture`], [`picture_to_rgb`] and [`picture_to_array`].
            segmentation_maps: As many label maps as pictures, each of its picture's size: Pillow pictures of one
                channel (8 or 16 bits, palette), paths of such, or integer arrays of shape (height, width).
            **kwargs: `do_resize`, `size`, `resample`, `do_rescale`, `do_normalize`, `image_mean`, `image_std`,
                `do_convert_rgb`, `do_reduce_labels`, `return_tensors`, ... for this call alone.

        Returns:
            `pixel_values` of shape (batch, 3, height, width), float32, and with `segmentation_maps` also `labels` of
            shape (batch, height, width), int64.

        Raises:
            ValueError: A picture or label map is unreadable, has no pixels or no fitting shape; the label maps do not
                fit the pictures; or a setting is not of its type.
        """
        try:
            return super().preprocess(images, segmentation_maps, **kwargs)
        except StrictDataclassError as error:
            raise ValueError(f"A setting of the image processor is not of its type: {reason_of(error)}.") from error

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
        do_reduce_labels: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        device: "str | torch.device | None" = None,
        return_tensors: str | TensorType | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        pictures, sizes = [], []
        for number, picture in enumerate(flatten_pictures(images, 3), start=1):
            try:
                pixels, size = self._prepare_picture(
                    picture, bool(do_convert_rgb), bool(do_rescale), input_data_format, device, **kwargs
                )
            except ValueError as error:
                raise ValueError(f"Picture {number} cannot be used. {error}") from error
            num_means = np.size(kwargs["image_mean"])
            if kwargs.get("do_normalize") and num_means not in (1, pixels.shape[0]):
                raise ValueError(
                    f"Picture {number} has {pixels.shape[0]} channels and `image_mean` {num_means}: pass "
                    "`do_convert_rgb=True`, or a mean and a standard deviation a channel."
                )
            pictures.append(pixels)
            sizes.append(size)
        if not pictures:
            raise ValueError("`images` is empty: give at least one picture.")
        if self.resizes_alone:
            kwargs["do_resize"] = False
        processed = self._preprocess(pictures, do_rescale=do_rescale, return_tensors=None, **kwargs)["pixel_values"]
        if return_tensors is not None and len({tuple(picture.shape) for picture in processed}) > 1:
            raise ValueError(
                f"The pictures come out in different sizes, {tuple(processed[0].shape)} and others, and make no batch: "
                "set `size` to a height and width, or leave `return_tensors` out."
            )
        data = {"pixel_values": processed}

        if segmentation_maps is not None:
            if kwargs.get("do_center_crop") or kwargs.get("do_pad"):
                raise ValueError(
                    "`do_center_crop` and `do_pad` do not reach label maps: crop or pad pictures and maps beforehand."
                )
            labels = self._prepare_labels(segmentation_maps, sizes, processed, bool(do_reduce_labels))
            data["labels"] = [
                labels_of_picture.to(picture.device) if isinstance(picture, torch.Tensor) else labels_of_picture.numpy()
                for labels_of_picture, picture in zip(labels, processed, strict=True)
            ]
        return BatchFeature(data=data, tensor_type=return_tensors)

    def _prepare_picture(
        self,
        picture: Any,
        do_convert_rgb: bool,
        do_rescale: bool,
        input_data_format: str | ChannelDimension | None,
        device: "str | torch.device | None",
        **kwargs: Any,
    ) -> tuple[Any, tuple[int, int]]:
        """Reads one picture.

        Returns:
            What [`process_image`] makes of it, resized already where the backend does so one by one; and the upright
            picture's own (height, width).
        """
        pixels = self.process_image(picture, do_convert_rgb, input_data_format, device, do_rescale)
        return pixels, (pixels.shape[-2], pixels.shape[-1])

    def _prepare_labels(
        self,
        segmentation_maps: ImageInput,
        sizes: Sequence[tuple[int, int]],
        processed: Sequence[Any],
        do_reduce_labels: bool,
    ) -> list[torch.Tensor]:
        """Reads the label maps and resizes each to the (height, width) that its picture ended up with."""
        label_maps = flatten_label_maps(segmentation_maps, len(sizes))
        if len(label_maps) != len(sizes):
            raise ValueError(
                f"There are {len(label_maps)} segmentation maps for {len(sizes)} pictures: give one each, of one "
                "channel."
            )
        labels = []
        for number, (label_map, size, after) in enumerate(zip(label_maps, sizes, processed, strict=True), start=1):
            try:
                ids = label_map_to_array(label_map)
                ids = reduce_labels(ids) if do_reduce_labels else ids
            except ValueError as error:
                raise ValueError(f"Segmentation map {number} cannot be used. {error}") from error
            if ids.shape != size:
                raise ValueError(
                    f"Segmentation map {number} is {ids.shape[0]} x {ids.shape[1]} but its picture "
                    f"{size[0]} x {size[1]} (height x width): give maps of the pictures' sizes, EXIF "
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
        dtype: torch.dtype = torch.int64,
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
            dtype: Of the label maps; a narrow one saves memory where pictures are large.

        Returns:
            A list of tensors of shape (height, width) holding class indices; or, with
            `return_segmentation_scores`, of outputs with such a `segmentation` and `segmentation_scores` of shape
            (classes, height, width).

        Raises:
            ValueError: `outputs` holds no logits, a logit is not a number, the number of target sizes is not the batch
                size, or a size, the threshold or the chunk size is out of range.
        """
        return label_maps_from_logits(
            outputs, target_sizes, return_segmentation_scores, threshold, class_chunk_size, dtype
        )

    def to_dict(self) -> dict[str, Any]:
        """Serialises the settings; code shared through the Hub names the Pillow backend, the same on every machine."""
        settings = super().to_dict()
        auto_map = settings.get("auto_map")
        if auto_map and "AutoImageProcessor" in auto_map:
            reference = auto_map["AutoImageProcessor"]
            reference = reference if isinstance(reference, str) else next(entry for entry in reference if entry)
            module = reference.rsplit(".", 1)[0]
            settings["auto_map"] = {**auto_map, "AutoImageProcessor": [f"{module}.FGASegImageProcessorPil", None]}
        return settings

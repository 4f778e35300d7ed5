# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures and label maps in, `pixel_values` and `labels` out; logits in, label maps at the pictures' own sizes out."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageOps
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
    infer_channel_dimension_format,
    load_image,
)
from transformers.processing_utils import ImagesKwargs, Unpack
from transformers.utils import is_torchvision_available, logging

from .label_maps import check_are_numbers, find_best_classes

logger = logging.get_logger(__name__)

UNLABELLED_ID = -1
"""What `post_process_semantic_segmentation` writes where no class reaches `threshold`."""

SIXTEEN_BIT_MAXIMUM = 2**16 - 1

Picture = Image.Image | np.ndarray | torch.Tensor


def open_picture(source: str | os.PathLike[str] | Image.Image) -> Image.Image:
    """Opens, decodes and turns a picture upright, keeping its mode.

    Args:
        source: A path, an `http(s)://` address, or a picture that Pillow has already opened.

    Returns:
        The first frame of the picture, decoded, with its EXIF orientation applied.

    Raises:
        ValueError: The picture does not exist, cannot be decoded, or has no pixels.
    """
    name = "the picture" if isinstance(source, Image.Image) else f"the picture {os.fspath(source)!r}"
    try:
        if isinstance(source, Image.Image):
            picture = source
        elif str(source).startswith(("http://", "https://")):
            picture = load_image(str(source))
        else:
            with Image.open(source) as file:
                # Decoded here, inside `with`, so that a broken file is found now and its handle is closed.
                file.load()
                picture = file.copy() if file.size[0] and file.size[1] else file
        if 0 in picture.size:
            raise ValueError(f"its size is {picture.width} x {picture.height}")
        return ImageOps.exif_transpose(picture)
    # Pillow reports broken PNG files as SyntaxError, and pictures of an absurd size by an exception of its own.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = str(error).rstrip(".")
        raise ValueError(f"Cannot read {name} ({reason}): give a picture that Pillow opens.") from error


def picture_to_rgb(picture: Image.Image) -> Image.Image:
    """Converts a Pillow picture of any mode to 8-bit RGB.

    Transparent pictures are laid on white. 16-bit pictures are scaled to 8 bits, as are those of the modes `I` and `F`
    when their values go beyond 255 (`F` with values in [0, 1] is taken as a fraction of white).

    Args:
        picture: A picture of any mode and of any size but zero.

    Returns:
        A picture of mode `RGB` and of the same size.

    Raises:
        ValueError: The picture has no pixels, or numbers that no 8- or 16-bit picture has.
    """
    if 0 in picture.size:
        raise ValueError(f"The picture is {picture.width} x {picture.height}: give one with at least one pixel a side.")
    mode = picture.mode
    if mode.startswith("I;16") or mode in ("I", "F"):
        grey = _to_eight_bits(np.asarray(picture), fractions_allowed=True)
        return Image.fromarray(grey).convert("RGB")
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        if mode in ("La", "RGBa"):
            # Premultiplied modes convert to their plain twin only.
            picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[mode])
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if mode == "LAB":
        lab_to_rgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), inMode="LAB", outMode="RGB"
        )
        converted = ImageCms.applyTransform(picture, lab_to_rgb)
        assert converted is not None  # only the in-place form returns None
        return converted
    return picture.convert("RGB")


def _to_eight_bits(values: np.ndarray, fractions_allowed: bool = False) -> np.ndarray:
    """Scales grey or colour values of any shape to uint8.

    The type decides for uint16: its whole range is used. Wider integers and floats carry 16-bit values when any of them
    is above 255.

    Raises:
        ValueError: A value is not finite, negative or above 65535.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    lowest, highest = values.min(), values.max()
    if not (lowest >= 0 and highest <= SIXTEEN_BIT_MAXIMUM):
        raise ValueError(
            f"Its values go from {lowest} to {highest}: give values from 0 to 255, or from 0 to 65535 for 16 bits."
        )
    if values.dtype == np.uint16 or values.dtype.newbyteorder("=") == np.uint16 or highest > 255:
        scaled = values.astype(np.float64) * (255 / SIXTEEN_BIT_MAXIMUM)
    elif fractions_allowed and values.dtype.kind == "f" and highest <= 1:
        scaled = values.astype(np.float64) * 255
    else:
        scaled = values
    return np.rint(scaled).astype(np.uint8)


def _to_numpy(array: np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        # NumPy has no bfloat16; half precision would lose bits in the resizing that follows.
        array = array.float() if array.is_floating_point() else array
        return array.numpy()
    return array.astype(np.float32) if array.dtype == np.float16 else array


def picture_to_array(
    picture: Picture,
    do_convert_rgb: bool = True,
    input_data_format: str | ChannelDimension | None = None,
    values_are_fractions: bool = False,
) -> np.ndarray:
    """Turns one picture of any kind into an array with its channels first.

    Args:
        picture: A Pillow picture of any mode, or an array or tensor of shape (height, width), (channels, height, width)
            or (height, width, channels) with 1, 3 or 4 channels.
        do_convert_rgb: Whether to make three channels of 8 bits out of it: grey is repeated, transparency is laid on
            white. Floating-point arrays stay floating-point.
        input_data_format: `"channels_first"` or `"channels_last"`, where the shape alone is ambiguous.
        values_are_fractions: Whether floating-point arrays hold values that are not to be divided by 255 any more
            (`do_rescale=False`).

    Returns:
        Array of shape (channels, height, width), uint8, or float32/float64 for floating-point arrays.

    Raises:
        ValueError: The picture has no pixels, an impossible shape, or values out of range.
    """
    if isinstance(picture, Image.Image):
        picture = open_picture(picture)
        if do_convert_rgb:
            picture = picture_to_rgb(picture)
        pixels = np.asarray(picture)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    array = _to_numpy(picture)
    if array.size == 0:
        raise ValueError(f"Its shape is {array.shape}: give a picture with at least one pixel a side.")
    if array.ndim == 2:
        array = array[None]
    else:
        try:
            layout = input_data_format or infer_channel_dimension_format(array, num_channels=(1, 3, 4))
        except ValueError as error:
            raise ValueError(
                f"Its shape is {array.shape}: give (height, width), or 1, 3 or 4 channels first or last."
            ) from error
        if ChannelDimension(layout) == ChannelDimension.LAST:
            array = array.transpose(2, 0, 1)
    if not do_convert_rgb:
        return array

    if array.dtype.kind == "f":
        lowest, highest = array.min(), array.max()
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise ValueError("Some of its values are not finite: give numbers.")
        if not values_are_fractions and 0 < highest <= 1 and lowest >= 0:
            raise ValueError(
                "Its values lie between 0 and 1 and would be divided by 255 once more: pass do_rescale=False, or "
                "values from 0 to 255."
            )
        white = 1.0 if values_are_fractions else 255.0
    else:
        array = _to_eight_bits(array)
        white = 255.0
    if array.shape[0] == 1:
        return np.repeat(array, 3, axis=0)
    if array.shape[0] == 4:
        opacity = array[3:] / white
        on_white = array[:3] * opacity + white * (1 - opacity)
        return np.rint(on_white).astype(np.uint8) if array.dtype == np.uint8 else on_white.astype(array.dtype)
    return array


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
        ids = _to_numpy(label_map)
        if ids.ndim == 3 and 1 in (ids.shape[0], ids.shape[2]):
            ids = ids[0] if ids.shape[0] == 1 else ids[..., 0]
        if ids.ndim != 2:
            raise ValueError(f"Its shape is {ids.shape}: give class ids of shape (height, width).")
    if ids.size == 0:
        raise ValueError(f"Its shape is {ids.shape}: give a map with at least one pixel a side.")
    if ids.dtype.kind == "f" and not (np.isfinite(ids).all() and (ids == np.rint(ids)).all()):
        raise ValueError("Some of its class ids are not whole numbers: give integers.")
    return ids.astype(np.int64)


def _flatten_pictures(images: Any, num_dimensions: int) -> list[Any]:
    """Lists the single pictures in any nesting of lists and batches; `num_dimensions` is the rank of one picture."""
    if isinstance(images, (list, tuple)):
        return [picture for entry in images for picture in _flatten_pictures(entry, num_dimensions)]
    if isinstance(images, (np.ndarray, torch.Tensor)):
        return list(images) if images.ndim == num_dimensions + 1 else [images]
    if isinstance(images, (str, os.PathLike)):
        return [open_picture(images)]
    if isinstance(images, Image.Image):
        return [images]
    raise ValueError(
        f"Cannot read a picture from a {type(images).__name__}: give a path, a Pillow picture or an array."
    )


def _flatten_label_maps(segmentation_maps: Any, num_pictures: int) -> list[Any]:
    """Lists the single label maps; a bare array of rank 3 is a batch when its length is the number of pictures."""
    if isinstance(segmentation_maps, (np.ndarray, torch.Tensor)) and segmentation_maps.ndim >= 3:
        return list(segmentation_maps) if len(segmentation_maps) == num_pictures else [segmentation_maps]
    if isinstance(segmentation_maps, (list, tuple)):
        return [label_map for entry in segmentation_maps for label_map in _flatten_pictures(entry, 3)]
    return _flatten_pictures(segmentation_maps, 3)


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
        for number, picture in enumerate(_flatten_pictures(images, 3), start=1):
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
        label_maps = _flatten_label_maps(segmentation_maps, len(pictures))
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
        logits = outputs if isinstance(outputs, torch.Tensor) else _logits_of(outputs)
        if logits.ndim != 4 or logits.shape[1] == 0:
            raise ValueError(
                f"The logits have shape {tuple(logits.shape)}: give (batch, classes, height, width), with at least one "
                "class."
            )
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"`threshold` is {threshold}: give a probability from 0 to 1, or None.")
        if class_chunk_size is not None and class_chunk_size < 1:
            raise ValueError(f"`class_chunk_size` is {class_chunk_size}: give 1 or more, or None.")

        results: list[Any] = []
        for picture_logits, size in zip(logits.detach(), _check_target_sizes(target_sizes, logits), strict=True):
            if return_segmentation_scores:
                scores = F.interpolate(picture_logits[None].float(), size=size, mode="bilinear", align_corners=False)[0]
                best, label_map = scores.max(dim=0)
                check_are_numbers(best)
            else:
                label_map, best = find_best_classes([(0, picture_logits)], size, class_chunk_size)
            if threshold is not None:
                label_map = torch.where(best.sigmoid() < threshold, UNLABELLED_ID, label_map)
            if return_segmentation_scores:
                data = {"segmentation": label_map, "segmentation_scores": scores}
                results.append(SemanticSegmentationPostProcessorOutput(data=data))
            else:
                results.append(label_map)
        return results

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


def _logits_of(outputs: Any) -> torch.Tensor:
    logits = outputs.get("logits") if isinstance(outputs, dict) else getattr(outputs, "logits", None)
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"A {type(outputs).__name__} holds no logits: give the model's output or its logits.")
    return logits


def _check_target_sizes(
    target_sizes: Sequence[tuple[int, int]] | torch.Tensor | None, logits: torch.Tensor
) -> list[tuple[int, int]]:
    if target_sizes is None:
        return [(logits.shape[-2], logits.shape[-1])] * len(logits)
    if len(target_sizes) != len(logits):
        raise ValueError(f"There are {len(target_sizes)} target sizes for {len(logits)} pictures: give one each.")
    sizes = []
    for size in target_sizes:
        height_width = tuple(int(side) for side in size)
        if len(height_width) != 2 or min(height_width) < 1:
            raise ValueError(f"The target size {height_width} is not a (height, width) of at least 1 x 1.")
        sizes.append((height_width[0], height_width[1]))
    return sizes


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

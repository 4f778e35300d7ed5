# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Logits of a batch made label maps at the pictures' own sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers.image_processing_outputs import SemanticSegmentationPostProcessorOutput

from .argument_checks import check_real, check_whole
from .label_maps import check_are_numbers, find_best_classes
from .quoting import quote

UNLABELLED_ID = -1
"""What [`label_maps_from_logits`] writes where no class reaches `threshold`."""

# So many rows of a large picture are compared with the threshold at once, for what that takes to be small beside it.
ROWS_AT_ONCE = 256


def label_maps_from_logits(
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
        dtype: Of the label maps. With the default a picture takes 12 bytes a pixel on the way, with `torch.uint8` 5.

    Returns:
        A list of tensors of shape (height, width) holding class indices; or, with
        `return_segmentation_scores`, of outputs with such a `segmentation` and `segmentation_scores` of shape
        (classes, height, width).

    Raises:
        ValueError: `outputs` holds no logits, a logit is not a number, the number of target sizes is not the batch
            size, or a size, the threshold or the chunk size is out of range.
    """
    logits = outputs if isinstance(outputs, torch.Tensor) else _logits_of(outputs)
    if logits.is_meta or logits.is_complex():
        raise ValueError(f"The logits are of type {logits.dtype} on {logits.device}: give real numbers.")
    if logits.ndim != 4 or 0 in logits.shape:
        raise ValueError(
            f"The logits have shape {tuple(logits.shape)}: give (batch, classes, height, width), with at least one "
            "of each."
        )
    if threshold is not None:
        threshold = check_real("threshold", threshold, "a probability from 0 to 1, or None", 0, 1)
        if torch.iinfo(dtype).min == 0:
            raise ValueError(f"`dtype` is {dtype}, which cannot hold {UNLABELLED_ID} for pixels below `threshold`.")
    if class_chunk_size is not None:
        check_whole("class_chunk_size", class_chunk_size, "1 or more, or None")

    results: list[Any] = []
    for picture_logits, size in zip(logits.detach(), _check_target_sizes(target_sizes, logits), strict=True):
        if return_segmentation_scores:
            scores = F.interpolate(picture_logits[None].float(), size=size, mode="bilinear", align_corners=False)[0]
            best, label_map = scores.max(dim=0)
            check_are_numbers(best)
            label_map = label_map.to(dtype)
        else:
            label_map, best = find_best_classes([(0, picture_logits)], size, class_chunk_size, dtype)
        if threshold is not None:
            mark_unlabelled(label_map, best, threshold)
        if return_segmentation_scores:
            data = {"segmentation": label_map, "segmentation_scores": scores}
            results.append(SemanticSegmentationPostProcessorOutput(data=data))
        else:
            results.append(label_map)
    return results


def mark_unlabelled(label_map: torch.Tensor, best: torch.Tensor, threshold: float) -> None:
    """Writes `UNLABELLED_ID` into a label map where a class's probability is below the threshold.

    Args:
        label_map: Signed whole numbers, (height, width).
        best: The logits of its classes, of the same shape.
        threshold: From 0 to 1.
    """
    for labels, logits in zip(label_map.split(ROWS_AT_ONCE), best.split(ROWS_AT_ONCE), strict=True):
        labels.masked_fill_(logits.sigmoid() < threshold, UNLABELLED_ID)


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
    wanted = "give one (height, width) a picture, of at least 1 x 1: `[(480, 640), ...]`"
    try:
        listed = [tuple(map(_plain, size)) for size in target_sizes]
    except TypeError as error:
        raise ValueError(f"`target_sizes` is {quote(target_sizes)}: {wanted}.") from error
    if len(listed) != len(logits):
        raise ValueError(f"There are {len(listed)} target sizes for {len(logits)} pictures: {wanted}.")
    sizes = []
    for size in listed:
        if len(size) != 2 or not all(isinstance(side, int | float) and side >= 1 and side % 1 == 0 for side in size):
            raise ValueError(f"The target size {quote(size)} is no height and width: {wanted}.")
        sizes.append((int(size[0]), int(size[1])))
    return sizes


def _plain(number: Any) -> Any:
    return number.item() if isinstance(number, np.generic | torch.Tensor) else number

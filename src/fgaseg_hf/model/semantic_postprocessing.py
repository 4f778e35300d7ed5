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
"""Logits of a batch made label maps at the pictures' own sizes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from transformers.image_processing_outputs import SemanticSegmentationPostProcessorOutput

from .label_maps import check_are_numbers, find_best_classes

UNLABELLED_ID = -1
"""What [`label_maps_from_logits`] writes where no class reaches `threshold`."""


def label_maps_from_logits(
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

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 6: losses. Cross-entropy of every class at every pixel, without a one-hot map in memory."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .configuration_fgaseg import FGASegConfig
from .device_sizes import sizes_of
from .partwise_computation import apply_in_parts

# Classes that the class limit dropped stand at the most negative finite score; a label on one of them costs this much.
LOWEST_TRAINING_LOGIT = -100.0
# Stands for the weight of no pixel at all, by which no mean can be divided.
SMALLEST_WEIGHT = 1e-6


def binary_cross_entropy_of_labels(
    logits: torch.Tensor,
    labels: torch.Tensor,
    ignore_index: int,
    ignored_as_negatives: bool,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean binary cross-entropy with logits against the one-hot form of a label map.

    Uses BCE(x, y) = softplus(x) - x y, so that only the labelled class's logit is looked up and no one-hot map is
    built.

    Args:
        logits: (batch, classes, height, width).
        labels: (batch, height, width), integer; `ignore_index` where no class is known.
        ignore_index: The label of ignored pixels.
        ignored_as_negatives: Whether ignored pixels count as "no class" or are left out of the mean.
        class_weights: (classes,) or (batch, classes), what a pixel of each class counts in the mean; 1 if not given.

    Returns:
        A scalar.
    """
    logits = logits.float().clamp(min=LOWEST_TRAINING_LOGIT)
    pixel_weights = weights_of_pixels(labels, ignore_index, ignored_as_negatives, class_weights)
    sums = _sums_of_classes(logits, _classes_of(logits), labels, ignore_index, pixel_weights)
    return _mean_of_sums(sums, labels, pixel_weights)


def cross_entropy_of_labels(
    logits: torch.Tensor, labels: torch.Tensor, ignore_index: int, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean cross-entropy of a softmax over the classes, given as log-odds: -log sigmoid(x) of the labelled class.

    Args:
        logits: Log-odds of each class against all others, (batch, classes, height, width); see [`softmax_log_odds`].
        labels: (batch, height, width), integer; `ignore_index` where no class is known. Such pixels are left out: no
            probability over the classes says "none".
        ignore_index: The label of ignored pixels.
        class_weights: See [`binary_cross_entropy_of_labels`].

    Returns:
        A scalar; 0 if every pixel is ignored.
    """
    is_labelled = labels != ignore_index
    labelled_logits = logits.float().gather(1, labels.masked_fill(~is_labelled, 0).unsqueeze(1)).squeeze(1)
    losses = nn.functional.softplus(-labelled_logits.clamp(min=LOWEST_TRAINING_LOGIT))
    pixel_weights = cast(torch.Tensor, weights_of_pixels(labels, ignore_index, False, class_weights))
    return (losses * pixel_weights).sum() / pixel_weights.sum().clamp(min=SMALLEST_WEIGHT)


def segmentation_loss(
    logits: torch.Tensor, labels: torch.Tensor, config: FGASegConfig, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Loss of logits that are brought bilinearly to the labels' size; used for the decoder and the auxiliary heads.

    Binary cross-entropy of each class, as published; with `config.decoder_type` `"cosine"` the cross-entropy over all
    classes that CLIP was trained with.

    Args:
        logits: (batch, classes, height, width), any size.
        labels: (batch, label_height, label_width).
        config: The model's configuration.
        class_weights: See [`binary_cross_entropy_of_labels`].
    """
    logits = logits.float().clamp(min=LOWEST_TRAINING_LOGIT)
    ignore_index = config.semantic_loss_ignore_index
    if config.decoder_type == "cosine":
        logits = nn.functional.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        return cross_entropy_of_labels(logits, labels, ignore_index, class_weights)
    pixel_weights = weights_of_pixels(labels, ignore_index, config.ignored_pixels_as_negatives, class_weights)

    def sums_of(logits: torch.Tensor, classes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = nn.functional.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        return _sums_of_classes(logits, classes, labels, ignore_index, pixel_weights)

    # Logits of the labels' size are made of a few classes at a time, and again for their gradients.
    sums = apply_in_parts(
        sums_of,
        (logits, _classes_of(logits)),
        (labels,),
        dim=1,
        values_per_item=labels.numel(),
        checkpoint=_recompute if logits.requires_grad and _is_recomputed(logits, labels) else None,
    )
    return _mean_of_sums(sums, labels, pixel_weights)


# Nothing here is random.
_recompute = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)


def _is_recomputed(logits: torch.Tensor, labels: torch.Tensor) -> bool:
    """Whether logits of the labels' size are too many to be kept for their gradients."""
    sizes = sizes_of(logits.device)
    if sizes.recomputes_losses or sizes.values_per_part is None:
        return sizes.recomputes_losses
    return labels.numel() * logits.shape[1] > sizes.values_per_part


def weights_of_pixels(
    labels: torch.Tensor, ignore_index: int, ignored_as_negatives: bool, class_weights: torch.Tensor | None
) -> torch.Tensor | None:
    """What each pixel counts in the mean, (batch, height, width); `None` if all count 1.

    For the arguments see [`binary_cross_entropy_of_labels`].
    """
    if class_weights is None and ignored_as_negatives:
        return None
    is_labelled = labels != ignore_index
    if class_weights is None:
        return is_labelled.float()
    class_weights = class_weights.float().expand(labels.shape[0], -1)
    places = labels.masked_fill(~is_labelled, 0).flatten(1)
    weights = class_weights.gather(1, places).view(labels.shape)
    return weights.masked_fill(~is_labelled, 1.0 if ignored_as_negatives else 0.0)


def _sums_of_classes(
    logits: torch.Tensor,
    classes: torch.Tensor,
    labels: torch.Tensor,
    ignore_index: int,
    pixel_weights: torch.Tensor | None,
) -> torch.Tensor:
    """Binary cross-entropy of some of the classes, summed over pixels.

    Args:
        logits: (batch, some classes, height, width).
        classes: (batch, some classes), which they are: neighbours among all classes.
        labels: (batch, height, width).
        ignore_index: See [`binary_cross_entropy_of_labels`].
        pixel_weights: (batch, height, width), or `None` if all pixels count 1.

    Returns:
        (batch, some classes). The labelled pixels' share of all these classes stands at the first of them.
    """
    is_labelled = labels != ignore_index
    softplus = nn.functional.softplus(logits)
    places = labels - classes[:, 0, None, None]
    is_here = is_labelled & (places >= 0) & (places < classes.shape[1])
    labelled_logits = logits.gather(1, places.masked_fill(~is_here, 0).unsqueeze(1)).squeeze(1)
    labelled_logits = labelled_logits.masked_fill(~is_here, 0.0)
    if pixel_weights is not None:
        softplus = softplus * pixel_weights.unsqueeze(1)
        labelled_logits = labelled_logits * pixel_weights
    labelled = labelled_logits.sum(dim=(1, 2))
    return softplus.sum(dim=(2, 3)) - nn.functional.pad(labelled[:, None], (0, classes.shape[1] - 1))


def _mean_of_sums(sums: torch.Tensor, labels: torch.Tensor, pixel_weights: torch.Tensor | None) -> torch.Tensor:
    """Divides by what all pixels and classes count together."""
    if pixel_weights is None:
        return sums.sum() / (labels.numel() * sums.shape[1])
    return sums.sum() / (pixel_weights.sum() * sums.shape[1]).clamp(min=SMALLEST_WEIGHT)


def _classes_of(logits: torch.Tensor) -> torch.Tensor:
    """(batch, classes): the classes' places."""
    return torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[0], -1)


def alignment_loss(
    alignment_logits: torch.Tensor,
    labels: torch.Tensor,
    config: FGASegConfig,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Text-pixel alignment (T2P) loss: the labels are brought to the logits' size by nearest neighbour.

    Args:
        alignment_logits: (batch, classes, height, width).
        labels: (batch, label_height, label_width).
        config: The model's configuration.
        class_weights: See [`binary_cross_entropy_of_labels`].
    """
    return binary_cross_entropy_of_labels(
        alignment_logits,
        labels_at_size(labels, alignment_logits.shape[-2:]),
        config.semantic_loss_ignore_index,
        config.ignored_pixels_as_negatives,
        class_weights,
    )


def labels_at_size(labels: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Brings labels (batch, height, width) to another height and width, by the neighbours of `nearest`."""
    rows, columns = (
        # float32 counts rows and columns exactly; what of the scale is cut off is what `nearest` cuts off.
        (torch.arange(new, device=labels.device) * (old / new)).floor().long().clamp(max=old - 1)
        for old, new in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[:, rows[:, None], columns]


def check_labels(labels: torch.Tensor, batch_size: int, num_classes: int, ignore_index: int) -> None:
    """Refuses labels that no class answers to.

    Args:
        labels: (batch, height, width).
        batch_size: Pictures in the batch.
        num_classes: Classes of each picture.
        ignore_index: The label of ignored pixels.

    Raises:
        ValueError: If the shape is wrong, or a label is neither a class nor `ignore_index`.
    """
    if labels.dim() != 3 or labels.shape[0] != batch_size:
        raise ValueError(
            f"`labels` has shape {tuple(labels.shape)}; give one map (height, width) for each of the {batch_size} "
            f"pictures."
        )
    if labels.is_floating_point():
        raise ValueError(f"`labels` has dtype {labels.dtype}; give integer class indices.")
    if torch.compiler.is_compiling():
        return
    is_wrong = ((labels < 0) | (labels >= num_classes)) & (labels != ignore_index)
    if labels.is_cuda or labels.is_meta:
        # without waiting for the GPU; the collator has said more of labels that come from it
        torch._assert_async(~is_wrong.any(), f"`labels` holds a number that is none of {num_classes} classes.")
        return
    if bool(is_wrong.any()):
        wrong = int(labels[is_wrong][0])
        raise ValueError(
            f"`labels` holds {wrong}, but there are {num_classes} classes; map it to 0..{num_classes - 1} or to the "
            f"ignored label {ignore_index}."
        )


def check_class_weights(class_weights: torch.Tensor, batch_size: int, num_classes: int) -> None:
    """Refuses weights that do not fit the classes.

    Args:
        class_weights: (classes,) or (batch, classes).
        batch_size: Pictures in the batch.
        num_classes: Classes of each picture.

    Raises:
        ValueError: If the shape is wrong, or a weight is negative or not finite.
    """
    if class_weights.shape not in ((num_classes,), (batch_size, num_classes)):
        raise ValueError(
            f"`class_weights` has shape {tuple(class_weights.shape)}; give ({num_classes},), or "
            f"({batch_size}, {num_classes}) for classes of each picture's own."
        )
    if torch.compiler.is_compiling():
        return
    is_right = (torch.isfinite(class_weights) & (class_weights >= 0)).all()
    if class_weights.is_cuda or class_weights.is_meta:
        torch._assert_async(is_right, "`class_weights` must be finite numbers of at least 0.")
        return
    if not bool(is_right):
        raise ValueError("`class_weights` must be finite numbers of at least 0.")

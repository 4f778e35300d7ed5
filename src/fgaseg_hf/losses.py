"""Step 6: losses. Binary cross-entropy of every class at every pixel, without a one-hot map in memory."""

import torch
from torch import nn

from .configuration_fgaseg import FGASegConfig

# Classes that the class limit dropped stand at the most negative finite score; a label on one of them costs this much.
LOWEST_TRAINING_LOGIT = -100.0


def binary_cross_entropy_of_labels(
    logits: torch.Tensor, labels: torch.Tensor, ignore_index: int, ignored_as_negatives: bool
) -> torch.Tensor:
    """Mean binary cross-entropy with logits against the one-hot form of a label map.

    Uses BCE(x, y) = softplus(x) - x y, so that only the labelled class's logit is looked up and no one-hot map is
    built.

    Args:
        logits: (batch, classes, height, width).
        labels: (batch, height, width), integer; `ignore_index` where no class is known.
        ignore_index: The label of ignored pixels.
        ignored_as_negatives: Whether ignored pixels count as "no class" or are left out of the mean.

    Returns:
        A scalar.
    """
    logits = logits.float().clamp(min=LOWEST_TRAINING_LOGIT)
    is_labelled = labels != ignore_index
    labelled_logits = logits.gather(1, labels.masked_fill(~is_labelled, 0).unsqueeze(1)).squeeze(1)
    labelled_sum = labelled_logits.masked_fill(~is_labelled, 0.0).sum(dim=(1, 2)).sum()
    softplus = nn.functional.softplus(logits)
    if ignored_as_negatives:
        return softplus.mean() - labelled_sum / logits.numel()
    count = is_labelled.sum() * logits.shape[1]
    return ((softplus * is_labelled.unsqueeze(1)).sum() - labelled_sum) / count.clamp(min=1)


def segmentation_loss(logits: torch.Tensor, labels: torch.Tensor, config: FGASegConfig) -> torch.Tensor:
    """Loss of logits that are brought bilinearly to the labels' size; used for the decoder and the auxiliary heads.

    Args:
        logits: (batch, classes, height, width), any size.
        labels: (batch, label_height, label_width).
        config: The model's configuration.
    """
    logits = nn.functional.interpolate(
        logits.float().clamp(min=LOWEST_TRAINING_LOGIT), size=labels.shape[-2:], mode="bilinear", align_corners=False
    )
    return binary_cross_entropy_of_labels(
        logits, labels, config.semantic_loss_ignore_index, config.ignored_pixels_as_negatives
    )


def alignment_loss(alignment_logits: torch.Tensor, labels: torch.Tensor, config: FGASegConfig) -> torch.Tensor:
    """Text-pixel alignment (T2P) loss: the labels are brought to the logits' size by nearest neighbour.

    Args:
        alignment_logits: (batch, classes, height, width).
        labels: (batch, label_height, label_width).
        config: The model's configuration.
    """
    # float64 holds any label exactly.
    small_labels = nn.functional.interpolate(
        labels.unsqueeze(1).double(), size=alignment_logits.shape[-2:], mode="nearest"
    )
    return binary_cross_entropy_of_labels(
        alignment_logits,
        small_labels.squeeze(1).long(),
        config.semantic_loss_ignore_index,
        config.ignored_pixels_as_negatives,
    )


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
    if bool(is_wrong.any()):
        wrong = int(labels[is_wrong][0])
        raise ValueError(
            f"`labels` holds {wrong}, but there are {num_classes} classes; map it to 0..{num_classes - 1} or to the "
            f"ignored label {ignore_index}."
        )

"""Step 6: losses. Cross-entropy of every class at every pixel, without a one-hot map in memory."""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .configuration_fgaseg import FGASegConfig
from .partwise_computation import apply_in_parts

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
    sums = _sums_of_classes(logits, _classes_of(logits), labels, ignore_index, ignored_as_negatives)
    return _mean_of_sums(sums, labels, ignore_index, ignored_as_negatives)


def cross_entropy_of_labels(logits: torch.Tensor, labels: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """Mean cross-entropy of a softmax over the classes, given as log-odds: -log sigmoid(x) of the labelled class.

    Args:
        logits: Log-odds of each class against all others, (batch, classes, height, width); see [`softmax_log_odds`].
        labels: (batch, height, width), integer; `ignore_index` where no class is known. Such pixels are left out: no
            probability over the classes says "none".
        ignore_index: The label of ignored pixels.

    Returns:
        A scalar; 0 if every pixel is ignored.
    """
    is_labelled = labels != ignore_index
    labelled_logits = logits.float().gather(1, labels.masked_fill(~is_labelled, 0).unsqueeze(1)).squeeze(1)
    losses = nn.functional.softplus(-labelled_logits.clamp(min=LOWEST_TRAINING_LOGIT))
    return losses.masked_fill(~is_labelled, 0.0).sum() / is_labelled.sum().clamp(min=1)


def segmentation_loss(logits: torch.Tensor, labels: torch.Tensor, config: FGASegConfig) -> torch.Tensor:
    """Loss of logits that are brought bilinearly to the labels' size; used for the decoder and the auxiliary heads.

    Binary cross-entropy of each class, as published; with `config.decoder_type` `"cosine"` the cross-entropy over all
    classes that CLIP was trained with.

    Args:
        logits: (batch, classes, height, width), any size.
        labels: (batch, label_height, label_width).
        config: The model's configuration.
    """
    logits = logits.float().clamp(min=LOWEST_TRAINING_LOGIT)
    if config.decoder_type == "cosine":
        logits = nn.functional.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        return cross_entropy_of_labels(logits, labels, config.semantic_loss_ignore_index)
    ignore_index, ignored_as_negatives = config.semantic_loss_ignore_index, config.ignored_pixels_as_negatives

    def sums_of(logits: torch.Tensor, classes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = nn.functional.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        return _sums_of_classes(logits, classes, labels, ignore_index, ignored_as_negatives)

    # Logits of the labels' size are made of a few classes at a time, and again for their gradients.
    sums = apply_in_parts(
        sums_of,
        (logits, _classes_of(logits)),
        (labels,),
        dim=1,
        values_per_item=labels.numel(),
        checkpoint=partial(checkpoint, use_reentrant=False) if logits.requires_grad else None,
    )
    return _mean_of_sums(sums, labels, ignore_index, ignored_as_negatives)


def _sums_of_classes(
    logits: torch.Tensor, classes: torch.Tensor, labels: torch.Tensor, ignore_index: int, ignored_as_negatives: bool
) -> torch.Tensor:
    """Binary cross-entropy of some of the classes, summed over pixels.

    Args:
        logits: (batch, some classes, height, width).
        classes: (batch, some classes), which they are: neighbours among all classes.
        labels: (batch, height, width).
        ignore_index: See [`binary_cross_entropy_of_labels`].
        ignored_as_negatives: See there.

    Returns:
        (batch, some classes). The labelled pixels' share of all these classes stands at the first of them.
    """
    is_labelled = labels != ignore_index
    softplus = nn.functional.softplus(logits)
    if not ignored_as_negatives:
        softplus = softplus * is_labelled.unsqueeze(1)
    places = labels - classes[:, 0, None, None]
    is_here = is_labelled & (places >= 0) & (places < classes.shape[1])
    labelled_logits = logits.gather(1, places.masked_fill(~is_here, 0).unsqueeze(1)).squeeze(1)
    labelled = labelled_logits.masked_fill(~is_here, 0.0).sum(dim=(1, 2))
    return softplus.sum(dim=(2, 3)) - nn.functional.pad(labelled[:, None], (0, classes.shape[1] - 1))


def _mean_of_sums(
    sums: torch.Tensor, labels: torch.Tensor, ignore_index: int, ignored_as_negatives: bool
) -> torch.Tensor:
    if ignored_as_negatives:
        return sums.sum() / (labels.numel() * sums.shape[1])
    count = (labels != ignore_index).sum() * sums.shape[1]
    return sums.sum() / count.clamp(min=1)


def _classes_of(logits: torch.Tensor) -> torch.Tensor:
    """(batch, classes): the classes' places."""
    return torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[0], -1)


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

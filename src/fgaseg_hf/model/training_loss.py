# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 6: the loss that is trained, the weighted sum of its parts."""

from typing import Any

import torch

from .class_selection import gather_classes
from .configuration_fgaseg import FGASegConfig
from .losses import alignment_loss, segmentation_loss


def training_losses(
    logits: torch.Tensor,
    auxiliary_logits: tuple[torch.Tensor, ...] | None,
    alignment_logits: torch.Tensor | None,
    labels: torch.Tensor,
    config: FGASegConfig,
    class_weights: torch.Tensor | None = None,
    trained_classes: torch.Tensor | None = None,
) -> dict[str, Any]:
    """Computes the losses of what a model has put out.

    Args:
        logits: (batch, classes, height, width), as the following, each of its own height and width.
        auxiliary_logits: Of the auxiliary heads, if there are any.
        alignment_logits: Of the alignment head, if there is one.
        labels: (batch, height, width), see [`segmentation_loss`].
        config: The model's configuration, which holds the weights.
        class_weights: What a pixel of each class counts; 1 if not given.
        trained_classes: (batch, trained), rising: the classes that every loss but that of auxiliary map 0 is of;
            `alignment_logits` are of these alone. All, if not given.

    Returns:
        `loss`, and those of its parts that there are: `segmentation_loss`, `alignment_loss`, `auxiliary_losses`.
    """
    first_map = (labels, class_weights)
    if trained_classes is not None:
        order = trained_first(trained_classes, logits.shape[1])
        labels = labels_in_order(labels, order, config.semantic_loss_ignore_index)
        logits = gather_classes(logits, trained_classes)
        first, *later = auxiliary_logits or ()
        auxiliary_logits = (first, *(gather_classes(maps, trained_classes) for maps in later))
        if class_weights is not None:
            class_weights = class_weights.expand(order.shape).gather(1, order)
    segmentation = segmentation_loss(logits, labels, config, class_weights)
    loss = config.segmentation_loss_weight * segmentation
    losses: dict[str, Any] = {"segmentation_loss": segmentation}
    if alignment_logits is not None:
        losses["alignment_loss"] = alignment_loss(alignment_logits, labels, config, class_weights)
        loss = loss + config.alignment_loss_weight * losses["alignment_loss"]
    if auxiliary_logits is not None:
        ground_truths = (first_map, (labels, class_weights), (labels, class_weights))
        losses["auxiliary_losses"] = tuple(
            segmentation_loss(maps, truth, config, weights)
            for maps, (truth, weights) in zip(auxiliary_logits, ground_truths, strict=True)
        )
        for weight, part in zip(config.auxiliary_loss_weights, losses["auxiliary_losses"], strict=True):
            loss = loss + weight * part
    return {"loss": loss, **losses}


def trained_first(trained_classes: torch.Tensor, num_classes: int) -> torch.Tensor:
    """All classes of each picture, those that are trained first, (batch, classes).

    Args:
        trained_classes: (batch, trained), rising.
        num_classes: How many there are in all.
    """
    is_trained = trained_classes.new_zeros(trained_classes.shape[0], num_classes).scatter(1, trained_classes, 1)
    return is_trained.sort(dim=1, descending=True, stable=True).indices


def labels_in_order(labels: torch.Tensor, order: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """Labels as places in an order of the classes; what is labelled with none of the first few is negative for these.

    Args:
        labels: (batch, height, width), places among the classes.
        order: (batch, classes), a permutation of each picture's classes.
        ignore_index: The label of ignored pixels; it stays.

    Returns:
        (batch, height, width).
    """
    is_labelled = labels != ignore_index
    found = order.argsort(dim=1).gather(1, labels.masked_fill(~is_labelled, 0).flatten(1)).view(labels.shape)
    return found.masked_fill(~is_labelled, ignore_index)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 6: the loss that is trained, the weighted sum of its parts."""

from typing import Any

import torch

from .class_selection import gather_classes
from .configuration_fgaseg import FGASegConfig
from .hard_classes import labels_among
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
        trained_classes: (batch, trained): the classes that every loss but that of auxiliary map 0 is of, a picture's
            own among them; `alignment_logits` are of these alone. All, if not given.

    Returns:
        `loss`, and those of its parts that there are: `segmentation_loss`, `alignment_loss`, `auxiliary_losses`.
    """
    first_map = (labels, class_weights)
    if trained_classes is not None:
        num_classes = logits.shape[1]
        labels = labels_among(labels, trained_classes, num_classes, config.semantic_loss_ignore_index)
        logits = gather_classes(logits, trained_classes)
        first, *later = auxiliary_logits or ()
        auxiliary_logits = (first, *(gather_classes(maps, trained_classes) for maps in later))
        if class_weights is not None:
            class_weights = class_weights.expand(len(labels), num_classes).gather(1, trained_classes)
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

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Step 6: the loss that is trained, the weighted sum of its parts."""

import torch

from .configuration_fgaseg import FGASegConfig
from .losses import alignment_loss, segmentation_loss
from .model_outputs import FGASegOutput


def add_losses(
    output: FGASegOutput, labels: torch.Tensor, config: FGASegConfig, class_weights: torch.Tensor | None = None
) -> None:
    """Computes the losses of what a model has put out, and writes them there.

    Args:
        output: With `logits`, and `auxiliary_logits` and `alignment_logits` if the model has them.
        labels: (batch, height, width), see [`segmentation_loss`].
        config: The model's configuration, which holds the weights.
        class_weights: What a pixel of each class counts; 1 if not given.
    """
    assert output.logits is not None
    output.segmentation_loss = segmentation_loss(output.logits, labels, config, class_weights)
    loss = config.segmentation_loss_weight * output.segmentation_loss
    if output.alignment_logits is not None:
        output.alignment_loss = alignment_loss(output.alignment_logits, labels, config, class_weights)
        loss = loss + config.alignment_loss_weight * output.alignment_loss
    if output.auxiliary_logits is not None:
        output.auxiliary_losses = tuple(
            segmentation_loss(logits, labels, config, class_weights) for logits in output.auxiliary_logits
        )
        for weight, part in zip(config.auxiliary_loss_weights, output.auxiliary_losses, strict=True):
            loss = loss + weight * part
    output.loss = loss

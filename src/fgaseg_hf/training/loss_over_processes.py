# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The loss of a step as one process would compute it, where pixels weigh differently.

Each forward divides by the weights of its own pixels, and processes and accumulation steps are averaged. With weights
of classes, or with pixels that are left out, that is another mean than the one over the whole batch: a part with few
labelled pixels would count as much as one with many. So each part is scaled by its share of all weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from ..model.configuration_fgaseg import FGASegConfig
from ..model.losses import SMALLEST_WEIGHT, labels_at_size, weights_of_pixels

# The alignment head brings the patch grid to four times its size.
ALIGNMENT_SCALE = 4


def pixels_weigh_differently(config: FGASegConfig, batch: Mapping[str, torch.Tensor]) -> bool:
    """Returns whether the losses divide by something else than a fixed number of pixels."""
    left_out = not config.ignored_pixels_as_negatives or config.decoder_type == "cosine"
    return left_out or batch.get("class_weights") is not None


def weight_sums(config: FGASegConfig, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Returns what the pixels of a batch count together, float64 (2,): at the labels' size and at the alignment head's.

    Args:
        config: the model's.
        batch: the model's inputs, of one process and accumulation step.
    """
    labels, class_weights = batch["labels"], batch.get("class_weights")
    vision_config: Any = config.vision_config
    size = [ALIGNMENT_SCALE * (side // vision_config.patch_size) for side in batch["pixel_values"].shape[-2:]]
    sums = []
    for some_labels, as_negatives in (
        (labels, config.ignored_pixels_as_negatives and config.decoder_type != "cosine"),
        (labels_at_size(labels, size), config.ignored_pixels_as_negatives),
    ):
        weights = weights_of_pixels(some_labels, config.semantic_loss_ignore_index, as_negatives, class_weights)
        total = torch.tensor(float(some_labels.numel())) if weights is None else weights.double().sum()
        sums.append(total.double().cpu())
    return torch.stack(sums)


def shares_of_parts(
    config: FGASegConfig, parts: Sequence[Mapping[str, torch.Tensor]], accelerator: Accelerator
) -> list[torch.Tensor] | None:
    """Returns what to scale the losses of each accumulation step by, (2,) each: those of the labels and of alignment.

    Args:
        config: the model's.
        parts: this process's batches of one optimiser step, still where they were collated.
        accelerator: adds over the processes.

    Returns:
        1 on average; None if every pixel counts alike, so that there is nothing to scale.
    """
    if not pixels_weigh_differently(config, parts[0]):
        return None
    sums = torch.stack([weight_sums(config, part) for part in parts]).float()
    sums = sums.to(accelerator.device, non_blocking=True)
    mean = accelerator.reduce(sums.mean(0), reduction="mean")
    return list(sums / mean.clamp(min=SMALLEST_WEIGHT))


def scaled_losses(outputs: Any, config: FGASegConfig, shares: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Returns the loss and its unweighted parts by name.

    Args:
        outputs: the model's, with labels.
        config: the model's.
        shares: (2,), see `shares_of_parts`; None leaves the losses as the model gives them.
    """
    parts = {"segmentation_loss": outputs.segmentation_loss}
    weights = {"segmentation_loss": config.segmentation_loss_weight}
    if outputs.alignment_loss is not None:
        parts["alignment_loss"] = outputs.alignment_loss
        weights["alignment_loss"] = config.alignment_loss_weight
    for number, loss in enumerate(outputs.auxiliary_losses or ()):
        parts[f"auxiliary_loss_{number}"] = loss
        weights[f"auxiliary_loss_{number}"] = config.auxiliary_loss_weights[number]
    if shares is None:
        return {"loss": outputs.loss, **parts}
    parts = {name: part * shares[int(name == "alignment_loss")] for name, part in parts.items()}
    return {"loss": torch.stack([weights[name] * part for name, part in parts.items()]).sum(), **parts}

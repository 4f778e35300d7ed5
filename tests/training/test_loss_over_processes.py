# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The losses of a batch's parts average to the loss of the whole batch, however unevenly its pixels weigh."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import tiny_inputs, tiny_model

from fgaseg_hf.training.loss_over_processes import scaled_losses, shares_of_parts

# One process: what it adds up is what it has.
ALONE: Any = SimpleNamespace(device=torch.device("cpu"), reduce=lambda values, reduction: values)


def batch_of_two(num_classes: int = 5) -> dict[str, torch.Tensor]:
    """The second picture has few labelled pixels, of a class that weighs much."""
    labels = torch.randint(0, num_classes - 1, (2, 32, 32), generator=torch.Generator().manual_seed(0))
    labels[1] = 255
    labels[1, 8:17, 8:17] = num_classes - 1
    return tiny_inputs() | {"labels": labels}


@pytest.mark.parametrize("ignored_as_negatives", [True, False])
@pytest.mark.parametrize("weights", [None, [0.2, 0.5, 1.0, 1.5, 9.0]])
@torch.no_grad()
def test_parts_average_to_the_whole(ignored_as_negatives: bool, weights: list[float] | None) -> None:
    # batch norm as in inference: how it sees the whole batch is not what is asked here
    model = tiny_model(ignored_pixels_as_negatives=ignored_as_negatives).eval()
    batch = batch_of_two()
    if weights is not None:
        batch["class_weights"] = torch.tensor(weights)
    per_picture = {"pixel_values", "labels"}
    parts = [
        {name: value[place : place + 1] if name in per_picture else value for name, value in batch.items()}
        for place in range(2)
    ]
    whole = scaled_losses(model(**batch), model.config, None)
    shares = shares_of_parts(model.config, parts, ALONE)
    assert (shares is None) == (weights is None and ignored_as_negatives)
    found = [
        scaled_losses(model(**part), model.config, None if shares is None else shares[place])
        for place, part in enumerate(parts)
    ]
    assert set(whole) >= {"loss", "segmentation_loss", "alignment_loss", "auxiliary_loss_0"}
    for name, value in whole.items():
        mean = sum(losses[name] for losses in found) / 2
        torch.testing.assert_close(mean, value, atol=1e-6, rtol=1e-6)
    if shares is not None:
        unscaled = sum(model(**part).loss for part in parts) / 2
        assert (unscaled - whole["loss"]).abs() > 1e-3

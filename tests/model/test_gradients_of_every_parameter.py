# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Every trainable parameter has a gradient, whatever the input is: several devices wait for each of them."""

from typing import Any

import pytest
import torch
from tiny_models import TRAINING_FREE, tiny_inputs, tiny_model, tiny_prompts


@pytest.mark.parametrize("is_labelled", [True, False])
@pytest.mark.parametrize("num_classes", [1, 8, 20])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"p2tformer_direction": "dual", "ignored_pixels_as_negatives": False, "class_limit": None},
        {"use_local_pseudo_masks": False, "fusion": "add", "num_kept_classes": 8},
        {"num_decoded_classes": 4, "class_limit": None},
        {"use_auxiliary_heads": False, "use_alignment_head": False, "p2tformer_num_layers": 0},
        {**TRAINING_FREE, "dense_attention": "self_correlation"},
    ],
    ids=["published", "dual", "without local masks", "hard negatives", "CAT-Seg with local masks", "CLIP alone"],
)
def test_no_parameter_goes_unused(fields: dict[str, Any], num_classes: int, is_labelled: bool) -> None:
    """One class; as many as padding fills up to; more than the limit; nothing labelled."""
    model = tiny_model(trainable_clip="all", **fields).train()
    labels = torch.full((2, 24, 24), 0 if is_labelled else model.config.semantic_loss_ignore_index)
    pixel_values = tiny_inputs()["pixel_values"]
    model(pixel_values=pixel_values, input_ids=tiny_prompts(num_classes), labels=labels).loss.backward()
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trainable.items() if parameter.grad is None] == []
    assert [name for name, parameter in trainable.items() if not torch.isfinite(parameter.grad).all()] == []

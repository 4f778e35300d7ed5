# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A step of training waits for no number of the device: on `meta` there are none, so that to wait is an error."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import tiny_inputs, tiny_model, tiny_prompts

from fgaseg_hf.training.optimizer_groups import parameter_groups
from fgaseg_hf.training.training_arguments import RecipeArguments
from fgaseg_hf.training.training_step import train_step


def accelerator_on_meta() -> Any:
    """As much of Accelerate as a step asks for, on one device."""
    return SimpleNamespace(
        device=torch.device("meta"),
        process_index=0,
        sync_gradients=True,
        mixed_precision="no",
        unwrap_model=lambda model: model,
        accumulate=lambda model: nullcontext(),
        backward=lambda loss: loss.backward(),
        clip_grad_norm_=torch.nn.utils.clip_grad_norm_,
        reduce=lambda values, reduction: values,
    )


@pytest.mark.parametrize("ignored_as_negatives", [True, False])
@pytest.mark.parametrize("is_weighted", [True, False])
@pytest.mark.parametrize("is_checkpointed", [True, False])
def test_a_step_reads_nothing_from_the_device(
    ignored_as_negatives: bool, is_weighted: bool, is_checkpointed: bool
) -> None:
    num_classes = 6
    model = tiny_model(trainable_clip="all", ignored_pixels_as_negatives=ignored_as_negatives).to("meta")
    if is_checkpointed:
        model.activation_checkpointing_enable()
    prompts = tiny_prompts(num_classes)
    # as the collator makes it, on the processor
    batch = {
        "pixel_values": tiny_inputs()["pixel_values"],
        "labels": torch.randint(0, num_classes, (2, 32, 32)),
        "input_ids": prompts,
        "attention_mask": torch.ones_like(prompts),
    }
    if is_weighted:
        batch["class_weights"] = torch.linspace(0.5, 1.5, num_classes)
    recipe = RecipeArguments(output_dir="nowhere", batch_size=2)
    groups = parameter_groups(model, recipe.learning_rate)
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    rates = [group["lr"] for group in groups]
    numbers = train_step(model, optimizer, rates, iter([batch]), accelerator_on_meta(), recipe, step=0, stop=False)
    assert numbers.values.is_meta
    assert all(weights.grad is None for weights in model.parameters())
    assert len(optimizer.state) == sum(weights.requires_grad for weights in model.parameters())
    # what reads them waits, and finds that there is nothing
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        numbers.read()

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""One optimiser step: rate, random numbers, losses, gradient."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device

from ..evaluation.command_line_arguments import ExpectedEnd
from .loss_over_processes import scaled_losses, shares_of_parts
from .training_arguments import RecipeArguments


class TrainingDiverged(ExpectedEnd):
    """A loss or the gradient is NaN or infinite; says in which step and in which part."""


def learning_rate_factor(step: int, max_steps: int, warmup_steps: int = 0) -> float:
    """Returns the share of the peak learning rate in a step: linear warm-up, then a cosine that ends at 0."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (max_steps - warmup_steps)))


@dataclass(frozen=True)
class StepNumbers:
    """What a step says of itself, the same on every process.

    Attributes:
        parts: the loss and its unweighted parts by name, averaged over the processes.
        gradient_norm: before it was clipped.
        stopping: whether any process was asked to stop.
    """

    parts: dict[str, float]
    gradient_norm: float
    stopping: bool


@dataclass(frozen=True)
class UnreadStep:
    """A step whose numbers may still be on their way; reading them waits for the accelerator.

    Attributes:
        step: its number, from 1.
        names: of the loss's parts.
        values: the parts, the gradient's norm, and the share of processes that were asked to stop.
        may_overflow: whether a gradient that is not finite is skipped by design, as fp16's scaler does.
    """

    step: int
    names: Sequence[str]
    values: torch.Tensor
    may_overflow: bool

    def read(self) -> StepNumbers:
        """Returns the numbers.

        Raises:
            TrainingDiverged: one of them is not finite.
        """
        *means, gradient_norm, stopping = self.values.tolist()
        parts = dict(zip(self.names, means, strict=True))
        # the parts before their sum, so that the message names the one that broke
        for name in sorted(parts, key=lambda name: name == "loss"):
            if not math.isfinite(parts[name]):
                raise TrainingDiverged(f"In step {self.step} {name} is {parts[name]}; {WHAT_TO_DO}")
        if not math.isfinite(gradient_norm) and not self.may_overflow:
            raise TrainingDiverged(f"In step {self.step} the gradient norm is {gradient_norm}; {WHAT_TO_DO}")
        return StepNumbers(parts, gradient_norm, stopping > 0)


WHAT_TO_DO = "no checkpoint holds this step: go on from the newest with --resume and, say, a lower --learning_rate."


def train_step(
    model: torch.nn.Module,
    optimizer: Any,
    peak_rates: Sequence[float],
    batches: Iterator[dict[str, torch.Tensor]],
    accelerator: Accelerator,
    recipe: RecipeArguments,
    *,
    step: int,
    stop: bool,
) -> UnreadStep:
    """Makes one optimiser step.

    Args:
        model: as Accelerate prepared it.
        optimizer: likewise.
        peak_rates: of the optimiser's groups.
        batches: of this process, one an accumulation step.
        accelerator: the run's.
        recipe: the run's.
        step: how many steps were made before.
        stop: whether this process was asked to stop.
    """
    factor = learning_rate_factor(step, recipe.max_steps, recipe.warmup_steps)
    for group, peak_rate in zip(optimizer.param_groups, peak_rates, strict=True):
        group["lr"] = peak_rate * factor
    # Whatever is random inside the model is a function of the step too, as a resumed run must repeat it.
    torch.manual_seed(recipe.seed * 1_000_003 + step * 1_009 + accelerator.process_index)

    model.train()
    config = accelerator.unwrap_model(model).config
    sums: dict[str, torch.Tensor] = {}
    parts = [next(batches) for _ in range(recipe.gradient_accumulation_steps)]
    shares = shares_of_parts(config, parts, accelerator)
    for place, part in enumerate(parts):
        batch = send_to_device(part, accelerator.device, non_blocking=True)
        with accelerator.accumulate(model):
            losses = scaled_losses(model(**batch), config, None if shares is None else shares[place])
            for name, loss in losses.items():
                share = loss.detach().float() / len(parts)
                sums[name] = sums[name] + share if name in sums else share
            accelerator.backward(losses["loss"])
            if accelerator.sync_gradients:
                gradient_norm = accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
    # made on the device: nothing here waits for it
    asked = torch.full((), float(stop), device=accelerator.device)
    values = torch.stack([*sums.values(), gradient_norm.detach().float(), asked])
    values = accelerator.reduce(values, reduction="mean")
    return UnreadStep(step + 1, list(sums), values, may_overflow=accelerator.mixed_precision == "fp16")

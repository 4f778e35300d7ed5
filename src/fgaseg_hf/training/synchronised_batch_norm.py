# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Batch norm whose statistics are those of the whole batch, also where torch's own `SyncBatchNorm` refuses: on CPUs."""

from typing import Any

import torch
from torch import nn


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes; each process's gradient reaches all of them."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batch of all processes, on any device; on one process the stock layer itself."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalises (B, C, H, W) by the mean and variance a channel over all processes' pictures."""
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not self.training or not distributed or torch.distributed.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        values = input.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        count = _SumOverProcesses.apply(count)
        mean = _SumOverProcesses.apply(values.sum((0, 2, 3))) / count
        # a second pass, for the mean of squares minus the squared mean would cancel
        centred = values - mean[:, None, None]
        variance = _SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), momentum)
            unbiased = variance.detach() * count / (count - 1).clamp(min=1)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
        normalised = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            normalised = normalised * self.weight[:, None, None] + self.bias[:, None, None]
        return normalised.to(input.dtype)


def synchronise_batch_norms(model: nn.Module, device_type: str) -> None:
    """Makes every batch norm inside a model work over all processes, with the same parameters and state keys.

    Args:
        model: the model before it is wrapped for distributed training.
        device_type: "cuda" takes torch's `SyncBatchNorm`; "cpu", where that refuses, takes `SynchronisedBatchNorm2d`.
    """
    if device_type != "cpu":
        for child_name, child in list(model.named_children()):
            setattr(model, child_name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        return
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            # The same object under another class: parameters, buffers, hooks and the optimiser's references all stay.
            module.__class__ = SynchronisedBatchNorm2d

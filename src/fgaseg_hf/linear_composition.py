"""Linear layers that follow each other, or stand side by side, as one: the same answers from less work."""

from collections.abc import Sequence

import torch
from torch import nn


def is_plain(module: nn.Module) -> bool:
    """Whether a linear layer or convolution does what its weights say and nothing more.

    Adapters, quantisation, hooks and weights that are elsewhere until the call all work through the module's call, so
    only plain modules may be put together into one step.
    """
    return (
        type(module) in (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not hasattr(module, "_hf_hook")
    )


def apply_side_by_side(linears: Sequence[nn.Linear], states: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Applies several linear layers with bias to the same input, as one product: narrow ones run well below full speed.

    Args:
        linears: Layers of the same input size.
        states: (..., input size).

    Returns:
        What each layer gives, (..., its output size).
    """
    if not all(is_plain(linear) for linear in linears):
        return tuple(linear(states) for linear in linears)
    weight = torch.cat([linear.weight for linear in linears])
    bias = torch.cat([linear.bias for linear in linears])
    return nn.functional.linear(states, weight, bias).split([linear.out_features for linear in linears], dim=-1)

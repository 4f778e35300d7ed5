# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Whether the decoder may be computed fast: one decision a call."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .aggregation_layer import FGASegAggregationLayer
from .class_aggregation import FGASegClassAggregation, FGASegLinearClassAttention
from .cost_embeddings import FGASegCostEmbedding, FGASegFusion
from .decoder_plan import DecoderPlan
from .spatial_aggregation import (
    FGASegFeedForward,
    FGASegSpatialAggregation,
    FGASegWindowAttention,
    FGASegWindowBlock,
)
from .upsampling_stages import (
    FGASegGuidanceProjection,
    FGASegGuidedConvolutions,
    FGASegLocalUpsampling,
    FGASegMaskHead,
    FGASegUpsamplingStage,
)

if TYPE_CHECKING:
    from .category_decoder import FGASegCategoryDecoder

# The modules that a plan computes with, and what they do when they are called.
_FORWARDS: dict[type[nn.Module], Callable[..., Any]] = {
    kind: kind.forward
    for kind in (
        FGASegAggregationLayer,
        FGASegClassAggregation,
        FGASegCostEmbedding,
        FGASegFeedForward,
        FGASegFusion,
        FGASegGuidanceProjection,
        FGASegGuidedConvolutions,
        FGASegLinearClassAttention,
        FGASegLocalUpsampling,
        FGASegMaskHead,
        FGASegSpatialAggregation,
        FGASegUpsamplingStage,
        FGASegWindowAttention,
        FGASegWindowBlock,
        nn.Conv2d,
        nn.ConvTranspose2d,
        nn.GELU,
        nn.GroupNorm,
        nn.LayerNorm,
        nn.Linear,
        nn.ModuleList,
        nn.ReLU,
    )
}


def compose(decoder: "FGASegCategoryDecoder") -> DecoderPlan | None:
    """Decides, for one call, whether the decoder may be computed from its weights, without calling its modules.

    Hooks of every kind, replaced `forward`s, adapters, quantised weights, weights that are elsewhere until the call,
    parametrisations and subclasses of layers all work through a module's call: with any of them there is no plan.

    Args:
        decoder: The decoder; its own hooks are called either way.

    Returns:
        The plan, or `None`: each module is to be called, once.
    """
    blocks = (module for module in decoder.modules() if module is not decoder)
    if _has_global_hooks() or not all(_does_what_its_weights_say(module) for module in blocks):
        return None
    return DecoderPlan(decoder)


def _has_global_hooks() -> bool:
    """Whether every module's calls are watched."""
    if torch.compiler.is_compiling():
        return False
    # One by one: PyTorch 2.6 has no function that asks for all.
    module = nn.modules.module
    forward = module._global_forward_pre_hooks or module._global_forward_hooks
    return bool(forward or module._global_backward_pre_hooks or module._global_backward_hooks)


def _does_what_its_weights_say(module: nn.Module) -> bool:
    """Whether a module computes what its class is known for, from plain weights, and nobody is told of it."""
    is_watched = (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
    is_known = type(module).forward is _FORWARDS.get(type(module)) and "forward" not in module.__dict__
    return is_known and not is_watched and all(_is_plain(weight) for weight in module._parameters.values())


def _is_plain(weight: torch.Tensor | None) -> bool:
    """Whether a weight is a tensor of numbers, not a quantised, sharded or otherwise wrapped one."""
    return weight is None or (weight.is_floating_point() and not is_traceable_wrapper_subclass(weight))

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Parameter groups of the published recipe for AdamW: CLIP learns slower than the rest, and norms do not decay."""

import re
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ..model.clip_dense_features import is_clip_parameter

# What DDP, `torch.compile`, FSDP, checkpointing and PEFT put around a module shows in its parameters' names.
_WRAPPER = re.compile(r"^module\.|^base_model\.model\.|_orig_mod\.|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.")
# Every class whose own parameters count as "norm" for weight decay. `_NormBase` covers batch norm and instance norm.
_NORM_LAYERS = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm, _NormBase)


def norm_parameter_names(model: nn.Module) -> set[str]:
    """Returns the full names of all parameters (weights and biases) that belong to a norm layer of `model`."""
    return {
        f"{module_name}.{name}" if module_name else name
        for module_name, module in model.named_modules()
        if isinstance(module, _NORM_LAYERS)
        for name, _ in module.named_parameters(recurse=False)
    }


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float = 1e-4,
    clip_learning_rate_multiplier: float = 0.01,
) -> list[dict[str, Any]]:
    """Sorts the trainable parameters of a model into the groups that AdamW takes.

    The published recipe decays every weight but those of norm layers, and lets the parameters of the CLIP towers learn
    at a hundredth of the rate. Biases, learned vectors and embeddings outside of norm layers do decay, as published.

    Args:
        model: an FGASeg model, or any module whose CLIP parameters carry CLIP's names; wrappers do not matter.
        learning_rate: rate of everything that is not CLIP.
        weight_decay: decay of everything that is not in a norm layer.
        clip_learning_rate_multiplier: rate of the CLIP parameters, as a share of `learning_rate`.

    Returns:
        Up to four dictionaries with the keys `name`, `params`, `param_names`, `lr` and `weight_decay`, the head before
        CLIP and decay before no decay, so that the rate of group 0 is the rate that one wants to see logged. Groups
        without parameters are left out; each trainable parameter is in exactly one group; frozen ones are in none.

    Raises:
        ValueError: a rate, decay or multiplier is negative, or nothing in the model is trainable.
    """
    for name, value in (
        ("learning_rate", learning_rate),
        ("weight_decay", weight_decay),
        ("clip_learning_rate_multiplier", clip_learning_rate_multiplier),
    ):
        if value < 0:
            raise ValueError(f"`{name}` is {value}, but must be 0 or more.")

    norms = norm_parameter_names(model)
    groups: dict[str, dict[str, Any]] = {
        f"{part}{suffix}": {
            "name": f"{part}{suffix}",
            "params": [],
            "param_names": [],
            "lr": learning_rate * (clip_learning_rate_multiplier if part == "clip" else 1.0),
            "weight_decay": decay,
        }
        for part in ("head", "clip")
        for suffix, decay in (("", weight_decay), ("_norms", 0.0))
    }
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = "clip" if is_clip_parameter(_WRAPPER.sub("", name)) else "head"
        group = groups[f"{part}_norms" if name in norms else part]
        group["params"].append(parameter)
        group["param_names"].append(name)

    filled = [group for group in groups.values() if group["params"]]
    if not filled:
        raise ValueError("The model has no trainable parameter; unfreeze a part of it (config `trainable_clip`) first.")
    return filled

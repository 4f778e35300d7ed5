# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Converts state dicts of the released FGA-seg and CAT-Seg code to this package's tensors, and back."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ..model.configuration_fgaseg import FGASegConfig
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from .released_config import released_config
from .released_names import CLIP, NOT_WEIGHTS, PREDICTOR, RENAMED, RENAMED_PARTS, to_released_name

# A tensor here that is only a part of a released one: the first of several, or a later one.
_P2TFORMER_ATTENTION = r"p2tformer\.text_layers\.\d+\.attention\."

_FUSED = re.compile(rf"(?:{_P2TFORMER_ATTENTION}q_proj\.(?:weight|bias)|self_attn\.q_proj\.bias)$")

_LATER_PART = re.compile(rf"(?:{_P2TFORMER_ATTENTION}[kv]_proj\.(?:weight|bias)|self_attn\.[kv]_proj\.bias)$")

_GUIDED_ATTENTION = re.compile(r"aggregation_layers.*attention\.(?:query|key)\.weight$")

_GUIDED_CONVOLUTION = re.compile(r"decoder\.upsampling_[12]\.convolutions\.convolution_1\.weight$")


def convert_released_state_dict(
    state_dict: Mapping[str, torch.Tensor], config: FGASegConfig
) -> dict[str, torch.Tensor]:
    """Renames and splits the tensors of a released FGA-seg or CAT-Seg model.

    Args:
        state_dict: The released model's tensors under their released names, in any float type.
        config: The configuration that they belong to, see [`released_config`].

    Returns:
        float32 tensors under the names of [`FGASegForSemanticSegmentation`].

    Raises:
        ValueError: If a released tensor is unknown.
    """
    converted, _, unknown = convert_released_tensors(state_dict, config)
    if unknown:
        raise ValueError(f"The released tensor {unknown[0]!r} is unknown; give a checkpoint of FGA-seg or CAT-Seg.")
    return converted


def convert_released_tensors(
    state_dict: Mapping[str, torch.Tensor], config: FGASegConfig
) -> tuple[dict[str, torch.Tensor], list[str], list[str]]:
    """As [`convert_released_state_dict`], but unknown tensors are named instead of refused.

    Returns:
        The converted tensors; names that hold no weights (masks of shifted windows, mean and deviation of pixels); and
        unknown names.
    """
    converted: dict[str, torch.Tensor] = {}
    left_out: list[str] = []
    unknown: list[str] = []
    for name, tensor in state_dict.items():
        if NOT_WEIGHTS.fullmatch(name):
            left_out.append(name)
        elif parts := _convert_tensor(name, tensor.float() if tensor.is_floating_point() else tensor, config):
            converted.update(parts)
        else:
            unknown.append(name)
    return converted, left_out, unknown


def load_released_model(state_dict: Mapping[str, torch.Tensor], **overrides: Any) -> FGASegForSemanticSegmentation:
    """Builds the model of a released FGA-seg or CAT-Seg state dict.

    Args:
        state_dict: The released model's tensors under their released names.
        **overrides: Fields of [`FGASegConfig`], see [`released_config`].

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: If the state dict is of another model, or a tensor is unknown, missing, or of another shape.
    """
    config = released_config(state_dict, **overrides)
    model = FGASegForSemanticSegmentation(config)
    converted = convert_released_state_dict(state_dict, config)
    expected = model.state_dict()
    for problem, names in (
        ("lacks", sorted(expected.keys() - converted.keys())),
        ("has the unexpected", sorted(converted.keys() - expected.keys())),
    ):
        if names:
            raise ValueError(
                f"The released state dict {problem} {', '.join(names)}; give the whole checkpoint of one model."
            )
    for name, tensor in converted.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"The released tensor for {name} has shape {tuple(tensor.shape)} where {tuple(expected[name].shape)} "
                "is needed; give the checkpoint's own settings as overrides."
            )
    model.load_state_dict(converted)
    return model.eval()


def to_released_state_dict(
    state_dict: Mapping[str, torch.Tensor], config: FGASegConfig, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    """The way back: this package's tensors under the released names and in the released shapes.

    The masks of shifted windows are not among them: the released code computes them when it builds the model.

    Args:
        state_dict: Tensors of [`FGASegForSemanticSegmentation`].
        config: Their configuration.
        dtype: The float type to write; as it is, if not given.

    Returns:
        What [`convert_released_state_dict`] turns into `state_dict` again, bit by bit.

    Raises:
        ValueError: A tensor has no released name.
    """
    released: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        # What was one tensor is written with its first part.
        if name.endswith(("_guidance.weight", ".guidance_convolution.weight")) or _LATER_PART.search(name):
            continue
        parts = [tensor]
        if _GUIDED_ATTENTION.search(name):
            parts.append(state_dict[name.replace(".weight", "_guidance.weight")])
        elif _GUIDED_CONVOLUTION.search(name):
            parts.append(state_dict[name.replace("convolution_1", "guidance_convolution")])
        elif _FUSED.search(name):
            parts += [state_dict[name.replace(".q_proj.", f".{letter}_proj.")] for letter in "kv"]
        whole = torch.cat(parts, dim=0 if _FUSED.search(name) else 1) if len(parts) > 1 else tensor
        if name in ("fgaseg.visual_projection.weight", "fgaseg.text_projection.weight"):
            whole = whole.T.contiguous()
        elif name.endswith((".padding_token", ".padding_guidance")):
            whole = whole[None, None]
        if dtype is not None and whole.is_floating_point():
            whole = whole.to(dtype)
        released[to_released_name(name)] = whole
    return released


def _convert_tensor(name: str, tensor: torch.Tensor, config: FGASegConfig) -> dict[str, torch.Tensor]:
    """One released tensor -> the tensors that it becomes here; none if its name is unknown."""
    # CLIP stores its projections as (in, out) matrices.
    if name == CLIP + "visual.proj":
        return {"fgaseg.visual_projection.weight": tensor.T.contiguous()}
    if name == CLIP + "text_projection":
        return {"fgaseg.text_projection.weight": tensor.T.contiguous()}
    fused = re.fullmatch(PREDICTOR + r"DCDT\.cross_atten_text\.(\d+)\.multihead_attn\.in_proj_(weight|bias)", name)
    if fused:
        return _split_fused(f"fgaseg.p2tformer.text_layers.{fused[1]}.attention", fused[2], tensor)

    for pattern, replacement in RENAMED:
        match = re.match(pattern, name)
        if match and (match.end() == len(name) or replacement.endswith(".")):
            start, rest = match.expand(replacement), name[match.end() :]
            break
    else:
        return {}
    if not rest:
        return {start: tensor}
    if rest in ("padding_tokens", "padding_guidance"):
        return {start + {"padding_tokens": "padding_token"}.get(rest, rest): tensor.flatten()}
    fused = re.fullmatch(r"attn\.in_proj_(weight|bias)", rest)
    if fused:
        return _split_fused(start + "self_attn", fused[1], tensor)
    single = re.fullmatch(r"attn\.([qkv]_proj)_weight", rest)
    if single:
        return {f"{start}self_attn.{single[1]}.weight": tensor}

    part, _, kind = rest.rpartition(".")
    if start.endswith(".convolutions."):
        part = f"double_conv.{part}"
    if not part:
        return {start + kind: tensor}
    if part not in RENAMED_PARTS:
        return {}
    target = f"{start}{RENAMED_PARTS[part]}.{kind}"
    return _split_guidance(target, tensor, config)


def _split_fused(prefix: str, kind: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """A fused query, key, value tensor -> one each."""
    parts = tensor.chunk(3)
    return {f"{prefix}.{letter}_proj.{kind}": part.clone() for letter, part in zip("qkv", parts, strict=True)}


def _split_guidance(target: str, tensor: torch.Tensor, config: FGASegConfig) -> dict[str, torch.Tensor]:
    """A weight on [cost embedding, guidance] -> one on each, since guidance is the same for every class."""
    is_attention = re.search(r"aggregation_layers.*attention\.(query|key)\.weight$", target)
    if is_attention:
        dim = config.decoder_hidden_dim
        guidance_name = target.replace(f"{is_attention[1]}.weight", f"{is_attention[1]}_guidance.weight")
        return {target: tensor[:, :dim].clone(), guidance_name: tensor[:, dim:].clone()}
    stage = re.search(r"upsampling_([12])\.convolutions\.convolution_1\.weight$", target)
    if stage and "local_upsampling" not in target:
        dim = tensor.shape[1] - config.projected_guidance_dims[int(stage[1]) - 1]
        guidance_name = target.replace("convolution_1", "guidance_convolution")
        return {target: tensor[:, :dim].clone(), guidance_name: tensor[:, dim:].clone()}
    return {target: tensor}


__all__ = ["convert_released_state_dict", "convert_released_tensors", "load_released_model", "to_released_state_dict"]

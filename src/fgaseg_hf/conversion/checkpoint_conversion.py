# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Converts state dicts of the released FGA-seg and CAT-Seg code to this package's names and configuration."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from ..model.configuration_fgaseg import FGASegConfig
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from .clip_conversion import RENAMED_BLOCK_PARTS, num_attention_heads

_PREDICTOR = "sem_seg_head.predictor."
_CLIP = _PREDICTOR + "clip_model."
_DECODER = _PREDICTOR + "transformer."

# Released name (a pattern) -> name here. Every released tensor answers to exactly one row.
_RENAMED = [
    # CLIP, image tower
    (_CLIP + r"visual\.class_embedding", "fgaseg.vision_model.embeddings.class_embedding"),
    (_CLIP + r"visual\.conv1\.weight", "fgaseg.vision_model.embeddings.patch_embedding.weight"),
    (_CLIP + r"visual\.positional_embedding", "fgaseg.vision_model.embeddings.position_embedding.weight"),
    (_CLIP + r"visual\.ln_pre\.(weight|bias)", r"fgaseg.vision_model.pre_layrnorm.\1"),
    (_CLIP + r"visual\.ln_post\.(weight|bias)", r"fgaseg.vision_model.post_layernorm.\1"),
    (_CLIP + r"visual\.transformer\.resblocks\.(\d+)\.", r"fgaseg.vision_model.encoder.layers.\1."),
    # CLIP, text tower
    (_CLIP + r"token_embedding\.weight", "fgaseg.text_model.embeddings.token_embedding.weight"),
    (_CLIP + r"positional_embedding", "fgaseg.text_model.embeddings.position_embedding.weight"),
    (_CLIP + r"ln_final\.(weight|bias)", r"fgaseg.text_model.final_layer_norm.\1"),
    (_CLIP + r"transformer\.resblocks\.(\d+)\.", r"fgaseg.text_model.encoder.layers.\1."),
    (_CLIP + r"logit_scale", "fgaseg.logit_scale"),
    # guidance
    (r"upsample1\.(weight|bias)", r"fgaseg.upsampling_guidance.coarse.\1"),
    (r"upsample2\.(weight|bias)", r"fgaseg.upsampling_guidance.fine.\1"),
    # P2Tformer
    (_PREDICTOR + r"DCDT\.gamma_text", "fgaseg.p2tformer.text_scale"),
    (_PREDICTOR + r"DCDT\.cross_atten_text\.(\d+)\.MLP\.(weight|bias)", r"fgaseg.p2tformer.text_layers.\1.linear.\2"),
    (_PREDICTOR + r"DCDT\.cross_atten_text\.(\d+)\.norm\.(weight|bias)", r"fgaseg.p2tformer.text_layers.\1.norm.\2"),
    (
        _PREDICTOR + r"DCDT\.cross_atten_text\.(\d+)\.multihead_attn\.out_proj\.(weight|bias)",
        r"fgaseg.p2tformer.text_layers.\1.attention.out_proj.\2",
    ),
    # alignment head
    (_PREDICTOR + r"proj\.vis\.1\.0\.weight", "alignment_head.convolution_1.weight"),
    (_PREDICTOR + r"proj\.vis\.1\.1\.", "alignment_head.norm_1."),
    (_PREDICTOR + r"proj\.vis\.3\.0\.weight", "alignment_head.convolution_2.weight"),
    (_PREDICTOR + r"proj\.vis\.3\.1\.", "alignment_head.norm_2."),
    (_PREDICTOR + r"proj\.vis\.4\.(weight|bias)", r"alignment_head.projection.\1"),
    (_PREDICTOR + r"proj\.txt\.(weight|bias)", r"alignment_head.kernel_projection.\1"),
    # local pseudo-masks
    (_DECODER + r"Local_align\.txt\.(weight|bias)", r"fgaseg.local_pseudo_masks.kernel_projection.\1"),
    # decoder
    (_DECODER + r"conv1\.(weight|bias)", r"decoder.global_embedding.convolution.\1"),
    (_DECODER + r"conv2\.(weight|bias)", r"decoder.local_embedding.convolution.\1"),
    (_DECODER + r"guidance_projection\.0\.(weight|bias)", r"decoder.appearance_projection.convolution.\1"),
    (_DECODER + r"text_guidance_projection\.0\.(weight|bias)", r"decoder.text_projection.\1"),
    (
        _DECODER + r"decoder_guidance_projection\.(\d)\.0\.(weight|bias)",
        r"decoder.guidance_projections.\1.convolution.\2",
    ),
    (_DECODER + r"conv_cat\.(weight|bias)", r"decoder.fusions.0.linear.\1"),
    (_DECODER + r"conv_cat_decoder_1\.(weight|bias)", r"decoder.fusions.1.linear.\1"),
    (_DECODER + r"conv_cat_decoder_2\.(weight|bias)", r"decoder.fusions.2.linear.\1"),
    (_DECODER + r"head_auxi_(\d)\.(weight|bias)", r"decoder.auxiliary_heads.\1.convolution.\2"),
    (_DECODER + r"head\.(weight|bias)", r"decoder.head.convolution.\1"),
    (_DECODER + r"decoder(\d)\.up\.(weight|bias)", r"decoder.upsampling_\1.upsampling.\2"),
    (_DECODER + r"decoder(\d)\.conv\.double_conv\.", r"decoder.upsampling_\1.convolutions."),
    (_DECODER + r"corr_local_decoder_projection\.0\.(weight|bias)", r"decoder.local_upsampling.upsampling.\1"),
    (_DECODER + r"corr_local_decoder_projection\.1\.double_conv\.", "decoder.local_upsampling.convolutions."),
    # aggregation
    (
        _DECODER + r"layers\.(\d+)\.swin_block\.guidance_norm\.(weight|bias)",
        r"decoder.aggregation_layers.\1.spatial_aggregation.guidance_norm.\2",
    ),
    (
        _DECODER + r"layers\.(\d+)\.swin_block\.block_1\.",
        r"decoder.aggregation_layers.\1.spatial_aggregation.blocks.0.",
    ),
    (
        _DECODER + r"layers\.(\d+)\.swin_block\.block_2\.",
        r"decoder.aggregation_layers.\1.spatial_aggregation.blocks.1.",
    ),
    (_DECODER + r"layers\.(\d+)\.attention\.", r"decoder.aggregation_layers.\1.class_aggregation."),
]

# What follows one of the prefixes above that end in a dot.
_RENAMED_PARTS = {
    **RENAMED_BLOCK_PARTS,
    "double_conv.0": "convolution_1",
    "double_conv.1": "norm_1",
    "double_conv.3": "convolution_2",
    "double_conv.4": "norm_2",
    "norm1": "norm_1",
    "norm2": "norm_2",
    "attn.q": "attention.query",
    "attn.k": "attention.key",
    "attn.v": "attention.value",
    "attn.proj": "attention.output",
    "mlp.fc1": "feed_forward.fc1",
    "mlp.fc2": "feed_forward.fc2",
    "attention.q": "attention.query",
    "attention.k": "attention.key",
    "attention.v": "attention.value",
    "MLP.0": "feed_forward.fc1",
    "MLP.2": "feed_forward.fc2",
}

# Tensors that hold no weight: the shifted windows' mask is computed from the grid here.
_NOT_WEIGHTS = re.compile(_DECODER + r"layers\.\d+\.swin_block\.block_\d\.attn_mask|.*(pixel_mean|pixel_std)")


def released_config(state_dict: Mapping[str, torch.Tensor], **overrides: Any) -> FGASegConfig:
    """Reads the architecture off the shapes of a released state dict.

    Shapes do not tell attention heads, windows or guidance layers; CLIP's rule (see [`num_attention_heads`]) and the
    published values stand for them unless overridden.

    Args:
        state_dict: The released model's tensors under their released names.
        **overrides: Fields of [`FGASegConfig`] that replace what was read; `text_config` and `vision_config` as partial
            dictionaries.

    Raises:
        ValueError: If the state dict is not one of FGA-seg or CAT-Seg.
    """
    missing = [name for name in (_CLIP + "visual.proj", _DECODER + "conv1.weight") if name not in state_dict]
    if missing:
        raise ValueError(
            f"The state dict has no {missing[0]!r}, so it is not one of FGA-seg or CAT-Seg; give a checkpoint of "
            f"their code."
        )

    def shape(name: str) -> torch.Size:
        if name not in state_dict:
            raise ValueError(f"The state dict lacks {name!r}: give the whole checkpoint of FGA-seg or CAT-Seg.")
        if state_dict[name].dim() < (4 if name.endswith("conv1.weight") else 2):
            raise ValueError(
                f"The released tensor {name!r} has shape {tuple(state_dict[name].shape)}, which is not FGA-seg's nor "
                "CAT-Seg's: give an untouched checkpoint."
            )
        return state_dict[name].shape

    def depth(prefix: str) -> int:
        pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
        found = {int(match[1]) for match in map(pattern.match, state_dict) if match}
        return len(found)

    width, _, patch_size, _ = shape(_CLIP + "visual.conv1.weight")
    positions = shape(_CLIP + "visual.positional_embedding")[0] - 1
    vocabulary, text_width = shape(_CLIP + "token_embedding.weight")
    projection_dim = shape(_CLIP + "visual.proj")[1]
    if round(positions**0.5) ** 2 != positions:
        raise ValueError(
            f"The released tensor {_CLIP + 'visual.positional_embedding'!r} has {positions + 1} rows, which are no "
            "square grid and a class token: give an untouched checkpoint."
        )
    is_fgaseg = _DECODER + "conv2.weight" in state_dict
    p2tformer_layers = depth(_PREDICTOR + "DCDT.cross_atten_text.")
    text_config = {
        "vocab_size": vocabulary,
        "hidden_size": text_width,
        "intermediate_size": shape(_CLIP + "transformer.resblocks.0.mlp.c_fc.weight")[0],
        "num_hidden_layers": depth(_CLIP + "transformer.resblocks."),
        "num_attention_heads": num_attention_heads(text_width),
        "max_position_embeddings": shape(_CLIP + "positional_embedding")[0],
        "projection_dim": projection_dim,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }
    vision_config = {
        "hidden_size": width,
        "intermediate_size": shape(_CLIP + "visual.transformer.resblocks.0.mlp.c_fc.weight")[0],
        "num_hidden_layers": depth(_CLIP + "visual.transformer.resblocks."),
        "num_attention_heads": num_attention_heads(width, is_vision=True),
        "patch_size": patch_size,
        "image_size": round(positions**0.5) * patch_size,
        "projection_dim": projection_dim,
    }
    kernel_outputs = {
        "alignment_kernel_size": (_PREDICTOR + "proj.txt.weight", projection_dim // 2),
        "local_kernel_size": (_DECODER + "Local_align.txt.weight", projection_dim),
    }
    kernel_sizes = {
        field: round(((shape(name)[0] - 1) / channels) ** 0.5)
        for field, (name, channels) in kernel_outputs.items()
        if name in state_dict
    }
    fields = {
        "projection_dim": projection_dim,
        "image_size": 24 * patch_size,
        "upsampling_guidance_dims": [shape("upsample1.weight")[1], shape("upsample2.weight")[1]],
        "p2tformer_num_layers": p2tformer_layers,
        "use_alignment_head": _PREDICTOR + "proj.txt.weight" in state_dict,
        "use_local_pseudo_masks": is_fgaseg,
        "fusion": "cat" if not is_fgaseg or _DECODER + "conv_cat.weight" in state_dict else "add",
        "use_auxiliary_heads": _DECODER + "head_auxi_0.weight" in state_dict,
        "decoder_hidden_dim": shape(_DECODER + "conv1.weight")[0],
        "num_aggregation_layers": depth(_DECODER + "layers."),
        "appearance_guidance_dim": shape(_DECODER + "guidance_projection.0.weight")[0],
        "text_guidance_dim": shape(_DECODER + "text_guidance_projection.0.weight")[0],
        "projected_guidance_dims": [
            shape(_DECODER + f"decoder_guidance_projection.{stage}.0.weight")[0] for stage in range(2)
        ],
        "decoder_dims": [shape(_DECODER + f"decoder{stage}.conv.double_conv.0.weight")[0] for stage in (1, 2)],
        **kernel_sizes,
    }
    text_config |= overrides.pop("text_config", {})
    vision_config |= overrides.pop("vision_config", {})
    return FGASegConfig(**{**fields, "text_config": text_config, "vision_config": vision_config, **overrides})


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
        if _NOT_WEIGHTS.fullmatch(name):
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


def released_layout(config: FGASegConfig) -> str:
    """Says which released code has an architecture: `"catseg"` or `"fga-seg"`.

    Raises:
        ValueError: Neither has it; the message names the field that is in the way.
    """
    blocks = {
        "p2tformer_num_layers": config.p2tformer_num_layers > 0,
        "use_alignment_head": config.use_alignment_head,
        "use_local_pseudo_masks": config.use_local_pseudo_masks,
        "use_auxiliary_heads": config.use_auxiliary_heads,
    }
    if not any(blocks.values()):
        return "catseg"
    for field in ("p2tformer_num_layers", "use_alignment_head", "use_local_pseudo_masks"):
        if not blocks[field]:
            raise ValueError(
                f"The model has `{field}` {getattr(config, field)}, which neither released code has: FGA-seg has all "
                "blocks, CAT-Seg none of them."
            )
    if config.p2tformer_direction != "text":
        raise ValueError("The model's P2Tformer is dual, which the released FGA-seg is not: only `text` can go back.")
    return "fga-seg"


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
        released[_released_name(name)] = whole
    return released


# A tensor here that is only a part of a released one: the first of several, or a later one.
_P2TFORMER_ATTENTION = r"p2tformer\.text_layers\.\d+\.attention\."
_FUSED = re.compile(rf"(?:{_P2TFORMER_ATTENTION}q_proj\.(?:weight|bias)|self_attn\.q_proj\.bias)$")
_LATER_PART = re.compile(rf"(?:{_P2TFORMER_ATTENTION}[kv]_proj\.(?:weight|bias)|self_attn\.[kv]_proj\.bias)$")
_GUIDED_ATTENTION = re.compile(r"aggregation_layers.*attention\.(?:query|key)\.weight$")
_GUIDED_CONVOLUTION = re.compile(r"decoder\.upsampling_[12]\.convolutions\.convolution_1\.weight$")

# Parts of names, from here to the released code, by what stands before them.
_RELEASED_PARTS: list[tuple[str, dict[str, str]]] = [
    (
        r"encoder\.layers\.\d+\.",
        {
            "layer_norm1": "ln_1",
            "layer_norm2": "ln_2",
            "mlp.fc1": "mlp.c_fc",
            "mlp.fc2": "mlp.c_proj",
            "self_attn.out_proj": "attn.out_proj",
        },
    ),
    (
        r"spatial_aggregation\.blocks\.\d\.",
        {
            "norm_1": "norm1",
            "norm_2": "norm2",
            "attention.query": "attn.q",
            "attention.key": "attn.k",
            "attention.value": "attn.v",
            "attention.output": "attn.proj",
            "feed_forward.fc1": "mlp.fc1",
            "feed_forward.fc2": "mlp.fc2",
        },
    ),
    (
        r"class_aggregation\.",
        {
            "norm_1": "norm1",
            "norm_2": "norm2",
            "attention.query": "attention.q",
            "attention.key": "attention.k",
            "attention.value": "attention.v",
            "feed_forward.fc1": "MLP.0",
            "feed_forward.fc2": "MLP.2",
        },
    ),
    (r"\.convolutions\.", {"convolution_1": "0", "norm_1": "1", "convolution_2": "3", "norm_2": "4"}),
]


def _released_name(name: str) -> str:
    """A tensor's name here -> its released name."""
    if name == "fgaseg.visual_projection.weight":
        return _CLIP + "visual.proj"
    if name == "fgaseg.text_projection.weight":
        return _CLIP + "text_projection"
    if fused := re.fullmatch(r"fgaseg\.p2tformer\.text_layers\.(\d+)\.attention\.q_proj\.(weight|bias)", name):
        return f"{_PREDICTOR}DCDT.cross_atten_text.{fused[1]}.multihead_attn.in_proj_{fused[2]}"
    for pattern, replacement in _RENAMED:
        inverse, template = _invert(pattern, replacement)
        match = re.match(inverse, name)
        if match and (match.end() == len(name) or replacement.endswith(".")):
            start, rest = match.expand(template), name[match.end() :]
            break
    else:
        raise ValueError(f"The released code has no tensor for {name}: only FGA-seg and CAT-Seg models can go back.")
    if not rest or "." not in rest:
        return start + {"padding_token": "padding_tokens"}.get(rest, rest)
    if rest == "self_attn.q_proj.bias":
        return f"{start}attn.in_proj_bias"
    if projection := re.fullmatch(r"self_attn\.([qkv]_proj)\.weight", rest):
        return f"{start}attn.{projection[1]}_weight"
    part, _, kind = rest.rpartition(".")
    for context, parts in _RELEASED_PARTS:
        if re.search(context + "$", name[: match.end()]) and part in parts:
            return f"{start}{parts[part]}.{kind}"
    raise ValueError(f"The released code has no tensor for {name}: only FGA-seg and CAT-Seg models can go back.")


def _invert(pattern: str, replacement: str) -> tuple[str, str]:
    """Turns a row of the table round: a pattern of names here, and the released name to expand."""
    groups = re.findall(r"\((.*?)\)", pattern)
    pieces = re.split(r"\\(\d)", replacement)
    inverse = "".join(
        f"({groups[int(piece) - 1]})" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)
    )
    numbers = iter(range(1, len(groups) + 1))
    template = re.sub(r"\(.*?\)", lambda _: rf"\{next(numbers)}", pattern).replace(r"\.", ".")
    return inverse, template


def _convert_tensor(name: str, tensor: torch.Tensor, config: FGASegConfig) -> dict[str, torch.Tensor]:
    """One released tensor -> the tensors that it becomes here; none if its name is unknown."""
    # CLIP stores its projections as (in, out) matrices.
    if name == _CLIP + "visual.proj":
        return {"fgaseg.visual_projection.weight": tensor.T.contiguous()}
    if name == _CLIP + "text_projection":
        return {"fgaseg.text_projection.weight": tensor.T.contiguous()}
    fused = re.fullmatch(_PREDICTOR + r"DCDT\.cross_atten_text\.(\d+)\.multihead_attn\.in_proj_(weight|bias)", name)
    if fused:
        return _split_fused(f"fgaseg.p2tformer.text_layers.{fused[1]}.attention", fused[2], tensor)

    for pattern, replacement in _RENAMED:
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
    if part not in _RENAMED_PARTS:
        return {}
    target = f"{start}{_RENAMED_PARTS[part]}.{kind}"
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


__all__ = [
    "convert_released_state_dict",
    "convert_released_tensors",
    "load_released_model",
    "released_config",
    "released_layout",
    "to_released_state_dict",
]

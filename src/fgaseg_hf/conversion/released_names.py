# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Names of tensors in the released FGA-seg and CAT-Seg code and here: one table for both ways."""

import re

from .clip_conversion import RENAMED_BLOCK_PARTS

# Where the released code keeps its parts.
PREDICTOR = "sem_seg_head.predictor."

CLIP = PREDICTOR + "clip_model."

DECODER = PREDICTOR + "transformer."

# Released name (a pattern) -> name here. Every released tensor answers to exactly one row.
RENAMED = [
    # CLIP, image tower
    (CLIP + r"visual\.class_embedding", "fgaseg.vision_model.embeddings.class_embedding"),
    (CLIP + r"visual\.conv1\.weight", "fgaseg.vision_model.embeddings.patch_embedding.weight"),
    (CLIP + r"visual\.positional_embedding", "fgaseg.vision_model.embeddings.position_embedding.weight"),
    (CLIP + r"visual\.ln_pre\.(weight|bias)", r"fgaseg.vision_model.pre_layrnorm.\1"),
    (CLIP + r"visual\.ln_post\.(weight|bias)", r"fgaseg.vision_model.post_layernorm.\1"),
    (CLIP + r"visual\.transformer\.resblocks\.(\d+)\.", r"fgaseg.vision_model.encoder.layers.\1."),
    # CLIP, text tower
    (CLIP + r"token_embedding\.weight", "fgaseg.text_model.embeddings.token_embedding.weight"),
    (CLIP + r"positional_embedding", "fgaseg.text_model.embeddings.position_embedding.weight"),
    (CLIP + r"ln_final\.(weight|bias)", r"fgaseg.text_model.final_layer_norm.\1"),
    (CLIP + r"transformer\.resblocks\.(\d+)\.", r"fgaseg.text_model.encoder.layers.\1."),
    (CLIP + r"logit_scale", "fgaseg.logit_scale"),
    # guidance
    (r"upsample1\.(weight|bias)", r"fgaseg.upsampling_guidance.coarse.\1"),
    (r"upsample2\.(weight|bias)", r"fgaseg.upsampling_guidance.fine.\1"),
    # P2Tformer
    (PREDICTOR + r"DCDT\.gamma_text", "fgaseg.p2tformer.text_scale"),
    (PREDICTOR + r"DCDT\.cross_atten_text\.(\d+)\.MLP\.(weight|bias)", r"fgaseg.p2tformer.text_layers.\1.linear.\2"),
    (PREDICTOR + r"DCDT\.cross_atten_text\.(\d+)\.norm\.(weight|bias)", r"fgaseg.p2tformer.text_layers.\1.norm.\2"),
    (
        PREDICTOR + r"DCDT\.cross_atten_text\.(\d+)\.multihead_attn\.out_proj\.(weight|bias)",
        r"fgaseg.p2tformer.text_layers.\1.attention.out_proj.\2",
    ),
    # alignment head
    (PREDICTOR + r"proj\.vis\.1\.0\.weight", "alignment_head.convolution_1.weight"),
    (PREDICTOR + r"proj\.vis\.1\.1\.", "alignment_head.norm_1."),
    (PREDICTOR + r"proj\.vis\.3\.0\.weight", "alignment_head.convolution_2.weight"),
    (PREDICTOR + r"proj\.vis\.3\.1\.", "alignment_head.norm_2."),
    (PREDICTOR + r"proj\.vis\.4\.(weight|bias)", r"alignment_head.projection.\1"),
    (PREDICTOR + r"proj\.txt\.(weight|bias)", r"alignment_head.kernel_projection.\1"),
    # local pseudo-masks
    (DECODER + r"Local_align\.txt\.(weight|bias)", r"fgaseg.local_pseudo_masks.kernel_projection.\1"),
    # decoder
    (DECODER + r"conv1\.(weight|bias)", r"decoder.global_embedding.convolution.\1"),
    (DECODER + r"conv2\.(weight|bias)", r"decoder.local_embedding.convolution.\1"),
    (DECODER + r"guidance_projection\.0\.(weight|bias)", r"decoder.appearance_projection.convolution.\1"),
    (DECODER + r"text_guidance_projection\.0\.(weight|bias)", r"decoder.text_projection.\1"),
    (
        DECODER + r"decoder_guidance_projection\.(\d)\.0\.(weight|bias)",
        r"decoder.guidance_projections.\1.convolution.\2",
    ),
    (DECODER + r"conv_cat\.(weight|bias)", r"decoder.fusions.0.linear.\1"),
    (DECODER + r"conv_cat_decoder_1\.(weight|bias)", r"decoder.fusions.1.linear.\1"),
    (DECODER + r"conv_cat_decoder_2\.(weight|bias)", r"decoder.fusions.2.linear.\1"),
    (DECODER + r"head_auxi_(\d)\.(weight|bias)", r"decoder.auxiliary_heads.\1.convolution.\2"),
    (DECODER + r"head\.(weight|bias)", r"decoder.head.convolution.\1"),
    (DECODER + r"decoder(\d)\.up\.(weight|bias)", r"decoder.upsampling_\1.upsampling.\2"),
    (DECODER + r"decoder(\d)\.conv\.double_conv\.", r"decoder.upsampling_\1.convolutions."),
    (DECODER + r"corr_local_decoder_projection\.0\.(weight|bias)", r"decoder.local_upsampling.upsampling.\1"),
    (DECODER + r"corr_local_decoder_projection\.1\.double_conv\.", "decoder.local_upsampling.convolutions."),
    # aggregation
    (
        DECODER + r"layers\.(\d+)\.swin_block\.guidance_norm\.(weight|bias)",
        r"decoder.aggregation_layers.\1.spatial_aggregation.guidance_norm.\2",
    ),
    (
        DECODER + r"layers\.(\d+)\.swin_block\.block_1\.",
        r"decoder.aggregation_layers.\1.spatial_aggregation.blocks.0.",
    ),
    (
        DECODER + r"layers\.(\d+)\.swin_block\.block_2\.",
        r"decoder.aggregation_layers.\1.spatial_aggregation.blocks.1.",
    ),
    (DECODER + r"layers\.(\d+)\.attention\.", r"decoder.aggregation_layers.\1.class_aggregation."),
]

# What follows one of the prefixes above that end in a dot.
RENAMED_PARTS = {
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
NOT_WEIGHTS = re.compile(DECODER + r"layers\.\d+\.swin_block\.block_\d\.attn_mask|.*(pixel_mean|pixel_std)")

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


def to_released_name(name: str) -> str:
    """A tensor's name here -> its released name."""
    if name == "fgaseg.visual_projection.weight":
        return CLIP + "visual.proj"
    if name == "fgaseg.text_projection.weight":
        return CLIP + "text_projection"
    if fused := re.fullmatch(r"fgaseg\.p2tformer\.text_layers\.(\d+)\.attention\.q_proj\.(weight|bias)", name):
        return f"{PREDICTOR}DCDT.cross_atten_text.{fused[1]}.multihead_attn.in_proj_{fused[2]}"
    for pattern, replacement in RENAMED:
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


__all__ = ["CLIP", "DECODER", "NOT_WEIGHTS", "PREDICTOR", "RENAMED", "RENAMED_PARTS", "to_released_name"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""CLIP's state dicts: architecture from shapes, and the same numbers as the original mathematics."""

import pytest
import torch
from tiny_original_clips import FAMILIES, SMALL_HEAD, prompts, tiny_hub_clip, tiny_openai_clip
from torch import nn

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation
from fgaseg_hf.conversion.clip_conversion import (
    clip_config_fields,
    convert_clip_state_dict,
    has_openai_marks,
    is_clip_state_dict,
    num_attention_heads,
)
from fgaseg_hf.model.clip_dense_features import is_clip_parameter


def build(state_dict: dict[str, torch.Tensor], activation: str) -> FGASegForSemanticSegmentation:
    fields = clip_config_fields(state_dict, activation)
    width = fields["vision_config"]["hidden_size"]
    # In small, H/14's and bigG's wide heads cannot be told by the tower's width.
    fields["vision_config"]["num_attention_heads"] = {160: 2, 208: 2}.get(width, num_attention_heads(width, True))
    patch_size = fields["vision_config"]["patch_size"]
    config = FGASegConfig(**fields, **SMALL_HEAD, image_size=12 * patch_size)
    converted, _, unknown = convert_clip_state_dict(state_dict)
    assert not unknown
    model = FGASegForSemanticSegmentation(config).eval()
    missing, unexpected = model.load_state_dict(converted, strict=False)
    assert not unexpected
    assert not [name for name in missing if is_clip_parameter(name)]
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_same_numbers_as_the_original(family):
    clip = tiny_openai_clip(family)
    model = build(clip.state_dict(), FAMILIES[family]["activation"])
    vision = model.config.vision_config
    assert vision.patch_size == FAMILIES[family]["patch"]
    assert vision.image_size == FAMILIES[family]["patch"] * FAMILIES[family]["grid"]
    depth = FAMILIES[family]["depth"]
    assert vision.num_hidden_layers == depth
    assert list(model.config.guidance_layers) == [depth // 3, 2 * depth // 3]
    pictures, input_ids = torch.randn(2, 3, vision.image_size, vision.image_size), prompts()
    with torch.no_grad():
        text = nn.functional.normalize(clip.encode_text(input_ids), dim=-1)
        assert torch.allclose(model.get_text_embeddings(input_ids), text, atol=1e-5)
        states = clip.visual.embed(pictures)
        ours = model.fgaseg.vision_model(pictures, output_hidden_states=True).hidden_states
        # All blocks but the last, which is dense here.
        for index, block in enumerate(clip.visual.transformer.resblocks[:-1]):
            assert torch.allclose(ours[index], states, atol=1e-4), index
            states = block(states, None)
        assert torch.allclose(ours[depth - 1], states, atol=1e-4)
        # The last block: each patch's own value on the class token's residual.
        last = clip.visual.transformer.resblocks[-1]
        weight, bias = last.attn.in_proj_weight.chunk(3)[2], last.attn.in_proj_bias.chunk(3)[2]
        dense = states[:, :1] + last.attn.out_proj(last.ln_1(states) @ weight.T + bias)
        dense = clip.visual.ln_post(dense + last.mlp(last.ln_2(dense))) @ clip.visual.proj
        features = model.fgaseg(pictures, input_ids).patch_features
    assert torch.allclose(features.flatten(2).transpose(1, 2), dense[:, 1:], atol=1e-4)


def test_the_activation_makes_a_difference():
    clip = tiny_openai_clip("B/16")
    input_ids = prompts()
    right, wrong = (build(clip.state_dict(), name).get_text_embeddings(input_ids) for name in ("quick_gelu", "gelu"))
    assert (right - wrong).abs().max() > 1e-3


def test_layouts_of_openclip():
    clip = tiny_openai_clip("H/14").state_dict()
    text_parts = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.")
    moved = {(f"text.{name}" if name.startswith(text_parts) else name): tensor for name, tensor in clip.items()}
    # A linear layer instead of a matrix, and the causal mask as a buffer.
    moved["text.text_projection.weight"] = moved.pop("text_projection").T
    moved["text.attn_mask"] = torch.zeros(3, 3)
    assert is_clip_state_dict(moved)
    assert clip_config_fields(moved, "gelu") == clip_config_fields(clip, "gelu")
    converted, left_out, unknown = convert_clip_state_dict(moved)
    expected, _, _ = convert_clip_state_dict(clip)
    assert left_out == ["text.attn_mask"] and not unknown
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[name], expected[name]) for name in expected)


def test_unknown_tensors_are_named():
    clip = tiny_openai_clip().state_dict()
    odd = {
        "visual.prompt": torch.zeros(2),
        "transformer.resblocks.0.attn.in_proj_weight": torch.zeros(4, 4),
        "logit_bias": torch.zeros(()),
    }
    _, left_out, unknown = convert_clip_state_dict({**clip, **odd, "vocab_size": torch.tensor(3)})
    assert sorted(unknown) == sorted(odd) and left_out == ["vocab_size"]
    assert has_openai_marks({"vocab_size": torch.tensor(3)}) and not has_openai_marks(clip)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda clip: clip.update({"visual.layer1.0.conv1.weight": torch.zeros(1)}), "is a ResNet"),
        (lambda clip: clip.update({"visual.trunk.cls_token": torch.zeros(1)}), "is a timm model"),
        (lambda clip: clip.pop("visual.proj"), "lacks visual.proj"),
        (lambda clip: clip.update({"visual.proj": torch.zeros(3)}), "visual.proj has shape"),
        (lambda clip: clip.update({"visual.positional_embedding": torch.zeros(12, 64)}), "no square grid"),
    ],
)
def test_a_state_dict_of_something_else_is_refused(change, message):
    clip = tiny_openai_clip().state_dict()
    change(clip)
    with pytest.raises(ValueError, match=message):
        clip_config_fields(clip, "gelu")


def test_heads_of_the_published_towers():
    # Image and text widths and heads of B, L, H/14, g/14 and bigG, as OpenCLIP's model files have them.
    assert [num_attention_heads(width, is_vision=True) for width in (768, 1024, 1280, 1408, 1664)] == [12] + [16] * 4
    assert [num_attention_heads(width) for width in (512, 768, 1024, 1280)] == [8, 12, 16, 20]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("grid", [(5, 8)])
def test_towers_of_the_hub_run_on_any_grid(family, grid, tmp_path):
    clip = tiny_hub_clip(family)
    clip.save_pretrained(tmp_path)
    model = FGASegForSemanticSegmentation.from_clip(tmp_path, **SMALL_HEAD)
    shape = FAMILIES[family]
    assert list(model.config.guidance_layers) == [shape["depth"] // 3, 2 * shape["depth"] // 3]
    # 384 pixels where the patches divide it, as published for B/16, or else 24 patches, as published for L/14.
    assert model.config.image_size == (336 if shape["patch"] == 14 else 384)
    pictures = torch.randn(1, 3, grid[0] * shape["patch"], grid[1] * shape["patch"])
    with torch.no_grad():
        output = model(pixel_values=pictures, input_ids=prompts(3))
        towers = clip.get_text_features(input_ids=prompts(3))
    assert output.logits.shape == (1, 3, 4 * grid[0], 4 * grid[1])
    assert output.logits.isfinite().all()
    towers = getattr(towers, "pooler_output", towers)
    assert output.text_embeddings[0].shape == towers.shape


def test_a_towers_own_grid_needs_no_interpolation(tmp_path):
    clip = tiny_hub_clip("L/14@336")
    clip.save_pretrained(tmp_path)
    model = FGASegForSemanticSegmentation.from_clip(tmp_path, **SMALL_HEAD)
    pictures, input_ids = torch.randn(1, 3, 336, 336), prompts()
    with torch.no_grad():
        ours = model.fgaseg.vision_model(pictures, output_hidden_states=True, interpolate_pos_encoding=True)
        theirs = clip.vision_model(pictures, output_hidden_states=True)
        text = clip.get_text_features(input_ids=input_ids)
    assert torch.allclose(ours.hidden_states[-2], theirs.hidden_states[-2], atol=1e-5)
    text = getattr(text, "pooler_output", text)
    assert torch.allclose(model.get_text_embeddings(input_ids), nn.functional.normalize(text, dim=-1), atol=1e-5)

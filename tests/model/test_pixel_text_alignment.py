# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The P2Tformer and its parts, beside PyTorch's own attention and positions written out."""

import math

import pytest
import torch
from tiny_models import tiny_config

from fgaseg_hf.model.pixel_text_alignment import (
    FGASegAlignmentHead,
    FGASegCrossAttention,
    FGASegP2Tformer,
    convolve_with_class_kernels,
    sine_positions,
)


def attention_config(**fields):
    config = tiny_config(**fields)
    config._attn_implementation = "sdpa"
    return config


def test_cross_attention_is_pytorchs_multi_head_attention():
    torch.manual_seed(0)
    ours = FGASegCrossAttention(attention_config())
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
        queries, keys, values = torch.randn(2, 3, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
        expected, _ = theirs(queries, keys, values)
        torch.testing.assert_close(ours(queries, keys, values), expected, atol=1e-6, rtol=1e-5)


def test_sine_positions_are_detrs():
    height, width, dim = 3, 5, 16
    positions = sine_positions(height, width, dim, torch.zeros(1)).view(height, width, dim)
    for row, column, axis, channel in [(0, 0, 0, 0), (2, 1, 0, 3), (1, 4, 1, 6), (2, 3, 1, 1)]:
        place, length = ((row, height), (column, width))[axis]
        angle = (place + 1) / (length + 1e-6) * 2 * math.pi / 10000 ** (2 * (channel // 2) / (dim / 2))
        expected = math.cos(angle) if channel % 2 else math.sin(angle)
        assert abs(positions[row, column, axis * dim // 2 + channel].item() - expected) < 1e-5


def test_a_scale_of_zero_leaves_the_words_alone():
    module = FGASegP2Tformer(attention_config(p2tformer_scale_init=0))
    text, patches = torch.randn(2, 3, 16), torch.randn(2, 16, 4, 5)
    aligned, same_patches = module(text, patches)
    assert torch.equal(aligned, text) and torch.equal(same_patches, patches)


def test_the_dual_form_updates_patches_from_words():
    torch.manual_seed(0)
    module = FGASegP2Tformer(attention_config(p2tformer_direction="dual", p2tformer_num_layers=2))
    text, patches = torch.randn(1, 3, 16), torch.randn(1, 16, 4, 5)
    with torch.no_grad():
        _, updated = module(text, patches)
        _, with_other_words = module(text + 1, patches)
    assert updated.shape == patches.shape
    assert not torch.allclose(updated, patches) and not torch.allclose(updated, with_other_words)


def test_class_kernels_are_each_pictures_own():
    features, weights, biases = torch.randn(2, 4, 5, 6), torch.randn(2, 3, 4, 3, 3), torch.randn(2, 3)
    maps = convolve_with_class_kernels(features, weights, biases)
    for picture in range(2):
        expected = torch.nn.functional.conv2d(features[picture], weights[picture], biases[picture], padding=1)
        torch.testing.assert_close(maps[picture], expected, atol=1e-5, rtol=1e-4)


def test_alignment_head_quadruples_the_grid():
    head = FGASegAlignmentHead(tiny_config(alignment_kernel_size=5)).eval()
    assert head(torch.randn(2, 3, 16), torch.randn(2, 16, 2, 4)).shape == (2, 3, 8, 16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("direction", ["text", "dual"])
def test_half_precision_rounds_words_once(dtype, direction):
    """All is computed in float32 and rounded at the end; whoever listens to a layer hears it, and its weights learn."""
    torch.manual_seed(0)
    module = FGASegP2Tformer(tiny_config(p2tformer_direction=direction, p2tformer_num_layers=2)).to(dtype)
    text, patches = torch.randn(2, 5, 16).to(dtype), torch.randn(2, 16, 3, 4).to(dtype)
    called = []
    for layer in module.text_layers:
        layer.norm.register_forward_hook(lambda layer, inputs, output: called.append(output.dtype))
    found = module(text, patches)
    assert called == [torch.float32] * 2
    found[0].float().sum().backward()
    assert all(weight.grad is not None and weight.dtype == dtype for weight in module.text_layers.parameters())
    expected = module.float()(text.float(), patches.float())
    for ours, exact in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, exact.to(dtype))

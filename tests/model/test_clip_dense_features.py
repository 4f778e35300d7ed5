# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""CLIP kept dense, beside the same blocks written out by hand."""

import math

import pytest
import torch
from tiny_models import tiny_config, tiny_inputs, tiny_model
from torch.nn.functional import layer_norm

from fgaseg_hf.model.clip_dense_features import is_clip_parameter, is_trainable_parameter, patch_nearness, tokens_to_map


def test_last_block_keeps_every_patchs_value():
    model = tiny_model()
    tower = model.fgaseg.vision_model
    pictures = tiny_inputs()["pixel_values"]
    with torch.no_grad():
        out = tower(pictures, interpolate_pos_encoding=True, output_hidden_states=True)
        before, block = out.hidden_states[-2], tower.encoder.layers[-1]
        normed = layer_norm(before, before.shape[-1:], block.layer_norm1.weight, block.layer_norm1.bias)
        values = block.self_attn.out_proj(block.self_attn.v_proj(normed))
        expected = before[:, :1] + values
        expected = expected + block.mlp(block.layer_norm2(expected))
    torch.testing.assert_close(out.last_hidden_state, expected)


def test_a_change_of_one_patch_at_the_last_block_stays_there():
    block = tiny_model().fgaseg.vision_model.encoder.layers[-1]
    tokens = torch.randn(1, 17, 32)
    changed = tokens.clone()
    changed[:, 5] = torch.randn(32)
    with torch.no_grad():
        difference = (block(changed, None) - block(tokens, None)).abs().amax(dim=-1)[0]
    assert difference[5] > 1e-4 and difference[torch.arange(17) != 5].max() == 0


def test_tokens_lie_row_by_row():
    tokens = torch.arange(6.0).view(1, 6, 1)
    assert tokens_to_map(tokens, (2, 3))[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("mode", ["all", "query_value", "none"])
def test_what_no_output_depends_on_never_trains(mode):
    config = tiny_config(trainable_clip=mode)
    names = [name for name, _ in tiny_model(trainable_clip=mode).named_parameters()]
    trained = [name for name in names if is_trainable_parameter(name, config)]
    assert "fgaseg.logit_scale" in names and "fgaseg.logit_scale" not in trained
    last = "fgaseg.vision_model.encoder.layers.2.self_attn."
    assert last + "q_proj.weight" in names
    assert not any(name.startswith((last + "q_proj", last + "k_proj")) for name in trained)
    assert all(name in trained for name in names if not is_clip_parameter(name))


def test_nearness_is_a_bell_of_the_distance_on_the_grid():
    nearness = patch_nearness((2, 3), 1.5, torch.device("cpu"))
    for i in range(6):
        for j in range(6):
            distance = (i // 3 - j // 3) ** 2 + (i % 3 - j % 3) ** 2
            assert nearness[i, j].item() == pytest.approx(math.exp(-distance / (2 * 1.5**2)))


@pytest.mark.parametrize(
    ("fields", "unused"),
    [
        ({"dense_attention": "self_correlation"}, ()),
        ({"dense_attention": "neighbour"}, ("self_attn.q_proj",)),
        ({"dense_residual": "none"}, ("self_attn.q_proj", "self_attn.k_proj", "mlp", "layer_norm2")),
    ],
)
def test_what_the_last_block_leaves_out_does_not_train(fields, unused):
    model = tiny_model(trainable_clip="all", **fields)
    last = "fgaseg.vision_model.encoder.layers.2."
    frozen = {
        name.removeprefix(last).rsplit(".", 1)[0]
        for name, parameter in model.named_parameters()
        if name.startswith(last) and not parameter.requires_grad
    }
    assert {name for name in frozen if not name.startswith("mlp")} == set(unused) - {"mlp"}
    assert any(name.startswith("mlp") for name in frozen) == ("mlp" in unused)
    output = model.train()(**tiny_inputs(), labels=torch.zeros(2, 8, 8, dtype=torch.long))
    output.loss.backward()
    for name, parameter in model.named_parameters():
        if name.startswith(last):
            assert (parameter.grad is not None) == parameter.requires_grad, name

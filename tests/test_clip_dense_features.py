"""CLIP kept dense, beside the same blocks written out by hand."""

import pytest
import torch
from tiny_models import tiny_config, tiny_inputs, tiny_model
from torch.nn.functional import layer_norm

from fgaseg_hf.clip_dense_features import is_clip_parameter, is_trainable_parameter, tokens_to_map


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

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Released state dicts in: every tensor is named, none is lost."""

import pytest
import torch
from test_parity import VARIANTS, load_variant, released_weights

from fgaseg_hf import FGASegForSemanticSegmentation
from fgaseg_hf.conversion.checkpoint_conversion import load_released_model
from fgaseg_hf.conversion.released_config import released_config


@pytest.mark.parametrize("variant", VARIANTS)
def test_config_is_read_off_the_shapes(variant):
    weights, settings = released_weights(variant)
    config = released_config(weights)
    assert config.projection_dim == settings["embed"]
    assert config.vision_config.hidden_size == settings["width"]
    assert config.vision_config.num_hidden_layers == settings["layers"]
    assert config.vision_config.image_size == settings["img"]
    assert config.text_config.num_hidden_layers == settings["tlayers"]
    assert config.text_config.eos_token_id == settings["vocab"] - 1
    assert list(config.decoder_dims) == settings["ddims"]
    assert list(config.upsampling_guidance_dims) == settings["gdims"]
    assert list(config.projected_guidance_dims) == settings["gproj"]
    assert config.use_auxiliary_heads == (settings.get("mode") == "fast")
    assert config.p2tformer_num_layers == settings.get("p2t_layers", 0)
    assert config.use_local_pseudo_masks == config.use_alignment_head == (variant != "catseg")
    assert config.fusion == settings.get("fusion", "cat")


def test_every_tensor_arrives():
    weights, _ = released_weights("fast_cat")
    model = load_variant("fast_cat")
    count = sum(parameter.numel() for parameter in model.state_dict().values())
    assert count == sum(tensor.numel() for tensor in weights.values())


def test_converted_model_survives_saving(tmp_path):
    model = load_variant("no_fast_add")
    model.save_pretrained(tmp_path)
    loaded = FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    for (name, ours), (_, theirs) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("upsample1.bias"), "lacks fgaseg.upsampling_guidance.coarse.bias"),
        (lambda weights: weights.update({"upsample3.bias": torch.zeros(3)}), "'upsample3.bias' is unknown"),
        (lambda weights: weights.pop("sem_seg_head.predictor.clip_model.visual.proj"), "not one of FGA-seg or CAT-Seg"),
        (lambda weights: weights.update({"upsample1.bias": torch.zeros(5)}), "has shape"),
        (
            lambda weights: weights.update(
                {"sem_seg_head.predictor.transformer.layers.0.swin_block.block_1.attn.z.bias": torch.zeros(3)}
            ),
            "is unknown",
        ),
    ],
)
def test_a_broken_state_dict_is_refused(change, message):
    weights, _ = released_weights("fast_cat")
    change(weights)
    with pytest.raises(ValueError, match=message):
        load_released_model(weights, num_aggregation_heads=4, guidance_layers=[2, 3])


def test_masks_of_shifted_windows_are_not_weights():
    weights, _ = released_weights("catseg")
    weights["sem_seg_head.predictor.transformer.layers.0.swin_block.block_2.attn_mask"] = torch.zeros(4, 144, 144)
    assert load_released_model(weights, guidance_layers=[2, 3]).config.num_aggregation_layers == 2

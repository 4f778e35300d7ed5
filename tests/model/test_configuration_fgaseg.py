# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The configuration: defaults, validation, and what survives saving."""

import pytest
from huggingface_hub.errors import StrictDataclassFieldValidationError
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import TRAINING_FREE, tiny_config
from transformers import AutoConfig, CLIPTextConfig, CLIPVisionConfig

from fgaseg_hf import FGASegConfig


def test_defaults_are_the_published_model():
    config = FGASegConfig()
    assert config.vision_config.patch_size == 16 and config.vision_config.image_size == 224
    assert config.image_size // config.vision_config.patch_size == 24
    assert list(config.guidance_layers) == [4, 8]
    assert config.class_limit == config.class_padding == 256
    assert config.num_kept_classes is None


def test_guidance_layers_follow_the_depth():
    assert FGASegConfig(vision_config={"num_hidden_layers": 24, "patch_size": 14}, image_size=336).guidance_layers == [
        8,
        16,
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"fusion": "add", "p2tformer_direction": "dual", "num_kept_classes": 4, "class_selection_rule": "union"},
        {"use_auxiliary_heads": False, "class_limit": None, "class_padding": 0, "trainable_clip": "none"},
    ],
)
def test_to_dict_and_back_is_the_identity(fields, tmp_path):
    config = tiny_config(**fields)
    assert FGASegConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path).to_dict()
    assert loaded.pop("_name_or_path") == str(tmp_path)
    assert loaded == {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}


@settings(max_examples=25, deadline=None)
@given(
    layers=st.integers(0, 6),
    direction=st.sampled_from(["text", "dual"]),
    kernel=st.sampled_from([1, 3, 5]),
    fusion=st.sampled_from(["cat", "add"]),
    switches=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    limit=st.none() | st.integers(1, 999),
)
def test_any_valid_config_survives_a_round_trip(layers, direction, kernel, fusion, switches, limit):
    config = tiny_config(
        p2tformer_num_layers=layers,
        p2tformer_direction=direction,
        local_kernel_size=kernel,
        fusion=fusion,
        use_alignment_head=switches[0],
        use_local_pseudo_masks=switches[1],
        use_auxiliary_heads=switches[2],
        class_limit=limit,
    )
    assert FGASegConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()


def test_tower_configs_may_be_given_as_objects():
    text, vision = CLIPTextConfig(hidden_size=64), CLIPVisionConfig(patch_size=16, hidden_size=96)
    config = FGASegConfig(text_config=text, vision_config=vision)
    assert config.text_config.hidden_size == 64 and config.vision_config.hidden_size == 96


def test_catseg_switches_off_all_that_fgaseg_adds():
    config = FGASegConfig.catseg(decoder_hidden_dim=64)
    assert config.p2tformer_num_layers == 0
    assert not (config.use_alignment_head or config.use_local_pseudo_masks or config.use_auxiliary_heads)
    assert config.decoder_hidden_dim == 64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 383}, "`image_size` 383 is not a multiple"),
        ({"guidance_layers": [4, 99]}, "`guidance_layers`"),
        ({"guidance_layers": [4]}, "`guidance_layers`"),
        ({"local_kernel_size": 2}, "`local_kernel_size` is 2"),
        ({"alignment_kernel_size": 4}, "`alignment_kernel_size` is 4"),
        ({"decoder_dims": [60, 32]}, "`decoder_dims`"),
        ({"decoder_dims": [64]}, "`decoder_dims`"),
        ({"num_aggregation_heads": 3}, "`decoder_hidden_dim` 128 is not a multiple"),
        ({"projected_guidance_dims": [128, 16]}, "`projected_guidance_dims`"),
        ({"num_kept_classes": 0}, "`num_kept_classes` is 0"),
        ({"class_limit": 0}, "`class_limit` is 0"),
        (
            {"num_kept_classes": 3, "class_selection_rule": "union", "use_auxiliary_heads": False},
            "`class_selection_rule`",
        ),
        ({"alignment_loss_weight": -1}, "`alignment_loss_weight` is -1"),
        ({"class_padding": -1}, "`class_padding` is -1"),
        ({"auxiliary_loss_weights": [1, 1]}, "`auxiliary_loss_weights`"),
        ({"projection_dim": 500}, "`projection_dim` 500"),
        ({"default_threshold": 1.5}, "`default_threshold` is 1.5"),
        ({"p2tformer_num_layers": -1}, "`p2tformer_num_layers` is -1"),
    ],
)
def test_a_field_out_of_range_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        FGASegConfig(**fields)


@pytest.mark.parametrize(("name", "value"), [("fusion", "mul"), ("window_size", "12"), ("use_alignment_head", 1.5)])
def test_a_field_of_the_wrong_type_is_named(name, value):
    with pytest.raises(StrictDataclassFieldValidationError, match=name):
        FGASegConfig(**{name: value})


def test_training_free_switches_off_whatever_has_weights_of_its_own():
    config = FGASegConfig.training_free()
    assert {name: getattr(config, name) for name in TRAINING_FREE} == TRAINING_FREE
    assert FGASegConfig.training_free(affinity_layer=3, use_alignment_head=True).use_alignment_head

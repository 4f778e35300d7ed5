# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Transformers' own common tests of models and configurations, on FGASeg (see docs/common_tests.md)."""

import unittest
from typing import Any

import pytest
import torch
import transformers_test_suite
from tiny_models import TINY
from transformers.models.auto import modeling_auto

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation, FGASegModel

modeling_tests = transformers_test_suite.load("test_modeling_common")
configuration_tests = transformers_test_suite.load("test_configuration_common")


@pytest.fixture(autouse=True)
def known_class_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The common tests choose a model's labels by the names of classes, as Transformers lists its own."""
    monkeypatch.setitem(modeling_auto.MODEL_MAPPING_NAMES, "fgaseg", "FGASegModel")
    names = modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES
    monkeypatch.setitem(names, "fgaseg", "FGASegForSemanticSegmentation")


class FGASegModelTester:
    """A tiny model and inputs, with the sizes that the common tests compare against."""

    # Hidden states and attention maps are the image tower's, whose last block attends to nothing.
    num_vision_layers = 2
    num_hidden_layers = 1
    expected_num_hidden_layers = 3
    num_attention_heads = 4
    hidden_size = 32
    image_size = 32
    patch_size = 8
    seq_length = encoder_seq_length = key_length = (32 // 8) ** 2 + 1
    batch_size = 2
    # Not a multiple of the batch size: prompts are shared by the batch, not one of each picture.
    num_classes = 3
    prompt_length = 7
    is_training = True

    def __init__(self, parent: unittest.TestCase) -> None:
        self.parent = parent

    def get_config(self) -> FGASegConfig:
        text = {
            "vocab_size": 99,
            "hidden_size": self.hidden_size,
            "intermediate_size": 37,
            "num_hidden_layers": 2,
            "num_attention_heads": self.num_attention_heads,
            "max_position_embeddings": 20,
            "bos_token_id": 97,
            "eos_token_id": 98,
            "pad_token_id": 98,
        }
        vision = {
            "hidden_size": self.hidden_size,
            "intermediate_size": 37,
            "num_hidden_layers": self.num_vision_layers,
            "num_attention_heads": self.num_attention_heads,
            "patch_size": self.patch_size,
            "image_size": 24,
        }
        return FGASegConfig(**{**TINY, "text_config": text, "vision_config": vision, "trainable_clip": "all"})

    def prepare_config_and_inputs_for_common(self) -> tuple[FGASegConfig, dict[str, Any]]:
        input_ids = torch.randint(1, 97, (self.num_classes, self.prompt_length))
        input_ids[:, -1] = 98
        inputs = {
            "pixel_values": torch.rand(self.batch_size, 3, self.image_size, self.image_size),
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
        }
        return self.get_config(), inputs


class FGASegModelTest(modeling_tests.ModelTesterMixin, unittest.TestCase):
    all_model_classes = (FGASegModel, FGASegForSemanticSegmentation)
    additional_model_inputs = ["input_ids"]
    _is_composite = True

    def setUp(self) -> None:
        self.model_tester = FGASegModelTester(self)

    def _image_features_get_expected_num_attentions(self, model_tester: Any = None) -> int:
        return self.model_tester.num_hidden_layers

    def _image_features_get_expected_num_hidden_states(self, model_tester: Any = None) -> int:
        return self.model_tester.expected_num_hidden_layers


class FGASegConfigTest(unittest.TestCase):
    def test_config(self) -> None:
        self.model_tester = FGASegModelTester(self)
        tester = configuration_tests.ConfigTester(
            self, config_class=FGASegConfig, has_text_modality=False, projection_dim=64
        )
        tester.run_common_tests()

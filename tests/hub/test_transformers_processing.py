# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Transformers' own common tests of processors, on FGASeg's (see docs/common_tests.md)."""

import unittest
from typing import Any

import transformers_test_suite
from tiny_tokenizer import tiny_tokenizer
from transformers import CLIPTokenizer
from transformers.utils import is_torchvision_available

from fgaseg_hf import FGASegImageProcessor, FGASegImageProcessorPil, FGASegProcessor

processing_tests = transformers_test_suite.load("test_processing_common")


class FGASegProcessorTest(processing_tests.ProcessorTesterMixin, unittest.TestCase):
    processor_class = FGASegProcessor

    @classmethod
    def _setup_tokenizer(cls) -> CLIPTokenizer:
        # The common tests pad prompts up to 117 tokens.
        return tiny_tokenizer(model_max_length=200)

    @classmethod
    def _setup_image_processor(cls) -> FGASegImageProcessor | FGASegImageProcessorPil:
        return FGASegImageProcessor() if is_torchvision_available() else FGASegImageProcessorPil()

    @staticmethod
    def prepare_processor_dict() -> dict[str, Any]:
        # They expect the bare text's tokens.
        return {"prompt_templates": ["{}"]}

    def prepare_text_inputs(self, batch_size: int | None = None, modalities: Any = None) -> Any:
        """Makes the texts of a batch differ: FGASeg takes each class name once."""
        texts = super().prepare_text_inputs(batch_size, modalities)
        if isinstance(texts, str):
            return texts
        return [text if index < 2 else f"{text} {index}" for index, text in enumerate(texts)]

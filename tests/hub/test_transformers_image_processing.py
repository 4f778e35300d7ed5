# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Transformers' own common tests of image processors and their post-processing (see docs/common_tests.md)."""

import unittest
from typing import Any

import pytest
import transformers_test_suite
from transformers.utils import is_torchvision_available

from fgaseg_hf import FGASegImageProcessor, FGASegImageProcessorPil

image_processing_tests = transformers_test_suite.load("test_image_processing_common")


class FGASegImageProcessingTester(image_processing_tests.ImageProcessingTester):
    """Settings that differ from the defaults."""

    def __init__(self, parent: unittest.TestCase, **settings: Any) -> None:
        super().__init__(parent, **{"size": {"height": 20, "width": 18}, "num_labels": 5, **settings})

    def _get_image_processing_classes(self) -> dict[str, type]:
        classes: dict[str, type] = {"pil": FGASegImageProcessorPil}
        if is_torchvision_available():
            classes["torchvision"] = FGASegImageProcessor
        return classes


class FGASegImageProcessingTest(
    image_processing_tests.ImageProcessingTestMixin,
    image_processing_tests.PostProcessSemanticSegmentationTestMixin,
    unittest.TestCase,
):
    image_processor_tester_class = FGASegImageProcessingTester

    @unittest.skipUnless(is_torchvision_available(), "torchvision is not installed")
    def test_new_models_require_torchvision_backend(self) -> None:
        super().test_new_models_require_torchvision_backend()

    @pytest.mark.slow
    @unittest.skip("the fresh process of this test does not know FGASeg")
    def test_pil_can_run_without_torchvision(self) -> None:
        """tests/test_hub_code.py has a fresh process without torchvision that knows FGASeg from a checkpoint's code."""

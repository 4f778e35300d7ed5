# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a model is called with: one sentence where it is of another kind."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_inputs, tiny_model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_values": np.zeros((1, 3, 32, 32), np.float32)}, "`pixel_values` is a ndarray"),
        ({"pixel_values": torch.zeros(1, 4, 32, 32)}, "4 channels; give pictures of 3"),
        ({"pixel_values": torch.zeros(1, 3, 32, 32, dtype=torch.uint8)}, "uint8"),
        ({"text_embeddings": [[1.0]]}, "`text_embeddings` is a list"),
        ({"text_embeddings": None, "input_ids": torch.tensor([[0, 10**6]])}, "from 0 to 1000000"),
        ({"text_embeddings": None, "input_ids": torch.tensor([[-1, 2]])}, "from -1 to 2"),
        ({"text_embeddings": None, "input_ids": torch.zeros(1, 4)}, "whole numbers"),
    ],
)
def test_other_kinds_of_inputs_are_named(changes: dict[str, Any], message: str) -> None:
    inputs = {**tiny_inputs(1), **changes}
    with pytest.raises(ValueError, match=message):
        tiny_model()(**inputs)

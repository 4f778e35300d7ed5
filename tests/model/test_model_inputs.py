# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a model is called with: one sentence where it is of another kind."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_inputs, tiny_model, tiny_processor


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


def test_places_of_names_that_are_not_there() -> None:
    inputs = tiny_inputs(1)
    for places, message in (([[0, 99]], "from 0 to 99"), ([[-1, 0]], "from -1 to 0"), ([[0.0]], "whole numbers")):
        with pytest.raises(ValueError, match=message):
            tiny_model()(**inputs, class_indices=torch.tensor(places))


def test_tracing_is_one_sentence() -> None:
    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = tiny_model()

        def forward(self, pixel_values: torch.Tensor, text_embeddings: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(pixel_values=pixel_values, text_embeddings=text_embeddings).logits
            return logits

    with pytest.raises(ValueError, match="use `torch.export`"):
        torch.jit.trace(Logits(), tuple(tiny_inputs(1).values()))


def test_pictures_that_are_not_finite_give_no_label_map() -> None:
    inputs = tiny_inputs(1)
    inputs["pixel_values"][0, 0, 0, 0] = torch.inf
    with pytest.raises(ValueError, match="not numbers"):
        tiny_processor().post_process_semantic_segmentation(tiny_model()(**inputs))

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models can be pickled, copied, and sent to other processes, fresh and after they were used."""

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import TRAINING_FREE, tiny_inputs, tiny_model, tiny_processor, tiny_vocabulary

from fgaseg_hf import FGASegForSemanticSegmentation


def saved_and_loaded(model: FGASegForSemanticSegmentation) -> FGASegForSemanticSegmentation:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("fields", [{}, {**TRAINING_FREE, "affinity_layer": 1}], ids=["fgaseg", "training_free"])
def test_pickled_models_compute_the_same(fields: dict[str, Any]) -> None:
    model, inputs = tiny_model(**fields), tiny_inputs()
    model.set_vocabulary(tiny_vocabulary().encode(model, tiny_processor()))
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), saved_and_loaded(model)):
        with torch.no_grad():
            expected = model(**inputs, output_hidden_states=True)
            found = copied(**inputs, output_hidden_states=True)
            # To rounding: some products depend on where in memory the weights lie.
            torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-5)
            assert len(found.hidden_states) == len(expected.hidden_states)
            found, expected = copied(inputs["pixel_values"]), model(inputs["pixel_values"])
            torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-5)


def test_pickling_leaves_the_model_and_hooks_of_ones_own_alone() -> None:
    model, inputs = tiny_model(), tiny_inputs()
    model.fgaseg.vision_model.encoder.layers[0].register_forward_hook(_say_nothing)
    copied = pickle.loads(pickle.dumps(model))
    layers = [layer for one in (model, copied) for layer in one.fgaseg.vision_model.encoder.layers[:1]]
    assert all(_say_nothing in layer._forward_hooks.values() for layer in layers)
    assert len({len(layer._forward_hooks) for layer in layers}) == 1
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, copied(**inputs).logits, atol=1e-5, rtol=1e-5)


def _say_nothing(*_: Any) -> None:
    return None


@pytest.mark.slow
def test_another_process_takes_a_pickled_model(tmp_path: Path) -> None:
    model, inputs = tiny_model(), tiny_inputs()
    with torch.no_grad():
        expected = model(**inputs).logits
    torch.save((model, inputs, expected), tmp_path / "model.pt")
    code = (
        "import sys, torch\n"
        "model, inputs, expected = torch.load(sys.argv[1], weights_only=False)\n"
        "torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-5, rtol=1e-5)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "model.pt"], check=True)

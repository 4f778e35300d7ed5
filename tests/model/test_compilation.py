# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`torch.compile` without graph breaks, for vocabularies of several sizes, with TopK and the class limit."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_models import tiny_inputs, tiny_model
from torch._dynamo.testing import CompileCounter

TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}
# The tiny model's class limit is 8: the last vocabulary hits it.
NUM_CLASSES = (5, 7, 12)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("fields", [{}, {"num_kept_classes": 3}], ids=str)
def test_inference_compiles_for_three_vocabularies(fields: dict[str, Any]) -> None:
    model = tiny_model(**fields)
    counter = CompileCounter()
    # Nothing was computed before: what Transformers sets up at a first call must not break the graph.
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    with torch.no_grad():
        for num_classes in NUM_CLASSES:
            inputs = tiny_inputs(2, num_classes)
            found = compiled(**inputs)
            torch.testing.assert_close(found.logits, model(**inputs).logits, **TOLERANCE)
            assert found.kept_classes.shape[1] == min(num_classes, fields.get("num_kept_classes", 8))
    # One program a vocabulary at most, and each of them whole.
    assert 1 <= counter.frame_count <= len(NUM_CLASSES)


def labels_for(batch_size: int, num_classes: int) -> torch.Tensor:
    return torch.randint(0, num_classes, (batch_size, 32, 32), generator=torch.Generator().manual_seed(0))


def gradients_of(model: Any, step: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    step(**tiny_inputs(), labels=labels_for(2, 5)).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.slow
def test_a_training_step_compiles() -> None:
    model = tiny_model(trainable_clip="all").train()
    expected = gradients_of(model, model)
    # Decomposed as for inductor: whole, the gradient of `elu` has other strides than PyTorch 2.13 foresees.
    found = gradients_of(model, torch.compile(model, backend="aot_eager_decomp_partition"))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        # The gradient of a key's bias is rounding alone, since a softmax does not see it.
        difference = (found[name] - gradient).norm()
        assert difference < 1e-3 * gradient.norm() + 1e-7, (name, difference, gradient.norm())


@pytest.mark.slow
def test_inference_computes_the_same_in_inductors_operations() -> None:
    # Inductor itself takes minutes to compile even a tiny model; benchmarks/grid.py runs it.
    model = tiny_model(num_kept_classes=3)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager_decomp_partition")
    with torch.no_grad():
        for num_classes in NUM_CLASSES:
            inputs = tiny_inputs(2, num_classes)
            torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits, atol=1e-4, rtol=1e-3)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Whatever sizes and forms a device has, the model computes the same."""

import pytest
import torch
from tiny_models import tiny_inputs, tiny_model

from fgaseg_hf.model import device_sizes


def test_a_device_has_its_sizes():
    assert device_sizes.sizes_of(torch.device("cpu")) is device_sizes.PROCESSOR
    assert device_sizes.sizes_of(torch.device("meta")) is device_sizes.ACCELERATOR


@pytest.mark.parametrize("fields", [{}, {"num_kept_classes": 3, "fusion": "add"}], ids=str)
@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_an_accelerators_forms_on_a_processor(fields, is_checkpointed, monkeypatch):
    labels = torch.randint(0, 6, (2, 30, 40), generator=torch.Generator().manual_seed(0))
    labels[:, :4] = 255
    inputs = tiny_inputs(2, 6, 56, 32)
    found = []
    for sizes in (device_sizes.PROCESSOR, device_sizes.ACCELERATOR):
        monkeypatch.setattr(device_sizes, "PROCESSOR", sizes)
        model = tiny_model(trainable_clip="all", **fields)
        with torch.no_grad():
            answer = model(**inputs)
        model.train()
        if is_checkpointed:
            model.activation_checkpointing_enable()
        model(**inputs, labels=labels).loss.backward()
        found.append((answer, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (answer, gradients), (other_answer, other_gradients) = found
    torch.testing.assert_close(answer.logits, other_answer.logits, atol=1e-5, rtol=1e-4)
    for maps, other_maps in zip(answer.auxiliary_logits, other_answer.auxiliary_logits, strict=True):
        torch.testing.assert_close(maps, other_maps, atol=1e-5, rtol=1e-4)
    assert gradients.keys() == other_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, other_gradients[name], atol=1e-5, rtol=1e-3)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Adapters and quantised weights in every block of the decoder."""

import pytest
import torch
from tiny_models import tiny_inputs, tiny_model

from fgaseg_hf.model.decoder_composition import compose

# Linear layers and convolutions of the decoder; transposed ones have no adapter in PEFT.
ADAPTED = r"decoder\..*(query|key|value|output|guidance|fc1|fc2|linear|text_projection|convolution|convolution_\d)"


def test_adapters_take_part_and_learn():
    peft = pytest.importorskip("peft", reason="needs PEFT")
    model, inputs = tiny_model(), tiny_inputs()
    with torch.no_grad():
        before = model(**inputs).logits
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=ADAPTED, init_lora_weights=False)).eval()
    assert compose(adapted.base_model.model.decoder) is None
    found = adapted(**inputs)
    assert (found.logits - before).abs().max() > 1e-3
    adapted.train()
    labels = torch.zeros(2, 32, 32, dtype=torch.long)
    adapted(**inputs, labels=labels).loss.backward()
    adapters = {name: weight for name, weight in adapted.named_parameters() if "lora_" in name}
    assert len(adapters) > 80
    assert [name for name, weight in adapters.items() if weight.grad is None or not weight.requires_grad] == []
    merged = adapted.merge_and_unload().eval()
    assert compose(merged.decoder) is not None
    with torch.no_grad():
        torch.testing.assert_close(merged(**inputs).logits, found.logits, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("fields", [{}, {"num_kept_classes": 3}], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_int8_weights_answer_nearly_as_they_were(fields):
    quantization = pytest.importorskip("torchao.quantization", reason="needs torchao")
    model, inputs = tiny_model(**fields), tiny_inputs()
    with torch.no_grad():
        before = model(**inputs)
        quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
        assert compose(model.decoder) is None
        after = model(**inputs)
    assert torch.equal(before.kept_classes, after.kept_classes)
    is_kept = before.logits > -1e4
    assert 0 < (after.logits - before.logits)[is_kept].abs().max() < 0.05

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Adapters and quantised weights in every block of the decoder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_inputs, tiny_model
from transformers import BitsAndBytesConfig

from fgaseg_hf import FGASegForSemanticSegmentation
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


# In blocks of 64 weights.
WIDE: dict[str, Any] = {
    **dict.fromkeys(("projection_dim", "decoder_hidden_dim", "appearance_guidance_dim", "text_guidance_dim"), 64),
    **dict.fromkeys(("text_config", "vision_config"), {"hidden_size": 64, "intermediate_size": 128}),
}


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.filterwarnings("ignore")
def test_weights_of_few_bits_answer_and_hand_gradients_on(tmp_path: Path, bits: int) -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    model, inputs = tiny_model(**WIDE), tiny_inputs()
    words = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    inputs["text_embeddings"] = torch.nn.functional.normalize(words, dim=-1)
    with torch.no_grad():
        before = model(**inputs).logits
    model.save_pretrained(tmp_path)
    settings: dict[str, Any] = {f"load_in_{bits}bit": True}
    if bits == 4:
        settings["bnb_4bit_compute_dtype"] = torch.float32
    quantised = FGASegForSemanticSegmentation.from_pretrained(
        tmp_path, quantization_config=BitsAndBytesConfig(**settings), device_map="cpu"
    )
    kinds = {type(module).__name__ for module in quantised.decoder.modules()}
    assert {8: "Linear8bitLt", 4: "Linear4bit"}[bits] in kinds
    assert compose(quantised.decoder) is None
    if bits == 8:
        with torch.no_grad():
            assert 0 < (quantised.eval()(**inputs).logits - before).abs().max() < 0.05 * before.abs().max()
    quantised.train()
    inputs["pixel_values"].requires_grad_()
    quantised(**inputs, labels=torch.zeros(2, 32, 32, dtype=torch.long)).loss.backward()
    assert inputs["pixel_values"].grad.isfinite().all() and inputs["pixel_values"].grad.abs().max() > 0
    learning = [parameter for parameter in quantised.parameters() if parameter.requires_grad]
    assert learning and all(parameter.grad is not None for parameter in learning)

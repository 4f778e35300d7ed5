# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What people do to any Transformers model: other precisions, big-model loading, checkpointing, adapters."""

import copy
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from accelerate import (
    cpu_offload,
    disk_offload,
    infer_auto_device_map,
    init_empty_weights,
    load_checkpoint_and_dispatch,
)
from accelerate.utils import compute_module_sizes
from packaging.version import Version
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tiny_models import CLASS_NAMES, tiny_config, tiny_inputs, tiny_model, tiny_processor
from transformers import AutoModelForSemanticSegmentation
from transformers.integrations.peft import MIN_PEFT_VERSION

from fgaseg_hf import FGASegForSemanticSegmentation

# Query and value of both towers, but for the image tower's last block, which asks nothing.
CLIP_QUERY_VALUE = r"fgaseg\.(text_model|vision_model)\..*\.(q_proj|v_proj)"
LAST_BLOCK_QUERY = r"vision_model\.encoder\.layers\.2\.self_attn\.q_proj"

# Where hooks bring a module's weights, two linear steps are not put together into one: other roundings.
OFFLOADED = {"atol": 1e-5, "rtol": 1e-4}


def inputs_with_words(batch_size: int = 2) -> dict[str, torch.Tensor]:
    encoded = tiny_processor()(text=CLASS_NAMES, return_tensors="pt")
    return {"pixel_values": tiny_inputs(batch_size)["pixel_values"], **encoded}


def labels_for(batch_size: int = 2) -> torch.Tensor:
    labels = torch.randint(0, len(CLASS_NAMES), (batch_size, 32, 32), generator=torch.Generator().manual_seed(0))
    labels[:, :4] = 255
    return labels


@torch.no_grad()
def logits_of(model: Any) -> torch.Tensor:
    return model(**inputs_with_words()).logits


# precisions


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("fields", [{}, {"num_kept_classes": 3}, {"p2tformer_direction": "dual"}], ids=str)
def test_half_precision_computes_the_same_but_for_rounding(dtype: torch.dtype, fields: dict[str, Any]) -> None:
    model = tiny_model(**{**fields, "num_kept_classes": None})
    expected = logits_of(model)
    model = tiny_model(**fields).to(dtype)
    output = model(**inputs_with_words(), labels=labels_for())
    assert output.logits.dtype == dtype
    assert output.loss.isfinite()
    kept = output.logits.flatten(2).amax(dim=-1) > torch.finfo(dtype).min
    assert (kept.sum(dim=1) == (fields.get("num_kept_classes") or len(CLASS_NAMES))).all()
    if "num_kept_classes" not in fields:
        tolerance = {torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
        torch.testing.assert_close(output.logits.float(), expected, atol=tolerance, rtol=tolerance)


def test_half_trains_and_segments_whole_pictures() -> None:
    model = tiny_model().half()
    assert all(parameter.dtype == torch.float16 for parameter in model.parameters())
    # Pictures come in single precision from the processor.
    embeddings = model.get_text_embeddings(tiny_processor()(text=CLASS_NAMES, return_tensors="pt")["input_ids"])
    picture = torch.rand(3, 45, 50)
    (probabilities,) = model.segment_with_sliding_window([picture], embeddings, window_size=32, resized_size=53)
    assert probabilities.shape == (len(CLASS_NAMES), 45, 50)
    assert probabilities.isfinite().all()
    model = tiny_model().train().to(torch.bfloat16)
    model(**inputs_with_words(), labels=labels_for()).loss.backward()
    for name in model.trainable_parameter_names():
        assert model.get_parameter(name).grad.isfinite().all(), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_computes_the_same_but_for_rounding(dtype: torch.dtype) -> None:
    model = tiny_model()
    expected = logits_of(model)
    with torch.autocast("cpu", dtype=dtype):
        output = model(**inputs_with_words(), labels=labels_for())
    assert output.loss.dtype == torch.float32
    torch.testing.assert_close(output.logits.detach().float(), expected, atol=5e-2, rtol=5e-2)


def test_int8_dynamic_quantization_computes_nearly_the_same() -> None:
    model = tiny_model()
    expected = logits_of(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    kinds = {type(module) for module in quantized.modules()}
    assert torch.nn.Linear not in kinds and torch.ao.nn.quantized.dynamic.Linear in kinds
    found = logits_of(quantized)
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=5e-2, rtol=5e-2)


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "flex_attention"])
def test_attention_that_takes_no_mask_of_windows_is_refused(tmp_path: Path, name: str) -> None:
    # Windows need an additive mask, which flash attention has no place for; sdpa and eager compute the same.
    model = tiny_model()
    model.save_pretrained(tmp_path)
    for load in (
        lambda: FGASegForSemanticSegmentation.from_pretrained(tmp_path, attn_implementation=name),
        lambda: tiny_model().set_attn_implementation(name),
    ):
        with pytest.raises((ValueError, ImportError), match=r"FGASeg\w+.* does not support|not.*installed"):
            load()
    logits = []
    for implementation in ("eager", "sdpa"):
        loaded = FGASegForSemanticSegmentation.from_pretrained(tmp_path, attn_implementation=implementation)
        assert loaded.config._attn_implementation == implementation
        assert loaded.fgaseg.vision_model.config._attn_implementation == implementation
        logits.append(logits_of(loaded))
    torch.testing.assert_close(logits[0], logits[1], atol=1e-5, rtol=1e-4)


def test_dtype_is_chosen_at_loading_or_the_checkpoints_own(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "single")
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    for folder, wish, dtype in (
        ("single", {}, torch.float32),
        ("half", {}, torch.bfloat16),
        ("half", {"dtype": "auto"}, torch.bfloat16),
        ("half", {"dtype": torch.float32}, torch.float32),
        ("single", {"dtype": "float16"}, torch.float16),
    ):
        loaded = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / folder, **wish)
        assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
        assert loaded.dtype == dtype
        assert logits_of(loaded).isfinite().all()
    assert load_file(tmp_path / "half" / "model.safetensors")["decoder.head.convolution.weight"].dtype == torch.bfloat16


# big-model loading


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A checkpoint in several files, and its logits."""
    folder = tmp_path_factory.mktemp("saved")
    model = tiny_model()
    model.save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder, logits_of(model)


@pytest.mark.parametrize(
    "device_map", ["auto", "cpu", {"": "cpu"}, {"fgaseg": "cpu", "decoder": "cpu", "alignment_head": "cpu"}]
)
def test_device_map_places_every_weight(saved: tuple[Path, torch.Tensor], device_map: Any) -> None:
    folder, expected = saved
    model = FGASegForSemanticSegmentation.from_pretrained(folder, device_map=device_map)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert torch.equal(logits_of(model), expected)


def test_device_map_auto_goes_to_the_disk_where_memory_ends(saved: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    folder, expected = saved
    memory = int(0.7 * sum(file.stat().st_size for file in folder.glob("*.safetensors")))
    model = FGASegForSemanticSegmentation.from_pretrained(
        folder, device_map="auto", max_memory={"cpu": memory}, offload_folder=tmp_path
    )
    assert set(map(str, model.hf_device_map.values())) == {"cpu", "disk"}
    torch.testing.assert_close(logits_of(model), expected, **OFFLOADED)


def test_loading_builds_the_model_without_memory_of_its_own(
    saved: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = saved
    devices_at_start = set()
    build = FGASegForSemanticSegmentation.__init__

    def build_and_look(self: FGASegForSemanticSegmentation, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        devices_at_start.update(parameter.device.type for parameter in self.parameters())

    monkeypatch.setattr(FGASegForSemanticSegmentation, "__init__", build_and_look)
    model = FGASegForSemanticSegmentation.from_pretrained(folder)
    assert devices_at_start == {"meta"}
    assert torch.equal(logits_of(model), expected)


def test_accelerate_loads_and_offloads(saved: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    folder, expected = saved
    with init_empty_weights():
        model = FGASegForSemanticSegmentation(tiny_config()).eval()
    device_map = {"fgaseg": "disk", "decoder": "cpu", "alignment_head": "disk"}
    model = load_checkpoint_and_dispatch(model, folder, device_map=device_map, offload_folder=tmp_path / "dispatched")
    torch.testing.assert_close(logits_of(model), expected, **OFFLOADED)
    # Now each module by itself: none reaches for the weights of another.
    model = FGASegForSemanticSegmentation.from_pretrained(folder)
    cpu_offload(model, execution_device=torch.device("cpu"))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    torch.testing.assert_close(logits_of(model), expected, **OFFLOADED)
    model = FGASegForSemanticSegmentation.from_pretrained(folder)
    disk_offload(model, tmp_path / "offloaded", execution_device=torch.device("cpu"))
    torch.testing.assert_close(logits_of(model), expected, **OFFLOADED)


def test_what_computes_together_is_never_split() -> None:
    model = tiny_model()
    size = compute_module_sizes(model)[""]
    whole = set(model._no_split_modules)
    names = {type(module).__name__ for module in model.modules()}
    # Transformers gathers what the towers name, too.
    assert {"FGASegDenseEncoderLayer", "CLIPEncoderLayer", "FGASegAggregationLayer"} <= whole
    assert {"FGASegDenseEncoderLayer", "FGASegAggregationLayer", "FGASegUpsamplingStage"} <= names
    for share in (0.3, 0.5, 0.7):
        places = infer_auto_device_map(
            model, max_memory={0: int(share * size), "cpu": 2 * size}, no_split_module_classes=list(whole)
        )
        assert set(places.values()) == {0, "cpu"}
        for placed in places:
            parents = [placed.rsplit(".", count)[0] for count in range(1, placed.count(".") + 1)]
            assert not any(type(model.get_submodule(parent)).__name__ in whole for parent in parents), placed


# checkpointing and adapters


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_with_frozen_clip(use_reentrant: bool) -> None:
    gradients = []
    for is_checkpointed in (False, True):
        model = tiny_model(trainable_clip="query_value").train()
        if is_checkpointed:
            model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
            model.enable_input_require_grads()
            assert model.is_activation_checkpointing
        model(**inputs_with_words(), labels=labels_for()).loss.backward()
        gradients.append({name: model.get_parameter(name).grad for name in model.trainable_parameter_names()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_lora_on_query_and_value(tmp_path: Path) -> None:
    base = tiny_model(trainable_clip="none")
    expected = logits_of(base)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=CLIP_QUERY_VALUE,
        exclude_modules=f".*{LAST_BLOCK_QUERY}",
        modules_to_save=["decoder", "alignment_head"],
    )
    model = get_peft_model(copy.deepcopy(base), config)
    assert torch.equal(logits_of(model.eval()), expected)

    model.train()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    adapters = {name for name in trained if "lora_" in name}
    # Two blocks of words, three of pictures; query and value, but for the last query; A and B.
    assert len(adapters) == (2 * 2 + 3 * 2 - 1) * 2
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    losses = []
    for _ in range(4):
        loss = model(**inputs_with_words(), labels=labels_for()).loss
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in trained.values())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]

    tuned = logits_of(model.eval())
    assert not torch.allclose(tuned, expected, atol=1e-3)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path).eval()
    assert torch.equal(logits_of(again), tuned)
    merged = again.merge_and_unload()
    assert type(merged) is FGASegForSemanticSegmentation
    torch.testing.assert_close(logits_of(merged), tuned, atol=1e-4, rtol=1e-3)


# A release of Transformers may ask for one of PEFT that is yet to come.
@pytest.mark.skipif(
    Version(metadata.version("peft")) < Version(MIN_PEFT_VERSION),
    reason=f"Transformers {transformers.__version__} refuses PEFT before {MIN_PEFT_VERSION}",
)
def test_adapters_of_transformers_own(tmp_path: Path) -> None:
    model = tiny_model()
    expected = logits_of(model)
    model.add_adapter(LoraConfig(r=4, target_modules=CLIP_QUERY_VALUE, init_lora_weights=False))
    adapted = logits_of(model)
    assert not torch.allclose(adapted, expected, atol=1e-4)
    model.save_pretrained(tmp_path / "adapter")
    model.disable_adapters()
    assert torch.equal(logits_of(model), expected)
    other = tiny_model()
    other.load_adapter(str(tmp_path / "adapter"))
    assert torch.equal(logits_of(other), adapted)

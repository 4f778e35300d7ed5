# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Exported programs and ONNX files against the model itself, at sizes they were not made at."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import CLASS_NAMES, TRAINING_FREE, tiny_inputs, tiny_model, tiny_processor

from fgaseg_hf import FGASegForSemanticSegmentation, builtin_model_folder
from fgaseg_hf.export.exported_parts import feature_names
from fgaseg_hf.export.model_export import export_picture, export_segmentation, export_text_encoder, export_words
from fgaseg_hf.export.onnx_export import export_picture_and_words, export_to_onnx

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
# Pictures, classes, height and width: below and above the class limit (8), and TopK; one window and several.
SIZES = [(2, 7, 40, 24), (1, 3, 32, 32), (3, 12, 16, 72)]
# Every kind of block once: how long export takes depends on the number of operations.
SMALL: dict[str, Any] = {"num_aggregation_layers": 1, "text_config": {"num_hidden_layers": 1}}


def run_onnx(path: Path, inputs: dict[str, torch.Tensor], outputs: list[str] | None = None) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(outputs, {name: tensor.numpy() for name, tensor in inputs.items()})
    tensors = [torch.from_numpy(output) for output in found]
    return tensors if outputs else tensors[0]


@torch.no_grad()
def logits_of(model: FGASegForSemanticSegmentation, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**inputs).logits


@pytest.fixture(scope="module")
def onnx_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return export_to_onnx(tiny_model(num_kept_classes=3, **SMALL), tmp_path_factory.mktemp("onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_onnx_computes_what_the_model_computes(onnx_files: list[Path], sizes: tuple[int, ...]) -> None:
    inputs = tiny_inputs(*sizes)
    expected = logits_of(tiny_model(num_kept_classes=3, **SMALL), inputs)
    assert (expected == torch.finfo(torch.float32).min).any() == (sizes[1] > 3)
    torch.testing.assert_close(run_onnx(onnx_files[0], inputs), expected, **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("class_names", [CLASS_NAMES, ["a very long class name", "sky"]], ids=len)
def test_onnx_encodes_words(onnx_files: list[Path], class_names: list[str]) -> None:
    encoded = tiny_processor()(text=class_names, return_tensors="pt")
    with torch.no_grad():
        expected = tiny_model(num_kept_classes=3, **SMALL).get_text_embeddings(**encoded)
    found = run_onnx(onnx_files[1], {"input_ids": encoded["input_ids"]})
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.slow
def test_onnx_encodes_words_of_several_templates(onnx_files: list[Path]) -> None:
    """As docs/export.md has it: prompts one by one, and of each word the mean."""
    processor = tiny_processor()
    processor.prompt_templates = ["a photo of a {}", "{} there"]
    input_ids = processor(text=CLASS_NAMES, return_tensors="pt")["input_ids"]
    assert input_ids.dim() == 3
    with torch.no_grad():
        expected = tiny_model(num_kept_classes=3, **SMALL).get_text_embeddings(input_ids)
    found = run_onnx(onnx_files[1], {"input_ids": input_ids.flatten(0, 1)}).unflatten(0, input_ids.shape[:2])
    found = torch.nn.functional.normalize(found.mean(dim=1), dim=-1)
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"num_kept_classes": 3, "class_limit": None}], ids=str)
def test_program_computes_what_the_model_computes(fields: dict[str, Any]) -> None:
    model = tiny_model(**fields, **SMALL).train()
    program = export_segmentation(model).module()
    assert model.training
    for sizes in SIZES:
        inputs = tiny_inputs(*sizes)
        torch.testing.assert_close(program(**inputs), logits_of(model.eval(), inputs), **TOLERANCE)


def test_program_of_one_picture_size() -> None:
    # CAT-Seg's blocks only: making a program takes as long as the model has operations.
    model = tiny_model(p2tformer_num_layers=0, use_local_pseudo_masks=False, use_auxiliary_heads=False, **SMALL)
    program = export_segmentation(model, dynamic_image_size=False).module()
    for batch_size, num_classes in ((2, 5), (1, 12)):
        inputs = tiny_inputs(batch_size, num_classes)
        torch.testing.assert_close(program(**inputs), logits_of(model, inputs), **TOLERANCE)


def test_program_of_the_text_tower() -> None:
    model = tiny_model(**SMALL)
    program = export_text_encoder(model).module()
    for class_names in (CLASS_NAMES, ["a very long class name", "sky"]):
        encoded = tiny_processor()(text=class_names, return_tensors="pt")
        with torch.no_grad():
            expected = model.get_text_embeddings(**encoded)
        torch.testing.assert_close(program(input_ids=encoded["input_ids"]), expected, **TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic_image_size", [True, False])
def test_the_built_in_model(tmp_path: Path, dynamic_image_size: bool) -> None:
    model = FGASegForSemanticSegmentation.from_pretrained(builtin_model_folder(), dtype=torch.float32)
    program = export_segmentation(model, dynamic_image_size=dynamic_image_size).module()
    path, _ = export_to_onnx(model, tmp_path, dynamic_image_size=dynamic_image_size)
    side = model.config.image_size
    sizes = [(side, side), (side + 64, side - 32)] if dynamic_image_size else [(side, side)]
    for num_classes in (4, 17, 100):
        for height, width in sizes:
            generator = torch.Generator().manual_seed(num_classes)
            text = torch.randn(num_classes, model.config.projection_dim, generator=generator)
            inputs = {
                "pixel_values": torch.randn(1, 3, height, width, generator=generator),
                "text_embeddings": torch.nn.functional.normalize(text, dim=-1),
            }
            expected = logits_of(model, inputs)
            torch.testing.assert_close(program(**inputs), expected, **TOLERANCE)
            torch.testing.assert_close(run_onnx(path, inputs), expected, **TOLERANCE)


def test_what_cannot_be_exported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="set `class_selection_rule` to 'peak'"):
        export_to_onnx(tiny_model(num_kept_classes=2, class_selection_rule="union"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="name another"):
        export_to_onnx(tiny_model(), tmp_path / "file")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"pip install 'fgaseg_hf\[onnx\]'"):
        export_to_onnx(tiny_model(), tmp_path / "out")


FEATURES: list[dict[str, Any]] = [
    # Every block, and none.
    {"num_kept_classes": 3},
    {**TRAINING_FREE, "affinity_layer": 1},
]


@pytest.mark.slow
@pytest.mark.parametrize("fields", FEATURES, ids=["fgaseg", "training_free"])
def test_a_picture_and_its_words_are_two_programs(tmp_path: Path, fields: dict[str, Any]) -> None:
    onnx = pytest.importorskip("onnx")
    model = tiny_model(**fields, **SMALL)
    picture, words, _ = export_picture_and_words(model, tmp_path)
    assert [path.name for path in (picture, words)] == ["picture.onnx", "words.onnx"]
    names = feature_names(model.config)
    programs = export_picture(model).module(), export_words(model).module()
    for sizes in SIZES:
        inputs = tiny_inputs(*sizes)
        expected = logits_of(model, inputs)
        tensors = dict(zip(names, programs[0](pixel_values=inputs["pixel_values"]), strict=True))
        found = programs[1](text_embeddings=inputs["text_embeddings"], **tensors)
        torch.testing.assert_close(found, expected, **TOLERANCE)
        tensors = dict(zip(names, run_onnx(picture, {"pixel_values": inputs["pixel_values"]}, names), strict=True))
        found = run_onnx(words, {"text_embeddings": inputs["text_embeddings"], **tensors})
        torch.testing.assert_close(found, expected, **TOLERANCE)
    # Each file holds its own half of the weights.
    weights = [{tensor.name for tensor in onnx.load(path).graph.initializer} for path in (picture, words)]
    assert not any("decoder" in name or "text_model" in name for name in weights[0])
    assert not any("vision_model" in name or "text_model" in name for name in weights[1])

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models as programs that run without their Python code: `torch.export` and ONNX."""

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..model.configuration_fgaseg import FGASegConfig
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation

SEGMENTATION_FILE = "model.onnx"
TEXT_ENCODER_FILE = "text_encoder.onnx"
ONNX_PACKAGES = ("onnx", "onnxscript")


class SegmentationProgram(nn.Module):
    """What an exported model computes: pictures and text embeddings in, logits out.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: FGASegForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor, text_embeddings: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) and (classes, dim) -> (batch, classes, 4 rows, 4 columns)."""
        return self.model(pixel_values=pixel_values, text_embeddings=text_embeddings).logits


class TextProgram(nn.Module):
    """What an exported text tower computes: class prompts in, text embeddings out.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: FGASegForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(prompts, length) -> (prompts, dim), of unit length."""
        return self.model.get_text_embeddings(input_ids)


def check_exportable(config: FGASegConfig) -> None:
    """Refuses what no program without branches can compute.

    Args:
        config: The model's configuration.

    Raises:
        ValueError: If how many classes are kept depends on the picture (TopK by the rule `"union"`).
    """
    if config.num_kept_classes is not None and config.class_selection_rule == "union":
        raise ValueError(
            "TopK by the rule 'union' keeps another number of classes for each picture, which cannot be exported: set "
            "`class_selection_rule` to 'peak', or `num_kept_classes` to None."
        )


@torch.no_grad()
def export_segmentation(model: FGASegForSemanticSegmentation, *, dynamic_image_size: bool = True) -> ExportedProgram:
    """Makes a program of the model by `torch.export`, for any number of pictures and of classes.

    TopK and the class limit of the configuration stay in force.

    Args:
        model: The model. It is exported as it is in evaluation mode, in its own precision and on its own device.
        dynamic_image_size: Whether the program takes pictures of any size (sides that are multiples of the patch size),
            or of `config.image_size` alone, which is a little faster.

    Returns:
        A program that takes `pixel_values` (batch, 3, height, width) and `text_embeddings` (classes, dim), and returns
        the logits (batch, classes, 4 rows of patches, 4 columns of patches). PyTorch checks its inputs: where TopK or
        the class limit is set, it wants two classes at least, and of a picture of any size two patches a side.

    Raises:
        ValueError: If the configuration cannot be exported, see [`check_exportable`].
    """
    check_exportable(model.config)
    config: Any = model.config
    patch_size = config.vision_config.patch_size
    # More than one window an axis, so that nothing is taken for a constant that is one only of small grids.
    rows, columns = config.window_size + 1, config.window_size + 2
    height, width = (rows * patch_size, columns * patch_size) if dynamic_image_size else (config.image_size,) * 2
    picture_axes: dict[int, Any] = {0: Dim.DYNAMIC}
    if dynamic_image_size:
        picture_axes |= {2: patch_size * Dim("rows"), 3: patch_size * Dim("columns")}
    example = {
        "pixel_values": torch.zeros(2, 3, height, width, dtype=model.dtype, device=model.device),
        "text_embeddings": torch.zeros(3, config.projection_dim, dtype=model.dtype, device=model.device),
    }
    shapes = {"pixel_values": picture_axes, "text_embeddings": {0: Dim.DYNAMIC}}
    return _export(model, SegmentationProgram(model), example, shapes)


@torch.no_grad()
def export_text_encoder(model: FGASegForSemanticSegmentation) -> ExportedProgram:
    """Makes a program of the model's text tower, for any number of prompts of any length.

    Args:
        model: The model.

    Returns:
        A program that takes `input_ids` (prompts, length) and returns embeddings of unit length (prompts, dim).
    """
    example = {"input_ids": torch.zeros(3, 5, dtype=torch.long, device=model.device)}
    return _export(model, TextProgram(model), example, {"input_ids": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}})


def _export(
    model: FGASegForSemanticSegmentation, program: nn.Module, example: dict[str, torch.Tensor], shapes: dict[str, Any]
) -> ExportedProgram:
    was_training = model.training
    model.eval()
    try:
        return torch.export.export(program.eval(), (), example, dynamic_shapes=shapes, strict=False)
    finally:
        model.train(was_training)


def export_to_onnx(
    model: FGASegForSemanticSegmentation,
    folder: str | os.PathLike[str],
    *,
    dynamic_image_size: bool = True,
    include_text_encoder: bool = True,
) -> list[Path]:
    """Writes the model as ONNX.

    `model.onnx` takes `pixel_values` (batch, 3, height, width) and `text_embeddings` (classes, dim) and gives `logits`;
    `text_encoder.onnx` takes `input_ids` (prompts, length) and gives `text_embeddings`. Where a file appears, it is
    whole: everything is computed and written elsewhere first.

    Args:
        model: The model; in single precision, which every ONNX runtime computes with.
        folder: Where to write; made if it is missing. Files of these names are replaced.
        dynamic_image_size: See [`export_segmentation`].
        include_text_encoder: Whether to write `text_encoder.onnx`; not needed where the words are always the same.

    Returns:
        The files written.

    Raises:
        ValueError: If the extra `onnx` is not installed, the configuration cannot be exported, or the folder cannot be
            written to.
    """
    missing = [package for package in ONNX_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f"ONNX export needs {' and '.join(missing)}: install them by `pip install 'fgaseg_hf[onnx]'`.")
    check_exportable(model.config)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        working_folder = tempfile.TemporaryDirectory(dir=folder, prefix=".export-")
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"Cannot write to the folder {str(folder)!r} ({reason}): name another.") from error
    with working_folder as name:
        written = [
            _write_onnx(
                export_segmentation(model, dynamic_image_size=dynamic_image_size),
                Path(name) / SEGMENTATION_FILE,
                {"pixel_values": {0: "batch"}, "text_embeddings": {0: "classes"}},
                "logits",
            )
        ]
        if include_text_encoder:
            path = Path(name) / TEXT_ENCODER_FILE
            axes = {"input_ids": {0: "prompts", 1: "length"}}
            written.append(_write_onnx(export_text_encoder(model), path, axes, "text_embeddings"))
        # The weights of large models lie beside the programs; they go first, since a program is of no use without.
        for path in sorted(Path(name).iterdir(), key=lambda path: path in written):
            path.replace(folder / path.name)
    return [folder / path.name for path in written]


def _write_onnx(program: ExportedProgram, path: Path, axes: dict[str, dict[int, str]], output_name: str) -> Path:
    onnx_program = torch.onnx.export(
        program,
        dynamo=True,
        input_names=list(axes),
        output_names=[output_name],
        # Of a program, only the names are taken from here.
        dynamic_shapes=axes,
        verbose=False,
    )
    assert onnx_program is not None
    # One file where the format allows it (2 GiB); weights beside the program otherwise.
    num_bytes = sum(weights.nbytes for weights in program.state_dict.values())
    onnx_program.save(path, external_data=num_bytes > 2**30)
    return path


__all__ = ["check_exportable", "export_segmentation", "export_text_encoder", "export_to_onnx"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models as programs that run without their Python code: `torch.export`."""

from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from .exported_parts import (
    PictureProgram,
    SegmentationProgram,
    TextProgram,
    WordsProgram,
    check_exportable,
    feature_names,
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
    example = {"pixel_values": _example_pictures(model, dynamic_image_size), "text_embeddings": _example_words(model)}
    shapes = {
        "pixel_values": _picture_axes(model.config, dynamic_image_size),
        "text_embeddings": {0: Dim.DYNAMIC},
    }
    return _export(model, SegmentationProgram(model), example, shapes)


@torch.no_grad()
def export_picture(model: FGASegForSemanticSegmentation, *, dynamic_image_size: bool = True) -> ExportedProgram:
    """Makes a program of what a model computes of a picture before it knows any word.

    Args:
        model: See [`export_segmentation`].
        dynamic_image_size: See [`export_segmentation`].

    Returns:
        A program that takes `pixel_values` (batch, 3, height, width) and returns the tensors of [`feature_names`].
    """
    example = {"pixel_values": _example_pictures(model, dynamic_image_size)}
    shapes = {"pixel_values": _picture_axes(model.config, dynamic_image_size)}
    return _export(model, PictureProgram(model), example, shapes)


@torch.no_grad()
def export_words(model: FGASegForSemanticSegmentation, *, dynamic_image_size: bool = True) -> ExportedProgram:
    """Makes a program of what a model computes where words meet a picture that [`export_picture`] has encoded.

    Args:
        model: See [`export_segmentation`].
        dynamic_image_size: See [`export_segmentation`].

    Returns:
        A program that takes `text_embeddings` (classes, dim) and the tensors of [`feature_names`] by these names, and
        returns the logits that [`export_segmentation`] returns.

    Raises:
        ValueError: If the configuration cannot be exported, see [`check_exportable`].
    """
    check_exportable(model.config)
    was_training = model.training
    features = PictureProgram(model.eval())(_example_pictures(model, dynamic_image_size))
    model.train(was_training)
    names = feature_names(model.config)
    shapes: dict[str, dict[int, Any]] = {"text_embeddings": {0: Dim.DYNAMIC}}
    rows, columns = Dim("rows"), Dim("columns")
    for name, scale in zip(names, (1, 2, 4, 1) if len(names) > 2 else (1, 1), strict=False):
        shapes[name] = {0: Dim.DYNAMIC}
        if dynamic_image_size:
            grid = (rows, columns) if scale == 1 else (scale * rows, scale * columns)
            places = (1, 2, 3, 4) if name == "patch_affinity" else (2, 3)
            shapes[name] |= dict(zip(places, grid * 2, strict=False))
    example = {"text_embeddings": _example_words(model), **dict(zip(names, features, strict=True))}
    return _export(model, WordsProgram(model), example, shapes)


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


def _example_pictures(model: FGASegForSemanticSegmentation, dynamic_image_size: bool) -> torch.Tensor:
    config: Any = model.config
    patch_size = config.vision_config.patch_size
    # More than one window an axis, so that nothing is taken for a constant that is one only of small grids.
    rows, columns = config.window_size + 1, config.window_size + 2
    height, width = (rows * patch_size, columns * patch_size) if dynamic_image_size else (config.image_size,) * 2
    return torch.zeros(2, 3, height, width, dtype=model.dtype, device=model.device)


def _example_words(model: FGASegForSemanticSegmentation) -> torch.Tensor:
    return torch.zeros(3, model.config.projection_dim, dtype=model.dtype, device=model.device)


def _picture_axes(config: Any, dynamic_image_size: bool) -> dict[int, Any]:
    patch_size = config.vision_config.patch_size
    sides = {2: patch_size * Dim("rows"), 3: patch_size * Dim("columns")} if dynamic_image_size else {}
    return {0: Dim.DYNAMIC, **sides}


def _export(
    model: FGASegForSemanticSegmentation, program: nn.Module, example: dict[str, torch.Tensor], shapes: dict[str, Any]
) -> ExportedProgram:
    was_training = model.training
    model.eval()
    try:
        return torch.export.export(program.eval(), (), example, dynamic_shapes=shapes, strict=False)
    finally:
        model.train(was_training)


__all__ = ["export_picture", "export_segmentation", "export_text_encoder", "export_words"]

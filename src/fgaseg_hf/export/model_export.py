# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models as programs that run without their Python code: `torch.export` and ONNX."""

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..model.configuration_fgaseg import FGASegConfig
from ..model.model_outputs import FGASegImageFeatures
from ..model.modeling_fgaseg import FGASegForSemanticSegmentation

SEGMENTATION_FILE = "model.onnx"
TEXT_ENCODER_FILE = "text_encoder.onnx"
PICTURE_FILE = "picture.onnx"
WORDS_FILE = "words.onnx"
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


class PictureProgram(nn.Module):
    """The half of a model that needs no words: pictures in, what words are asked of out.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: FGASegForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(batch, 3, height, width) -> the tensors that [`feature_names`] names, in this order."""
        features = self.model.get_image_features(pixel_values)
        tensors = [features.patch_features, *(features.upsampling_guidance or ())]
        if features.patch_affinity is not None:
            # An axis each for rows and columns: a program can be told how these grow with the picture.
            grid = features.patch_features.shape[-2:]
            tensors.append(features.patch_affinity.unflatten(2, grid).unflatten(1, grid))
        return tuple(tensors)


class WordsProgram(nn.Module):
    """The other half of a model: what [`PictureProgram`] gave and text embeddings in, logits out.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: FGASegForSemanticSegmentation) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        text_embeddings: torch.Tensor,
        patch_features: torch.Tensor,
        guidance_coarse: torch.Tensor | None = None,
        guidance_fine: torch.Tensor | None = None,
        patch_affinity: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(classes, dim) and the picture's tensors -> logits (batch, classes, height, width)."""
        guidance = None if guidance_coarse is None or guidance_fine is None else (guidance_coarse, guidance_fine)
        affinity = None if patch_affinity is None else patch_affinity.flatten(3, 4).flatten(1, 2)
        features = FGASegImageFeatures(
            patch_features=patch_features, upsampling_guidance=guidance, patch_affinity=affinity
        )
        return self.model(image_features=features, text_embeddings=text_embeddings).logits


def feature_names(config: FGASegConfig) -> list[str]:
    """Names of the tensors that go from the picture's program to the words', in their order.

    `patch_features` (batch, dim, rows, columns) always; `guidance_coarse` and `guidance_fine`, at twice and four times
    the patch grid, where there is a category-aware decoder; `patch_affinity` (batch, rows, columns, rows, columns)
    where the configuration smooths by it.

    Args:
        config: The model's configuration.
    """
    guidance = ["guidance_coarse", "guidance_fine"] if config.decoder_type == "category" else []
    return ["patch_features", *guidance, *([] if config.affinity_layer is None else ["patch_affinity"])]


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
    check_exportable(model.config)

    def write(working_folder: Path) -> list[Path]:
        program = export_segmentation(model, dynamic_image_size=dynamic_image_size)
        axes = {"pixel_values": {0: "batch"}, "text_embeddings": {0: "classes"}}
        written = [_write_onnx(program, working_folder / SEGMENTATION_FILE, axes, ["logits"])]
        return written + ([_write_text_encoder(model, working_folder)] if include_text_encoder else [])

    return _write_at_once(folder, write)


def export_picture_and_words(
    model: FGASegForSemanticSegmentation,
    folder: str | os.PathLike[str],
    *,
    dynamic_image_size: bool = True,
    include_text_encoder: bool = True,
) -> list[Path]:
    """Writes the model as two ONNX programs, so that new words on a known picture do not cost the picture again.

    `picture.onnx` takes `pixel_values` (batch, 3, height, width) and gives the tensors of [`feature_names`];
    `words.onnx` takes `text_embeddings` (classes, dim) and these tensors by their names, and gives `logits`;
    `text_encoder.onnx` takes `input_ids` (prompts, length) and gives `text_embeddings`.

    Args:
        model: See [`export_to_onnx`], as for all arguments.
        folder: Where to write.
        dynamic_image_size: Whether pictures may have any size.
        include_text_encoder: Whether to write `text_encoder.onnx`.

    Returns:
        The files written.

    Raises:
        ValueError: As for [`export_to_onnx`].
    """
    check_exportable(model.config)
    names = feature_names(model.config)

    def write(working_folder: Path) -> list[Path]:
        picture = export_picture(model, dynamic_image_size=dynamic_image_size)
        words = export_words(model, dynamic_image_size=dynamic_image_size)
        axes = {"text_embeddings": {0: "classes"}, **{name: {0: "batch"} for name in names}}
        written = [
            _write_onnx(picture, working_folder / PICTURE_FILE, {"pixel_values": {0: "batch"}}, names),
            _write_onnx(words, working_folder / WORDS_FILE, axes, ["logits"]),
        ]
        return written + ([_write_text_encoder(model, working_folder)] if include_text_encoder else [])

    return _write_at_once(folder, write)


def _write_text_encoder(model: FGASegForSemanticSegmentation, folder: Path) -> Path:
    axes = {"input_ids": {0: "prompts", 1: "length"}}
    return _write_onnx(export_text_encoder(model), folder / TEXT_ENCODER_FILE, axes, ["text_embeddings"])


def _write_at_once(folder: str | os.PathLike[str], write: Callable[[Path], list[Path]]) -> list[Path]:
    """Lets `write` make files in a folder aside, and moves all of them to where they belong when they are whole.

    Raises:
        ValueError: If the extra `onnx` is not installed, or the folder cannot be written to.
    """
    missing = [package for package in ONNX_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f"ONNX export needs {' and '.join(missing)}: install them by `pip install 'fgaseg_hf[onnx]'`.")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        working_folder = tempfile.TemporaryDirectory(dir=folder, prefix=".export-")
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"Cannot write to the folder {str(folder)!r} ({reason}): name another.") from error
    with working_folder as name:
        written = write(Path(name))
        # The weights of large models lie beside the programs; they go first, since a program is of no use without.
        for path in sorted(Path(name).iterdir(), key=lambda path: path in written):
            path.replace(folder / path.name)
    return [folder / path.name for path in written]


def _write_onnx(program: ExportedProgram, path: Path, axes: dict[str, dict[int, str]], output_names: list[str]) -> Path:
    onnx_program = torch.onnx.export(
        program,
        dynamo=True,
        input_names=list(axes),
        output_names=output_names,
        # Of a program, only the names are taken from here.
        dynamic_shapes=axes,
        verbose=False,
    )
    assert onnx_program is not None
    # One file where the format allows it (2 GiB); weights beside the program otherwise.
    num_bytes = sum(weights.nbytes for weights in program.state_dict.values())
    onnx_program.save(path, external_data=num_bytes > 2**30)
    return path


__all__ = [
    "check_exportable",
    "export_picture",
    "export_picture_and_words",
    "export_segmentation",
    "export_text_encoder",
    "export_to_onnx",
    "export_words",
    "feature_names",
]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models as ONNX files."""

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.export import ExportedProgram

from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
from .exported_parts import check_exportable, feature_names
from .model_export import export_picture, export_segmentation, export_text_encoder, export_words

SEGMENTATION_FILE = "model.onnx"

TEXT_ENCODER_FILE = "text_encoder.onnx"

PICTURE_FILE = "picture.onnx"

WORDS_FILE = "words.onnx"

ONNX_PACKAGES = ("onnx", "onnxscript")


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
        dynamic_image_size: See [`fgaseg_hf.export.model_export.export_segmentation`].
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


__all__ = ["export_picture_and_words", "export_to_onnx"]

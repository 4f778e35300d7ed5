# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommands `fgaseg training-free`, which makes a segmenter of a CLIP, and `fgaseg export-clip`, the way back."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from . import segmentation_options as options

# As in model/clip_dense_features.py, which is not imported before it is needed.
DenseAttention = Literal["value", "self_correlation", "neighbour"]
DenseResidual = Literal["class", "patch", "none"]


def training_free(
    clip: Annotated[
        str, typer.Argument(metavar="CLIP", help="A CLIP checkpoint: a folder or an id on the Hugging Face Hub.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to make.")],
    image_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="PIXELS", help="Side that pictures are resized to.", show_default="CLIP's own"),
    ] = None,
    attention: Annotated[
        DenseAttention, typer.Option(help="What a patch attends to in the last block: as in MaskCLIP, SCLIP, NACLIP.")
    ] = "value",
    residual: Annotated[
        DenseResidual, typer.Option(help="What the last block adds to: the class token, the patch, or nothing.")
    ] = "class",
    affinity_layer: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="LAYER",
            help="Smooth by how alike patches are after this block of the image tower, as in ProxyCLIP.",
            show_default="no smoothing",
        ),
    ] = None,
    template: options.Template = None,
) -> None:
    """Make a segmenter of a CLIP as it is, without any training.

    The folder loads like every FGASeg checkpoint: with --model, in Python, in a pipeline, in training/evaluate.py.
    """
    from ..conversion.clip_checkpoints import load_training_free
    from ..conversion.model_loading import broken_checkpoints_named
    from ..release.checkpoint_files import check_architecture

    refuse_model_folder(out)
    check_architecture(clip, ("clip",))
    fields: dict[str, Any] = {"dense_attention": attention, "dense_residual": residual}
    fields |= {"affinity_layer": affinity_layer} | ({} if image_size is None else {"image_size": image_size})
    with broken_checkpoints_named(clip):
        model, processor = load_training_free(clip, template or None, **fields)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    typer.echo(f'{out} is ready: fgaseg segment PICTURE --labels "sky, tree" --model {out}')


def export_clip(
    model: Annotated[
        str, typer.Argument(metavar="ID_OR_FOLDER", help="A FGASeg checkpoint: a folder or an id on the Hub.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to make.")],
    negate_text: Annotated[
        bool,
        typer.Option(
            "--negate-text",
            help="Turn all text embeddings round: for a model trained from nothing in which words are least like what "
            "they name, as in the built-in one.",
        ),
    ] = False,
) -> None:
    """Write a model's two towers as a CLIP checkpoint in the Hub's layout."""
    from ..conversion.clip_checkpoints import save_clip
    from ..conversion.model_loading import load_checkpoint

    refuse_model_folder(out)
    segmenter, processor = load_checkpoint(model)
    out.mkdir(parents=True, exist_ok=True)
    save_clip(segmenter, processor, out, negate_text)
    typer.echo(f"{out} is ready: CLIPModel.from_pretrained({str(out)!r})")


def refuse_model_folder(out: Path) -> None:
    """Keeps a model from being written over another.

    Raises:
        ValueError: There is a model in the folder.
    """
    if (out / "config.json").exists():
        raise ValueError(f"There is a model in {str(out)!r} already: name a new folder.")


__all__ = ["export_clip", "training_free"]

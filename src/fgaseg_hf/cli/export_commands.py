# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommand `fgaseg export`."""

from pathlib import Path
from typing import Annotated, Any

import typer


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A FGASeg checkpoint: a folder or an id on the Hugging Face Hub.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where model.onnx, text_encoder.onnx and the processor's files go.")
    ],
    image_size: Annotated[
        str,
        typer.Option(
            metavar="any|fixed",
            help="Whether the program takes pictures of any size, or of the checkpoint's own alone, a little faster.",
        ),
    ] = "any",
    topk: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Examine only the K most likely labels of each picture.",
            show_default="the checkpoint's own",
        ),
    ] = None,
    text_encoder: Annotated[
        bool, typer.Option("--text-encoder/--no-text-encoder", help="Write text_encoder.onnx too.")
    ] = True,
) -> None:
    """Write a model as ONNX, to run it without PyTorch.

    Numbers of pictures and of labels are free; text embeddings are an input. Needs the extra "onnx".
    """
    if image_size not in ("any", "fixed"):
        raise ValueError(f"--image-size is {image_size!r}: choose 'any' or 'fixed'.")

    import torch

    from ..export.exported_parts import check_exportable
    from ..export.onnx_export import export_to_onnx
    from ..model.configuration_fgaseg import FGASegConfig
    from ..model.modeling_fgaseg import FGASegForSemanticSegmentation
    from ..model.processing_fgaseg import FGASegProcessor
    from ..release.checkpoint_files import check_architecture

    check_architecture(model)
    overrides: dict[str, Any] = {} if topk is None else {"num_kept_classes": topk}
    config = FGASegConfig.from_pretrained(model, **overrides)
    check_exportable(config)
    processor = FGASegProcessor.from_pretrained(model)
    loaded = FGASegForSemanticSegmentation.from_pretrained(model, config=config, dtype=torch.float32)
    written = export_to_onnx(loaded, out, dynamic_image_size=image_size == "any", include_text_encoder=text_encoder)
    processor.save_pretrained(out)
    typer.echo(f"Written: {', '.join(map(str, written))}, and the processor's files beside.")

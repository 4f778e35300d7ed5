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

    from ..conversion.model_loading import adapter_settings, find_model, load_model
    from ..export.exported_parts import check_exportable
    from ..export.onnx_export import export_to_onnx
    from ..release.checkpoint_files import check_architecture, read_config

    overrides: dict[str, Any] = {} if topk is None else {"num_kept_classes": topk}
    place = find_model(model)
    if adapter_settings(place) is None:
        # What forbids it is found out before weights are read.
        check_architecture(place)
        check_exportable(read_config(place, **overrides))
    loaded = load_model(model, **overrides)
    check_exportable(loaded.model.config)
    written = export_to_onnx(
        loaded.model, out, dynamic_image_size=image_size == "any", include_text_encoder=text_encoder
    )
    loaded.processor.save_pretrained(out)
    typer.echo(f"Written: {', '.join(map(str, written))}, and the processor's files beside.")

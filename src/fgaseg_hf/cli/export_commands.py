# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommand `fgaseg export`: ONNX files, and a page that runs them in the browser."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..conversion.model_loading import LoadedModel


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A FGASeg checkpoint: a folder or an id on the Hugging Face Hub.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where model.onnx, text_encoder.onnx and the processor's files go."),
    ] = None,
    web: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where a page goes that runs the model in the browser, for any static host to serve."
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --web: the unpacked npm package onnxruntime-web.",
            show_default="npm fetches it",
        ),
    ] = None,
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
    """Write a model as ONNX, to run it without PyTorch, or as a page that runs it in the browser.

    With --out, numbers of pictures and of labels are free; text embeddings are an input. With --web, the folder holds
    all that the page needs: it asks no other host for anything, and what is typed and chosen stays in the browser.
    Needs the extra "onnx".
    """
    if out is None and web is None:
        raise ValueError("There is nothing to write: give --out FOLDER, --web FOLDER, or both.")
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
    if out is not None:
        written = export_to_onnx(
            loaded.model, out, dynamic_image_size=image_size == "any", include_text_encoder=text_encoder
        )
        loaded.processor.save_pretrained(out)
        typer.echo(f"Written: {', '.join(map(str, written))}, and the processor's files beside.")
    if web is not None:
        _export_web(loaded, Path(place), web, runtime)


def _export_web(loaded: "LoadedModel", place: Path, web: Path, runtime: Path | None) -> None:
    from ..conversion.named_models import DEFAULT_MODEL, builtin_model_folder
    from ..export.web_export import export_web_page

    is_builtin = place.resolve() == builtin_model_folder().resolve()
    page = export_web_page(
        loaded.model,
        loaded.processor,
        web,
        name=DEFAULT_MODEL if is_builtin else Path(loaded.source).name,
        license=_license_of(DEFAULT_MODEL if is_builtin else loaded.source, place),
        example=_example_in(place),
        runtime=runtime,
    )
    mebibytes = sum(path.stat().st_size for path in page) / 2**20
    typer.echo(f"Written: {web / 'index.html'} and what it needs, {mebibytes:.1f} MiB. To see it:")
    typer.echo(f"  python -m http.server --bind 127.0.0.1 --directory {web} 8080    and open http://127.0.0.1:8080")


def _license_of(source: str, place: Path) -> str | None:
    """The licence of a known model, or what the card beside the weights says."""
    from ..conversion.named_models import NAMED_MODELS

    if source in NAMED_MODELS:
        return NAMED_MODELS[source].license
    card = place / "README.md"
    found = re.search(r"^license: *(\S+)$", card.read_text(encoding="utf-8"), re.MULTILINE) if card.is_file() else None
    return found and found[1]


def _example_in(place: Path) -> tuple[Path, list[str]] | None:
    """The picture and words that lie beside the weights, if any do."""
    picture, words = place / "example.png", place / "example.json"
    if not picture.is_file() or not words.is_file():
        return None
    return picture, list(json.loads(words.read_text(encoding="utf-8"))["labels"])


__all__ = ["export"]

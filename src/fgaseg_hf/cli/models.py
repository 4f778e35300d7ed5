# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommand `fgaseg models`."""

from typing import Annotated

import typer


def models(
    path: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Print the folder of this model, which is fetched first if it is not on this machine.",
            show_default="list all",
        ),
    ] = None,
) -> None:
    """List the models that are known by a name.

    Each can be given as --model, and as Segmenter(NAME) in Python; it is fetched when it is used for the first time.
    mIoU in per cent on A-847, PC-459, A-150, PC-59, PAS-20 and PAS-20b is what its authors publish.
    """
    from ..conversion.named_models import NAMED_MODELS, published_mean_iou

    if path is not None:
        if path not in NAMED_MODELS:
            raise ValueError(f"There is no model called {path!r}: choose among {', '.join(NAMED_MODELS)}.")
        from ..conversion.model_store import fetch_named_model

        typer.echo(fetch_named_model(path))
        return
    from ..conversion.model_store import cached_folder

    rows = [("name", "what it is", "size", "licence", "on this machine", "published mIoU", "source")]
    for name, entry in NAMED_MODELS.items():
        size = f"{entry.megabytes / 1000:.1f} GB" if entry.megabytes else "built in"
        published = " ".join(f"{value:.1f}" for value in published_mean_iou(name).values()) or "-"
        is_here = "no" if cached_folder(name) is None else "yes"
        rows.append((name, entry.about, size, entry.license, is_here, published, entry.source or "the package"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


__all__ = ["models"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The `fgaseg` command: a file a subcommand, each of which imports what it needs when it runs."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from .. import __version__
from .checkpoint_commands import convert
from .clip_commands import export_clip, training_free
from .door_commands import page, serve
from .explain import explain
from .export_commands import export
from .models import models
from .preparation_commands import prepare
from .refusals import (
    bad_input_and_quiet_transformers,
    bad_input_to_exit_code,
    print_whatever_the_terminal_takes,
)
from .release_commands import card, inspect, release
from .row_commands import rows
from .segment import segment
from .training_commands import add_training_commands
from .video import video

app = typer.Typer(
    name="fgaseg",
    help="Open-vocabulary segmentation: name what you look for, get a label for every pixel.",
    no_args_is_help=True,
    # Plain help pages: the boxes of the other modes leave half a line for the text.
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
)


def main() -> None:
    """Runs the command line (the entry point of the `fgaseg` script and of `python -m fgaseg_hf`)."""
    print_whatever_the_terminal_takes()
    app(prog_name="fgaseg")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fgaseg_hf {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Open-vocabulary segmentation: name what you look for, get a label for every pixel."""


def _add(command: Callable[..., Any], example: str, name: str | None = None, quiet: bool = True) -> None:
    around = bad_input_and_quiet_transformers if quiet else bad_input_to_exit_code
    app.command(name=name, epilog=f"Example: fgaseg {example}")(around()(command))


# It prints what goes on by itself.
_add(segment, 'segment street.jpg --labels "red car, blue house, sky"', quiet=False)
_add(explain, 'explain street.jpg --labels "red car, blue house, sky"', quiet=False)
_add(video, 'video street.mp4 --labels "car, road, sky" --output street_segmented.mp4', quiet=False)
# Fetching shows the Hub's own progress bar.
_add(models, "models --path catseg-base", quiet=False)
_add(prepare, "prepare a-847 --source ADE20K_2021_17_01 --out a847", quiet=False)
_add(training_free, "training-free openai/clip-vit-base-patch16 --out segmenter", "training-free")
_add(export_clip, "export-clip my_model --out my_clip", "export-clip")
_add(convert, "convert model_base.pth --out catseg-base")
_add(inspect, "inspect runs/first/best")
_add(card, "card FOLDER --results FOLDER/results --license apache-2.0 --out README.md")
_add(release, "release runs/first --repo OWNER/NAME --license apache-2.0 --dry-run")
_add(export, "export runs/first/best --out onnx")
_add(rows, 'rows photographs --labels "car, road, sky" --output rows', quiet=False)
_add(serve, 'serve --labels "car, road, sky"', quiet=False)
_add(page, "page", quiet=False)
add_training_commands(app)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommands `fgaseg fetch`, `train` and `evaluate`; the last two hand their words on to their own arguments."""

from typing import Annotated

import typer

# Options are those of the room's argument parser, `--help` too.
HANDS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def add_training_commands(app: typer.Typer) -> None:
    """Adds the subcommands to the command line."""
    app.command(epilog="Example: fgaseg fetch coco-stuff")(fetch)
    app.command(context_settings=HANDS_ON)(train)
    app.command(context_settings=HANDS_ON)(evaluate)


def fetch(
    dataset: Annotated[str, typer.Argument(metavar="NAME", help="A benchmark, or the id of a data set on the Hub.")],
    revision: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Commit, tag or branch.", show_default="the newest commit")
    ] = None,
) -> None:
    """Fetch a data set from the Hub before training on it; says its size first, and fetches only what is missing."""
    from ..evaluation.command_line_arguments import require_packages, run_script

    def run() -> None:
        require_packages("train", "datasets")
        from ..data.hub_datasets import fetch_dataset

        fetched = fetch_dataset(dataset, revision, typer.echo)
        typer.echo(f"Fetched. To train on this very version: --dataset_revision {fetched.commit}")

    run_script(run)


def train(context: typer.Context) -> None:
    """Train a model; all options: fgaseg train --help."""
    from ..evaluation.command_line_arguments import run_script
    from ..training.train import main

    run_script(lambda: main(context.args))


def evaluate(context: typer.Context) -> None:
    """Measure a model on a data set; all options: fgaseg evaluate --help."""
    from ..evaluation.command_line_arguments import require_packages, run_script

    def measure() -> None:
        require_packages("eval", "accelerate", "datasets")
        from ..evaluation.evaluate import main

        main(context.args)

    run_script(measure)

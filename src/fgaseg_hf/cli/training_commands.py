# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommands `fgaseg train` and `fgaseg evaluate`: they hand their words on to the rooms' own arguments."""

import typer

# Options are those of the room's argument parser, `--help` too.
HANDS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def add_training_commands(app: typer.Typer) -> None:
    """Adds the subcommands to the command line."""
    app.command(context_settings=HANDS_ON)(train)
    app.command(context_settings=HANDS_ON)(evaluate)


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

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How commands end: bad input is one sentence on standard error and an exit code that scripts can tell apart."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

EXIT_CODE_SOME_FAILED = 1
# Typer's and Click's own code for a command that was called wrongly.
EXIT_CODE_BAD_INPUT = 2
# What shells give for a program that ended by Ctrl-C.
EXIT_CODE_INTERRUPTED = 130


@contextmanager
def bad_input_to_exit_code() -> Iterator[None]:
    """Turns the errors of bad input into one sentence on stderr and exit code 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"fgaseg: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_CODE_BAD_INPUT) from error


@contextmanager
def bad_input_and_quiet_transformers() -> Iterator[None]:
    """The same, with Transformers' loading bars and warnings kept off the terminal."""
    with bad_input_to_exit_code():
        from ..conversion.model_loading import quiet_transformers

        with quiet_transformers():
            yield


def print_whatever_the_terminal_takes() -> None:
    """Lets what standard output cannot write appear as a question mark, instead of ending the work."""
    for stream in (sys.stdout, sys.stderr):
        # Streams that tests and notebooks put in their place need not have this.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


__all__ = [
    "EXIT_CODE_BAD_INPUT",
    "EXIT_CODE_INTERRUPTED",
    "EXIT_CODE_SOME_FAILED",
    "bad_input_and_quiet_transformers",
    "bad_input_to_exit_code",
    "print_whatever_the_terminal_takes",
]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommand `fgaseg rows`."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from .door_commands import MODEL_HELP
from .refusals import EXIT_CODE_SOME_FAILED


def rows(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of pictures, or a Parquet file with the columns id and picture (paths or files' bytes).",
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the Parquet files go.")],
    labels: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Separated by commas.", show_default="what was saved with the model"),
    ] = None,
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)] = "scenes",
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Least probability of a pixel's word.")] = None,
    background: Annotated[str | None, typer.Option(metavar="NAME", help="What to call the rest.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures of one file.")] = 32,
) -> None:
    """Segment very many pictures into Parquet: of each its words with run-length masks, shares and scores.

    The same command again does what is left. A picture that cannot be read has a row with its error.
    Needs the extra `scale`.
    """
    from tqdm import tqdm

    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError("There is no package 'pyarrow' here: pip install \"fgaseg_hf[scale]\".")

    from ..apps.row_job import RowJob, find_sources, run_here, what_is_left
    from ..inference.word_lists import read_words

    words = None if labels is None else read_words(labels)
    given: dict[str, Any] = {"threshold": threshold, "background": background}
    options = {name: value for name, value in given.items() if value is not None}
    job = RowJob(output, model, words, options, batch_size)
    sources = find_sources(source)
    job.begin()
    left = what_is_left(job, sources)
    num_failed = 0
    with tqdm(total=len(sources), initial=len(sources) - len(left), desc="Segmenting", unit="picture") as progress:
        for batch in run_here(job, left):
            progress.update(len(batch["id"]))
            num_failed += sum(map(bool, batch["error"]))
    typer.echo(f"{len(sources)} pictures have rows in {output}; {num_failed} of this run could not be segmented.")
    if num_failed:
        raise typer.Exit(EXIT_CODE_SOME_FAILED)


__all__ = ["rows"]

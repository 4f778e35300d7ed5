# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommand `fgaseg prepare`."""

from pathlib import Path
from typing import Annotated

import typer


def prepare(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Which benchmark: coco-stuff, a-150, a-847, pc-59, pc-459, pas-20, pas-20b, cityscapes, folder "
            "(pictures and label maps of your own).",
        ),
    ],
    source: Annotated[Path, typer.Option(metavar="FOLDER", help="The published files, unpacked.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="The folder to make. Stopped half-way, the same command goes on from there."
        ),
    ],
    do_reduce_labels: Annotated[
        bool,
        typer.Option(
            "--do_reduce_labels",
            help="The label maps of `folder` count the classes from 1, and 0 is not annotated.",
        ),
    ] = False,
) -> None:
    """Turn a benchmark's published files into parquet, for training and evaluation.

    Prints how many pictures there are, and how many were left out and why.
    """
    from ..data.benchmark_preparation import describe_preparation, describe_remarks, prepare_benchmark

    prepared = prepare_benchmark(name, source, out, do_reduce_labels=do_reduce_labels)
    typer.echo(describe_preparation(prepared))
    remarks = describe_remarks(prepared)
    if remarks:
        typer.echo(f"{remarks}\nIds that mean something else can be read with --id_map and --ignored_ids.", err=True)
    typer.echo(f"{out} is ready: fgaseg evaluate --dataset {out} --model ID_OR_FOLDER")

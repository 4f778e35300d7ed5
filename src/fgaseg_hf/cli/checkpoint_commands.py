# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The `fgaseg` subcommands that make checkpoints out of checkpoints."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..model.json_reading import parse_json

LAYOUTS = ("catseg", "fga-seg")
ACTIVATIONS = ("gelu", "quick_gelu")
DTYPES = ("float32", "float16", "bfloat16")


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Released FGA-seg or CAT-Seg weights (.pth), OpenAI's CLIP (.pt) or OpenCLIP's (.bin, .pt, "
            ".safetensors), a CLIP folder in the Hub's layout, or one of these on the Hub: owner/name, or "
            "owner/name/file.pth.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The folder to make (with --to, the .pth file).", show_default="needed but to look"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what SOURCE is and what it would become, and write nothing.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="LAYOUT",
            help=f"The way back: SOURCE is a FGASeg folder, and --out a .pth for the released code of "
            f"{' or '.join(LAYOUTS)}.",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER_OR_ID",
            help="The text tower's tokenizer.",
            show_default="the source folder's, or else openai/clip-vit-base-patch16",
        ),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"CLIP's activation, {' or '.join(ACTIVATIONS)}, which no state dict says.",
            show_default="quick_gelu for OpenAI's, FGA-seg's and CAT-Seg's files, gelu for others",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE", help=f"Float type to write: {', '.join(DTYPES)}.", show_default="float32; with --to, as is"
        ),
    ] = None,
    max_shard_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Split larger checkpoints into safetensors files of this size.")
    ] = "2GB",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field of the configuration that shapes do not tell, in JSON: guidance_layers=[4,8], or "
            "vision_config.num_attention_heads=16. May be given several times.",
        ),
    ] = None,
    ignore_unexpected: Annotated[
        bool, typer.Option("--ignore-unexpected", help="Drop tensors that have no place; they are named.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of what starts fresh: with CLIP, all but the towers.")] = 0,
) -> None:
    """Turn a checkpoint of FGA-seg, CAT-Seg or CLIP into a FGASeg folder, and back.

    Reads tensors only: a file that would have to run code is refused.
    """
    for name, value, choices in (("--to", to, LAYOUTS), ("--activation", activation, ACTIVATIONS)):
        if value is not None and value not in choices:
            raise ValueError(f"There is no {name} {value!r}: choose {' or '.join(choices)}.")
    overrides = parse_settings(settings or [])
    if out is None and not (dry_run and to is None):
        raise ValueError("There is no --out: name the folder to make, or look first with --dry-run.")

    from ..conversion.conversion_plan import plan_conversion
    from ..conversion.model_conversion import convert_checkpoint, export_released_checkpoint

    if dry_run and to is None:
        plan = plan_conversion(source, activation=activation, overrides=overrides)  # type: ignore[arg-type]
        typer.echo(plan.describe())
        plan.check(ignore_unexpected)
        return
    assert out is not None  # see above
    if to is not None:
        count = export_released_checkpoint(source, out, to, dtype=dtype, dry_run=dry_run)  # type: ignore[arg-type]
        typer.echo(f"{out}: {count} tensors in the layout of {to}{' would be written' if dry_run else ''}")
        return
    plan = convert_checkpoint(
        source,
        out,
        tokenizer=tokenizer,
        activation=activation,  # type: ignore[arg-type]
        dtype=dtype or "float32",
        max_shard_size=max_shard_size,
        ignore_unexpected=ignore_unexpected,
        seed=seed,
        overrides=overrides,
    )
    typer.echo(plan.describe())
    typer.echo(f"{out} is ready: fgaseg segment PICTURE --labels WORDS --model {out}")


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Reads `field=value` and `tower.field=value`, values in JSON (a bare word is a text).

    Raises:
        ValueError: One of them has no name or no value.
    """
    fields: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        path = name.strip().split(".")
        if not equals or not all(path) or len(path) > 2:
            raise ValueError(f"The setting {setting!r} must read FIELD=VALUE or TOWER.FIELD=VALUE.")
        try:
            value = parse_json(text)
        except ValueError:
            value = text.strip()
        if len(path) == 1:
            fields[path[0]] = value
        else:
            fields.setdefault(path[0], {})[path[1]] = value
    return fields


__all__ = ["convert", "parse_settings"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommands around checkpoints: `fgaseg inspect`, `fgaseg card` and `fgaseg release`."""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

Results = Annotated[
    list[Path] | None,
    typer.Option(metavar="JSON", help="Result files of training/evaluate.py, or folders of them.", show_default="none"),
]
Description = Annotated[
    Path | None,
    typer.Option(
        metavar="YAML",
        help="Words of the card: name, license, summary, training, limits, bias, ... The options below win.",
        show_default="none",
    ),
]
License = Annotated[
    str | None, typer.Option("--license", metavar="ID", help="Licence, such as apache-2.0.", show_default="none")
]
BaseModel = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="Model on the Hub that it starts from.", show_default="none"),
]
TrainingData = Annotated[
    list[str] | None,
    typer.Option("--dataset", metavar="ID", help="Data set on the Hub it was trained on.", show_default="none"),
]
TrainingCommand = Annotated[
    str | None, typer.Option(metavar="COMMAND", help="The command that trained it.", show_default="none")
]


def inspect(
    checkpoint: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name, a folder, a file of weights, or an id on the Hub.")
    ],
    hashes: Annotated[
        bool, typer.Option("--hashes/--no-hashes", help="Hash the weights, which reads them, a tensor at a time.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines for people.")] = False,
) -> None:
    """Tell what a checkpoint holds, without loading it.

    Prints parameters by block and what of them trains, types, sizes, grids, limits and the vocabulary.
    """
    from ..conversion.model_loading import adapter_settings, find_model
    from ..release.checkpoint_description import describe_checkpoint
    from ..release.checkpoint_inspection import inspect_checkpoint

    place = find_model(checkpoint)
    if (adapter := adapter_settings(place)) is not None:
        base = adapter["base_model_name_or_path"]
        kind = f"{adapter.get('peft_type', 'PEFT')} of rank {adapter.get('r', '?')}"
        typer.echo(f"{checkpoint} is an adapter ({kind}) of {base}, which is this:", err=as_json)
        place = find_model(base)
    found = inspect_checkpoint(place, with_hashes=hashes)
    typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else describe_checkpoint(found))


def card(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The checkpoint's folder.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The Markdown file to write.")],
    results: Results = None,
    description: Description = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The model's name, or its id on the Hub.", show_default="the folder's"),
    ] = None,
    license_id: License = None,
    base_model: BaseModel = None,
    training_data: TrainingData = None,
    training_command: TrainingCommand = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file at --out that is no card of fgaseg's.")
    ] = False,
) -> None:
    """Write a model card from a checkpoint and its results.

    Each number comes from a result file, and each of these must have been measured on these weights.
    """
    from ..release.card_description import CardDescription
    from ..release.checkpoint_inspection import inspect_checkpoint
    from ..release.model_card import make_model_card
    from ..release.run_contents import find_results

    fields = _description_fields(license_id, base_model, training_data, training_command)
    if name is not None or description is None:
        fields["name"] = name or folder.resolve().name
    words = CardDescription.load(description, **fields)
    records = find_results(None, results) if results else []
    text = str(make_model_card(inspect_checkpoint(folder), records, words))
    if not overwrite and out.exists() and not is_card_like(out, text):
        raise ValueError(
            f"The file {str(out)!r} is there already and is no card of fgaseg's: name another --out, or give "
            "--overwrite."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    typer.echo(f"{out}: the card of {words.name}, from {len(records)} results")


def is_card_like(path: Path, text: str) -> bool:
    """Whether a file is a card as this command writes it: with the same sections, one after the other."""

    def sections(card: str) -> list[str]:
        return [line for line in card.splitlines() if line.startswith("## ")]

    try:
        return sections(path.read_text(encoding="utf-8")) == sections(text)
    except (OSError, UnicodeDecodeError):
        return False


def release(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN_FOLDER", help="A run of training/train.py, or a checkpoint's folder.")
    ],
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The repository on the Hub.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all and tell what would go, but push nothing.")] = (
        False
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Collect it here and leave it there.", show_default="a folder that is removed again"
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which checkpoint of the run.", show_default="best, or else last"),
    ] = None,
    results: Results = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Set the vocabulary that lies there.", show_default="the checkpoint's own"),
    ] = None,
    card_file: Annotated[
        Path | None,
        typer.Option("--card", metavar="FILE", help="A finished card.", show_default="one made from the results"),
    ] = None,
    description: Description = None,
    license_id: License = None,
    base_model: BaseModel = None,
    training_data: TrainingData = None,
    training_command: TrainingCommand = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private, if it is new.")] = False,
    message: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of the commit.", show_default="'Release of NAME'")
    ] = None,
) -> None:
    """Collect model, processor, vocabulary, results and card, check all of them, and push them to the Hub.

    Result files that lie in the run's folder, or in its folder `results`, are taken along.
    """
    from ..release.checkpoint_release import collect_release, push_release

    with tempfile.TemporaryDirectory() as temporary:
        collected = collect_release(
            run_folder,
            repo,
            out or Path(temporary) / "release",
            description=description,
            description_fields=_description_fields(license_id, base_model, training_data, training_command),
            results=results or (),
            checkpoint_name=checkpoint,
            vocabulary=vocabulary,
            card=card_file,
        )
        typer.echo(collected.describe())
        if dry_run:
            typer.echo("Dry run: nothing was pushed.")
            return
        typer.echo(f"Pushed to {push_release(collected, private=private, commit_message=message)}")


def _description_fields(
    license_id: str | None,
    base_model: list[str] | None,
    training_data: list[str] | None,
    training_command: str | None,
) -> dict[str, Any]:
    return {
        "license": license_id,
        "base_model": base_model,
        "datasets": training_data,
        "training_command": training_command,
    }


__all__ = ["card", "inspect", "release"]

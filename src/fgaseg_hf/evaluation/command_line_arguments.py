# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Reads the arguments of the training scripts: dataclass defaults, then YAML files, then the command line."""

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

# Arguments that name a file: what a configuration names so may lie beside it.
FILE_ARGUMENTS = ("class_groups", "class_names", "id_map", "model_config", "prompts")
# Lists of which an empty one says something else than none.
MAY_BE_EMPTY = {"ignored_ids"}


class MissingPackage(ImportError):
    """A package of an extra is not installed; says which extra to install."""


class ExpectedEnd(RuntimeError):
    """An end before the end that needs one sentence and no traceback.

    Attributes:
        exit_code: of the process.
    """

    exit_code = 1


def require_packages(extra: str, *names: str) -> None:
    """Makes sure that the packages of an extra are installed, before anything imports them.

    Raises:
        MissingPackage: one of them is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingPackage(f'The package {name!r} is not installed: pip install "fgaseg_hf[{extra}]".')


def parse_arguments(
    dataclass_types: Sequence[Any],
    arguments: Sequence[str] | None = None,
    description: str | None = None,
    config_folder: Path | None = None,
) -> Any:
    """Fills dataclasses from `--config FILE.yaml ...` and the command line, which wins.

    Of several files the later wins, but mappings are merged, so that a file can change one field of the model.

    Args:
        dataclass_types: dataclasses whose fields have `metadata={"help": ...}`.
        arguments: the command line's words; None takes those of the process.
        description: for `--help`, which shows its first paragraph.
        config_folder: where the configurations lie that can be called by name, without folder and `.yaml`.

    Returns:
        A tuple of one object a dataclass.

    Raises:
        ValueError: a YAML file does not exist, is no mapping, or names an argument that does not exist.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = HfArgumentParser(
        list(dataclass_types), description=(description or "").split("\n\n")[0], allow_abbrev=False
    )
    for action in parser._actions:
        if action.dest in MAY_BE_EMPTY:
            action.nargs = "*"
    parser.add_argument(
        "--config",
        nargs="+",
        help="YAML files of any arguments named here; later ones win, and the command line over all of them"
        + (f"; by name: {', '.join(named_configs(config_folder))}" if config_folder else ""),
    )
    values: dict[str, Any] = {}
    for config_file in _values_of_option(words, "--config"):
        values = _merge(values, _read_yaml(find_config(config_file, config_folder), dataclass_types))
    parser.set_defaults(**_to_defaults(values))
    parsed = parser.parse_args_into_dataclasses(args=words, look_for_args_file=False)
    return tuple(part for part in parsed if dataclasses.is_dataclass(part))


def run_script(main: Callable[[], Any]) -> None:
    """Runs a script's `main`; bad input ends in one sentence on standard error and the exit code 2."""
    try:
        main()
    except (ValueError, MissingPackage) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ExpectedEnd as end:
        print(end, file=sys.stderr)
        sys.exit(end.exit_code)


def named_configs(folder: Path) -> list[str]:
    """Returns the names of the configurations in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_config(name: str, folder: Path | None = None) -> Path:
    """Finds a configuration: a file, or the name of one of the folder's.

    Raises:
        ValueError: there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if folder is None:
        raise ValueError(f"There is no configuration file {name}.")
    if name in named_configs(folder):
        return folder / f"{name}.yaml"
    raise ValueError(f"There is no configuration file {name}, and by name only {', '.join(named_configs(folder))}.")


def _values_of_option(words: Sequence[str], option: str) -> list[str]:
    """Finds what `argparse` will take for the option: the words up to the next option, where it stands last."""
    values: list[str] = []
    for place, word in enumerate(words):
        if word == option:
            values = list(takewhile(lambda value: not value.startswith("-"), words[place + 1 :]))
        elif word.startswith(f"{option}="):
            values = [word.removeprefix(f"{option}=")]
    return values


def _merge(values: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Lets the later mapping win, in nested mappings entry by entry."""
    merged = dict(values)
    for name, value in later.items():
        both_mappings = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if both_mappings else value
    return merged


def _read_yaml(path: Path, dataclass_types: Sequence[type]) -> dict[str, Any]:
    require_packages("train", "yaml")
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"The configuration file {path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"The configuration file {path} must be a mapping of argument names to values.")
    fields = {field.name: field for kind in dataclass_types for field in dataclasses.fields(kind)}
    unknown = sorted(str(name) for name in set(values) - set(fields))
    if unknown:
        raise ValueError(f"The configuration file {path} sets {unknown[0]!r}, which is not an argument; see --help.")
    for name in FILE_ARGUMENTS:
        if isinstance(values.get(name), str) and (path.parent / values[name]).is_file():
            values[name] = str(path.parent / values[name])
    return values


def _to_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Turns what YAML read into what `argparse` takes as defaults."""
    for name, value in values.items():
        if isinstance(value, dict):
            values[name] = json.dumps(value)
        elif isinstance(value, list):
            values[name] = value
        elif value is not None and not isinstance(value, bool):
            # argparse converts defaults that are strings, so that `2e-4`, which YAML reads as text, becomes a number
            values[name] = str(value)
    return values

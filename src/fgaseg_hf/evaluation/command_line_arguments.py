# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Reads the arguments of the training scripts: dataclass defaults, then YAML files, then the command line."""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser


def parse_arguments(
    dataclass_types: Sequence[Any], arguments: Sequence[str] | None = None, description: str | None = None
) -> Any:
    """Fills dataclasses from `--config FILE.yaml ...` and the command line, which wins.

    Of several files the later wins, but mappings are merged, so that a file can change one field of the model.

    Args:
        dataclass_types: dataclasses whose fields have `metadata={"help": ...}`.
        arguments: the command line's words; None takes those of the process.
        description: for `--help`, which shows its first paragraph.

    Returns:
        A tuple of one object a dataclass.

    Raises:
        ValueError: a YAML file does not exist, is no mapping, or names an argument that does not exist.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = HfArgumentParser(
        list(dataclass_types), description=(description or "").split("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument(
        "--config",
        nargs="+",
        help="YAML files of any arguments named here; later ones win, and the command line over all of them",
    )
    values: dict[str, Any] = {}
    for config_file in _values_of_option(words, "--config"):
        values = _merge(values, _read_yaml(config_file, dataclass_types))
    parser.set_defaults(**_to_defaults(values))
    parsed = parser.parse_args_into_dataclasses(args=words, look_for_args_file=False)
    return tuple(part for part in parsed if dataclasses.is_dataclass(part))


def run_script(main: Callable[[], Any]) -> None:
    """Runs a script's `main`; bad input ends in one sentence on standard error and the exit code 2."""
    try:
        main()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


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


def _read_yaml(path: str, dataclass_types: Sequence[type]) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ValueError(f"There is no configuration file {path}.")
    values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    if not isinstance(values, dict):
        raise ValueError(f"The configuration file {path} must be a mapping of argument names to values.")
    fields = {field.name: field for kind in dataclass_types for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"The configuration file {path} sets {unknown[0]!r}, which is not an argument; see --help.")
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

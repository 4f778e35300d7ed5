# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files beside a data set that say what its classes are: names, prompts, ids, groups."""

from collections.abc import Sequence
from pathlib import Path

from ..model.phrases import normalise_phrase
from ..model.quoting import quote
from .text_files import parse_json, read_json_file, read_text_file

# Where the names lie in a data set's folder if nothing else is said.
CLASS_NAMES_FILE = "class_names.txt"


def load_class_names(dataset: str | Path, class_names_file: str | None = None) -> list[str]:
    """Reads the class names of a data set: a text file with one name a line, in id order.

    Args:
        dataset: Hub id or folder of the data set; a local folder may hold `class_names.txt`.
        class_names_file: the file, if it lies elsewhere.

    Returns:
        The names. Of a line with several synonyms (separated by commas), all are kept in the name.

    Raises:
        ValueError: no file, an empty file or line, or a name twice (letter case and blanks make no difference).
    """
    path = Path(class_names_file) if class_names_file else Path(dataset) / CLASS_NAMES_FILE
    if not path.is_file():
        raise ValueError(
            f"There are no class names at {path}; pass --class_names FILE, a text file of one name a line in id order."
        )
    names = [line.strip() for line in read_text_file(path, "list of class names").rstrip().splitlines()]
    if not names or "" in names:
        raise ValueError(f"The class names in {path} have an empty line (line {names.index('') + 1 if names else 1}).")
    check_distinct_names(names, f"The class names in {path}")
    return names


def check_distinct_names(names: Sequence[str], subject: str) -> None:
    """Refuses a list in which two names are one to the model.

    Args:
        names: class names.
        subject: begins the sentence of the error.

    Raises:
        ValueError: a name stands there twice; letter case and the number of blanks make no difference.
    """
    first_with: dict[str, str] = {}
    for name in names:
        first = first_with.get(normalise_phrase(name))
        if first == name:
            raise ValueError(f"{subject} hold {quote(name)} twice; every class needs a name of its own.")
        if first is not None:
            raise ValueError(
                f"{subject} hold {quote(first)} and {quote(name)}, which are one to the model (it sees neither "
                "letter case nor the number of blanks); every class needs a name of its own."
            )
        first_with[normalise_phrase(name)] = name


def load_prompts(path: str) -> list[str]:
    """Reads what to ask for, a line a class; several lines may be the same.

    Raises:
        ValueError: there is no such file, or it has an empty line.
    """
    if not Path(path).is_file():
        raise ValueError(f"There are no prompts at {path}; pass --prompts FILE, a text file of one prompt a line.")
    prompts = [line.strip() for line in read_text_file(path, "list of prompts").rstrip().splitlines()]
    if not prompts or "" in prompts:
        raise ValueError(f"The prompts in {path} have an empty line; ask for something in each.")
    return prompts


def load_id_map(source: str | None) -> dict[int, int] | None:
    """Reads a JSON object of raw ids to class ids, such as {"7": 0, "11": 1}.

    Args:
        source: a file, or the JSON text itself; None gives None.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    if source is None:
        return None
    if source.lstrip().startswith("{"):
        subject, mapping = "The id map", parse_json(source, "The id map")
    else:
        subject, mapping = f"The id map in {source}", read_json_file(source, "id map")
    must_be = f'{subject} must be a JSON object that leads from raw ids to class ids, such as {{"7": 0, "255": 1}}'
    if not isinstance(mapping, dict):
        raise ValueError(f"{must_be}.")
    for raw, class_id in mapping.items():
        if not raw.strip().removeprefix("-").isdecimal() or type(class_id) is not int:
            raise ValueError(f"{must_be}, but holds {quote(raw)}: {quote(class_id)}.")
    id_map = {int(raw): class_id for raw, class_id in mapping.items()}
    if len(id_map) != len(mapping):
        raise ValueError(f"{subject} holds an id in two spellings: give each id once.")
    return id_map


def load_class_groups(path: str) -> dict[str, list[str]]:
    """Reads groups of class names from a JSON file such as {"seen": [...], "unseen": [...]}.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    groups = read_json_file(path, "file of class groups")
    if not isinstance(groups, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in groups.values()
    ):
        raise ValueError(f"The class groups in {path} must be a JSON object of lists of class names.")
    return groups

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files beside a data set that say what its classes are: names, prompts, ids, groups."""

import json
from pathlib import Path

# Where the names lie in a data set's folder if nothing else is said.
CLASS_NAMES_FILE = "class_names.txt"


def load_class_names(dataset: str, class_names_file: str | None = None) -> list[str]:
    """Reads the class names of a data set: a text file with one name a line, in id order.

    Args:
        dataset: Hub id or folder of the data set; a local folder may hold `class_names.txt`.
        class_names_file: the file, if it lies elsewhere.

    Returns:
        The names. Of a line with several synonyms (separated by commas), all are kept in the name.

    Raises:
        ValueError: no file, an empty file or line, or a name twice.
    """
    path = Path(class_names_file) if class_names_file else Path(dataset) / CLASS_NAMES_FILE
    if not path.is_file():
        raise ValueError(
            f"There are no class names at {path}; pass --class_names FILE, a text file of one name a line in id order."
        )
    names = [line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines()]
    if not names or "" in names:
        raise ValueError(f"The class names in {path} have an empty line (line {names.index('') + 1 if names else 1}).")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"The class names in {path} hold {twice!r} twice; every class needs a name of its own.")
    return names


def load_prompts(path: str) -> list[str]:
    """Reads what to ask for, a line a class; several lines may be the same.

    Raises:
        ValueError: there is no such file, or it has an empty line.
    """
    if not Path(path).is_file():
        raise ValueError(f"There are no prompts at {path}; pass --prompts FILE, a text file of one prompt a line.")
    prompts = [line.strip() for line in Path(path).read_text(encoding="utf-8").rstrip().splitlines()]
    if not prompts or "" in prompts:
        raise ValueError(f"The prompts in {path} have an empty line; ask for something in each.")
    return prompts


def load_id_map(path: str | None) -> dict[int, int] | None:
    """Reads a JSON object of raw ids to class ids, such as {"7": 0, "11": 1}; None without a path."""
    if path is None:
        return None
    mapping = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(mapping, dict) or not all(isinstance(value, int) for value in mapping.values()):
        raise ValueError(f"The id map in {path} must be a JSON object that leads from raw ids to class ids.")
    return {int(raw): class_id for raw, class_id in mapping.items()}


def load_class_groups(path: str) -> dict[str, list[str]]:
    """Reads groups of class names from a JSON file such as {"seen": [...], "unseen": [...]}.

    Raises:
        ValueError: the file holds something else.
    """
    with open(path, encoding="utf-8") as file:
        groups = json.load(file)
    if not isinstance(groups, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in groups.values()
    ):
        raise ValueError(f"The class groups in {path} must be a JSON object of lists of class names.")
    return groups

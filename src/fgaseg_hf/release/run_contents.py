# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What a run left to be released: its checkpoint and its results."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..model.json_reading import parse_json
from .evaluation_record import EvaluationRecord, is_evaluation_report

# Which of a run's checkpoints is released if none is named: the first that is there.
RUN_CHECKPOINTS = ("best", "last")

RESULTS_FOLDER = "results"


def find_checkpoint(run_folder: str | os.PathLike[str], name: str | None = None) -> Path:
    """Finds the checkpoint of a run.

    Args:
        run_folder: A run of `training/train.py`, or a checkpoint's own folder.
        name: Which of the run's checkpoints.

    Raises:
        ValueError: There is none.
    """
    run_folder = Path(run_folder)
    candidates = [run_folder / name] if name else [run_folder, *(run_folder / kind for kind in RUN_CHECKPOINTS)]
    for candidate in candidates:
        if (candidate / "config.json").is_file():
            return candidate
    wanted = repr(name) if name else "no 'best', no 'last' and no config.json"
    raise ValueError(
        f"There is no checkpoint in {str(run_folder)!r} ({wanted}): name a run's or a checkpoint's folder."
    )


def find_results(
    run_folder: str | os.PathLike[str] | None, named: Iterable[str | os.PathLike[str]] = ()
) -> list[EvaluationRecord]:
    """Reads the result files of a run and those that are named.

    Args:
        run_folder: Where to look for result files, directly and in its `results`; other JSON files there are passed by.
        named: Further result files, or folders of them.

    Returns:
        Named ones first, then those found, each once, by file name.

    Raises:
        ValueError: There is none, a named one is no result file, or two have one name.
    """
    paths: dict[Path, None] = {}
    for path in map(Path, named):
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"There is no result file in {str(path)!r}: measure the model with training/evaluate.py.")
        paths |= dict.fromkeys(found)
    if run_folder is not None:
        for place in (Path(run_folder), Path(run_folder) / RESULTS_FOLDER):
            paths |= dict.fromkeys(path for path in sorted(place.glob("*.json")) if _is_result_file(path))
    records: dict[str, EvaluationRecord] = {}
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        record = EvaluationRecord.load(path)
        if record.file_name in records:
            raise ValueError(f"Two result files are named {record.file_name!r}: rename one of them.")
        records[record.file_name] = record
    if not records:
        raise ValueError(
            "There is no result of the model: measure it with training/evaluate.py and name the --results."
        )
    return list(records.values())


def _is_result_file(path: Path) -> bool:
    try:
        return is_evaluation_report(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


__all__ = ["RESULTS_FOLDER", "find_checkpoint", "find_results"]

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Result files of `evaluate.py`: read, checked, and without folders of the machine that wrote them."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..model.json_reading import parse_json
from .checkpoint_hashes import hash_config
from .checkpoint_inspection import CheckpointInspection


@dataclass(frozen=True)
class EvaluationRecord:
    """A result file that `training/evaluate.py` wrote.

    Attributes:
        file_name: The file's name.
        report: Its content, without folders of the machine that it was made on.
    """

    file_name: str
    report: dict[str, Any]

    @classmethod
    def load(cls, path: str | Path) -> "EvaluationRecord":
        """Reads a result file.

        Raises:
            ValueError: It cannot be read, or is no such file.
        """
        try:
            report = parse_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"The result {str(path)!r} cannot be read: give a file of training/evaluate.py."
            ) from error
        if not is_evaluation_report(report):
            raise ValueError(f"{str(path)!r} is no result of training/evaluate.py: measure the model with that.")
        return cls(Path(path).name, without_local_folders(report))

    @property
    def result(self) -> dict[str, Any]:
        """The numbers, as [`fgaseg_hf.evaluation.segmentation_metrics.SegmentationResult`] gives them."""
        return dict(self.report["result"])

    @property
    def data_set(self) -> str:
        """What `evaluate.py` was given to measure on: a benchmark's name, an id on the Hub, or a folder's name."""
        arguments = self.report["dataset"]
        return str(arguments.get("benchmark") or arguments.get("dataset"))

    @property
    def words(self) -> str:
        """Which words were given with each picture, and how it was looked at."""
        protocol = self.report["protocol"]
        vocabulary = str(protocol["vocabulary"])
        if others := re.fullmatch(r"picture\+(\d+)", vocabulary):
            text = f"the picture's own names and {others[1]} others"
        else:
            text = f"all {len(self.result['classes'])} names" if vocabulary == "all" else vocabulary
        if protocol.get("num_kept_classes") is not None:
            text += f", TopK {protocol['num_kept_classes']}"
        if protocol.get("view") == "sliding_window":
            text += ", windows and whole picture"
        return text

    def check_checkpoint(self, checkpoint: CheckpointInspection) -> None:
        """Makes sure that the numbers are this checkpoint's.

        Raises:
            ValueError: They are another's, or the file does not say whose.
        """
        measured = self.report.get("checkpoint")
        if not isinstance(measured, dict) or checkpoint.weights_sha256 is None:
            raise ValueError(
                f"The result {self.file_name!r} does not say which weights it was measured on: measure "
                f"{checkpoint.source!r} anew with training/evaluate.py."
            )
        for what, here in (
            ("weights", checkpoint.weights_sha256),
            ("config", hash_config(checkpoint.config)),
        ):
            if measured.get(f"{what}_sha256") != here:
                raise ValueError(
                    f"The result {self.file_name!r} was measured with another {what} than {checkpoint.source!r} has: "
                    "measure this one with training/evaluate.py."
                )


def is_evaluation_report(report: Any) -> bool:
    """Whether a JSON object is what `training/evaluate.py` writes, with numbers that can be."""
    if not isinstance(report, dict) or not isinstance(report.get("result"), dict):
        return False
    parts = [report.get(name) for name in ("protocol", "dataset", "versions", "device")]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(report.get("split"), str):
        return False
    result = report["result"]
    shares = [result.get(name) for name in ("mean_iou", "mean_iou_present", "pixel_accuracy")]
    are_shares = all(share is None or (isinstance(share, int | float) and 0 <= share <= 1) for share in shares)
    return are_shares and isinstance(result.get("classes"), list) and isinstance(result.get("groups"), dict)


def without_local_folders(value: Any) -> Any:
    """Leaves of absolute paths, in the strings of a JSON value and in the words of a command, the last part alone."""
    if isinstance(value, dict):
        return {
            name: shorten_command(entry)
            if name == "command" and isinstance(entry, str)
            else without_local_folders(entry)
            for name, entry in value.items()
        }
    if isinstance(value, list):
        return [without_local_folders(entry) for entry in value]
    return _shorten_path(value) if isinstance(value, str) else value


def shorten_command(command: str) -> str:
    """Leaves line breaks and words as they are, but for absolute paths."""
    return re.sub(r"[^\s='\"]+", lambda word: _shorten_path(word[0]), command)


def _shorten_path(text: str) -> str:
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(text)
        if path.is_absolute() and path.name and "\n" not in text:
            return path.name
    return text


__all__ = ["EvaluationRecord", "is_evaluation_report", "shorten_command", "without_local_folders"]

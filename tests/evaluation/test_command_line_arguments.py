# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Arguments of the training scripts: defaults, then a YAML file, then the command line."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script


@dataclass
class Sizes:
    rate: float = 0.1
    count: int = 3
    names: list[str] | None = None
    nested: str | None = None
    fast: bool = False
    slow: bool = True


@dataclass
class Place:
    """Where it goes."""

    folder: str | None = field(default=None, metadata={"help": "a folder"})


def parse(text: str, tmp_path: Path, *words: str) -> tuple[Sizes, Place]:
    (tmp_path / "config.yaml").write_text(text)
    return parse_arguments((Sizes, Place), ["--config", str(tmp_path / "config.yaml"), *words])


def test_the_file_wins_over_defaults_and_the_command_line_over_the_file(tmp_path: Path) -> None:
    text = "rate: 2e-4\ncount: 5\nnames: [a, b c]\nnested: {x: {y: 1}}\nfast: true\nslow: false\nfolder: here\n"
    sizes, place = parse(text, tmp_path, "--count", "7", "--folder=there")
    assert sizes == Sizes(rate=2e-4, count=7, names=["a", "b c"], nested='{"x": {"y": 1}}', fast=True, slow=False)
    assert place.folder == "there"
    assert parse_arguments((Sizes, Place), []) == (Sizes(), Place())
    sizes, _ = parse_arguments((Sizes, Place), [f"--config={tmp_path / 'config.yaml'}"])
    assert sizes.count == 5


def test_later_files_win_and_mappings_merge(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("count: 5\nrate: 2e-4\nnested: {x: {y: 1, z: 2}, w: 3}\n")
    (tmp_path / "two.yaml").write_text("count: 6\nnested: {x: {y: 4}, v: 5}\n")
    files = [str(tmp_path / name) for name in ("one.yaml", "two.yaml")]
    sizes, place = parse_arguments((Sizes, Place), ["--config", *files, "--folder", "here"])
    assert sizes == Sizes(rate=2e-4, count=6, nested='{"x": {"y": 4, "z": 2}, "w": 3, "v": 5}')
    assert place.folder == "here"
    assert parse_arguments((Sizes,), ["--config", *reversed(files)])[0].count == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [("cuont: 1", "'cuont', which is not an argument"), ("- 1", "must be a mapping")],
)
def test_bad_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text, tmp_path)


def test_a_file_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no configuration file nowhere\.yaml"):
        parse_arguments((Sizes,), ["--config", "nowhere.yaml"])


def test_bad_values_end_in_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("count: many", "count: 1.5"):
        with pytest.raises(SystemExit) as stopped:
            parse(text, tmp_path)
        assert stopped.value.code == 2

    def main() -> None:
        raise ValueError("The labels are empty; give one.")

    with pytest.raises(SystemExit) as stopped:
        run_script(main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("error: The labels are empty; give one.\n")


def test_help_names_every_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments((Sizes, Place), ["--help"], description="Sorts things.\n\n    python sort.py")
    printed = capsys.readouterr().out
    assert "Sorts things." in printed
    assert "python sort.py" not in printed
    assert all(f"--{name}" in printed for name in ("rate", "count", "folder", "config"))

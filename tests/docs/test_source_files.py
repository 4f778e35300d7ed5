# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What holds for every source file: one form of licence header."""

from pathlib import Path

from script_loading import REPOSITORY

HEADER = "# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.\n"
# Folders that a checkout may hold besides the project's own.
FOREIGN_FOLDERS = {"build", "dist", "site", "runs", "venv"}


def python_files() -> list[Path]:
    folders = [path for path in REPOSITORY.iterdir() if path.is_dir() and path.name not in FOREIGN_FOLDERS]
    # Virtual environments, caches and git's own folder have names that begin with a dot.
    return [path for folder in folders if not folder.name.startswith(".") for path in sorted(folder.rglob("*.py"))]


def test_every_file_begins_with_the_licence_header() -> None:
    files = python_files()
    assert len(files) > 150
    without = [str(path.relative_to(REPOSITORY)) for path in files if not has_header(path)]
    assert without == []


def has_header(path: Path) -> bool:
    with path.open(encoding="utf-8") as lines:
        return next(lines, "") == HEADER

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The rooms of the package are kept: a look into a room above is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from script_loading import REPOSITORY

PLANTED = [
    ("model/losses.py", "from ..data import benchmarks", "fgaseg_hf.model is not allowed to import fgaseg_hf.data"),
    ("model/losses.py", "import fgaseg_hf.cli.main", "fgaseg_hf.model is not allowed to import fgaseg_hf.cli"),
    ("data/benchmarks.py", "from .. import training", "fgaseg_hf.data is not allowed to import fgaseg_hf.training"),
]


def lint_imports(repository: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [program, "--no-cache"],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("file", "line", "complaint"), PLANTED)
def test_a_look_into_a_room_above_is_found(file: str, line: str, complaint: str, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "src", tmp_path / "src", ignore=shutil.ignore_patterns("builtin_model", "__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    assert lint_imports(tmp_path).returncode == 0
    with (tmp_path / "src" / "fgaseg_hf" / file).open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    found = lint_imports(tmp_path)
    assert found.returncode != 0
    assert complaint in found.stdout

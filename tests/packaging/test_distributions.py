# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What is built to be installed: a wheel and a source distribution with all that belongs in them and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from script_loading import REPOSITORY

PACKAGE = REPOSITORY / "src" / "fgaseg_hf"


def run(*words: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution of this repository, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run("build", "--no-isolation", "--outdir", folder, REPOSITORY, folder=folder)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


def package_files() -> set[str]:
    """Every file of the package's folder, by its path in a wheel."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(PACKAGE.parent).as_posix() for path in files}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
        about = next(name for name in names if name.endswith("/METADATA"))
        metadata = wheel.read(about).decode()
    described = {name for name in names if ".dist-info/" in name}
    assert names - described == package_files()
    assert "fgaseg_hf/builtin_model/model.safetensors" in names
    assert {Path(name).name for name in described} >= {"METADATA", "RECORD", "entry_points.txt", "LICENSE"}
    assert "License: Apache-2.0\n" in metadata
    assert "# FGASeg for Transformers" in metadata


@pytest.mark.slow
def test_the_source_distribution_holds_what_the_wheel_is_built_from(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert names >= {f"src/{name}" for name in package_files()}
    assert names >= {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}
    assert {name.split("/")[0] for name in names if "/" in name} <= {"src", "tests"}


@pytest.mark.slow
def test_twine_accepts_both(distributions: tuple[Path, Path]) -> None:
    assert run("twine", "check", "--strict", *distributions, folder=distributions[0].parent).count("PASSED") == 2

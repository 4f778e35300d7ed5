# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Transformers' own common tests, fetched from the package index for the installed version and kept in a cache folder.

Transformers ships its tests in its source distribution only. They are downloaded once a version, never kept in this
repository. `python tests/transformers_test_suite.py` fills the cache; the tests fill it by themselves when it is empty.
"""

import contextlib
import functools
import importlib
import os
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

import transformers

SKIP_VARIABLE = "FGASEG_SKIP_TRANSFORMERS_TESTS"
SKIP_SENTENCE = f"{SKIP_VARIABLE} is set."
# Transformers' slow tests bear pytest's mark `slow`, as ours do: whoever selects that mark means these, too.
os.environ.setdefault("RUN_SLOW", "1")
PACKAGE = "transformers_common_tests"
MODULES = (
    "test_configuration_common",
    "test_modeling_common",
    "test_processing_common",
    "test_image_processing_common",
)

# What the modules import from files that are not in the source distribution, as far as our tests need it.
STANDINS = {
    f"{PACKAGE}/__init__.py": "",
    f"{PACKAGE}/exporters/__init__.py": "",
    f"{PACKAGE}/exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    f"{PACKAGE}/generation/__init__.py": "",
    f"{PACKAGE}/generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    f"{PACKAGE}/utils/__init__.py": "",
    f"{PACKAGE}/utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
    # The originals download pictures of the Hub; any picture of that name and size serves.
    "utils/fetch_hub_objects_for_ci.py": textwrap.dedent(
        """
        import zlib
        from pathlib import Path

        import numpy as np
        from PIL import Image


        def url_to_local_path(url, return_url_if_not_found=True):
            name = url.rsplit("/", 1)[-1]
            if not name.endswith((".png", ".jpg")):
                return url
            path = Path(__file__).with_name(name).with_suffix(".png")
            if not path.exists():
                is_label_map = name.endswith(".png") and name.startswith("ADE")
                coarse = np.random.default_rng(zlib.crc32(name.encode())).integers(
                    0, 150 if is_label_map else 256, (12, 16) if is_label_map else (12, 16, 3), dtype=np.uint8
                )
                fine = coarse.repeat(40, axis=0).repeat(40, axis=1)
                partial = path.with_suffix(f".{id(path)}.partial")
                Image.fromarray(fine).save(partial, format="PNG")
                partial.replace(path)
            return str(path)
        """
    ).lstrip(),
}


class SuiteUnavailableError(RuntimeError):
    """The common tests are neither in the cache nor to be had from the package index."""


def cache_folder() -> Path:
    """Where the tests of the installed version of Transformers are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "fgaseg_hf" / f"transformers-{transformers.__version__}-tests"


@functools.cache
def _fetch_outcome() -> Path | SuiteUnavailableError:
    """Fills the cache, once a process; an error is kept, so that each module need not wait for the network anew."""
    folder = cache_folder()
    if folder.exists():
        return folder
    version = transformers.__version__
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "transformers"]
        command += ["--retries", "1", "--dest", work, f"transformers=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = list(Path(work).glob("transformers-*.tar.gz"))
        if done.returncode or len(archives) != 1:
            reason = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
            return SuiteUnavailableError(
                f"The common tests of Transformers {version} are not in {folder} and `pip download` did not get them "
                f"({reason}); connect to the package index once, or set {SKIP_VARIABLE}=1 to go without."
            )
        unpacked = Path(work) / "unpacked"
        with tarfile.open(archives[0]) as archive:
            for module in MODULES:
                member = archive.extractfile(f"transformers-{version}/tests/{module}.py")
                assert member is not None, f"{module}.py is no file"
                target = unpacked / PACKAGE / f"{module}.py"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(member.read())
        for name, text in STANDINS.items():
            target = unpacked / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        # Renaming is one step: a process beside this one sees all of the files or none.
        with contextlib.suppress(OSError):
            unpacked.rename(folder)
    return folder


def fetch() -> Path:
    """Returns the folder of the common tests, downloading them if they are not there.

    Raises:
        SuiteUnavailableError: If they are not in the cache and cannot be downloaded.
    """
    outcome = _fetch_outcome()
    if isinstance(outcome, SuiteUnavailableError):
        raise outcome
    return outcome


def load(module: str) -> ModuleType:
    """Imports one of `MODULES`.

    Where the tests are to be had neither from the cache nor from the index, all names of the module stand for a class
    whose tests fail with one sentence that says so, or are skipped if `SKIP_VARIABLE` is set.
    """
    try:
        folder = fetch()
    except SuiteUnavailableError as error:
        return _Missing(str(error))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(f"{PACKAGE}.{module}")


class _Missing(ModuleType):
    """A stand-in for a module of the common tests."""

    def __init__(self, sentence: str) -> None:
        super().__init__("missing")

        class MissingMixin:
            @classmethod
            def setUpClass(cls) -> None:
                if os.environ.get(SKIP_VARIABLE, "0") not in ("", "0"):
                    raise unittest.SkipTest(SKIP_SENTENCE)
                raise AssertionError(sentence)

            def test_suite_is_available(self) -> None:
                """Stands for all tests of the mixin; `setUpClass` has already failed or skipped it."""

        self.mixin = MissingMixin

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.mixin


if __name__ == "__main__":
    sys.stdout.write(f"{fetch()}\n")

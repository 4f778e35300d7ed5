# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""onnxruntime-web, which runs a model in a browser: one pinned version, from npm or from a folder."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from .web_page_files import web_page_file

PINNED_FILE = "runtime.json"
# npm waits for ever for a network that is not there.
NPM_SECONDS = 300


def pinned_runtime() -> dict[str, str | dict[str, str]]:
    """What is pinned: `package`, `version`, and `files`, by path within the package the SHA-256 of each."""
    pinned: dict[str, str | dict[str, str]] = json.loads(web_page_file(PINNED_FILE).read_text(encoding="utf-8"))
    return pinned


def write_runtime(folder: Path, source: str | os.PathLike[str] | None = None) -> list[Path]:
    """Puts the pinned files of onnxruntime-web into a folder.

    Args:
        folder: Where to; made if it is missing.
        source: A folder with the unpacked npm package, such as `node_modules/onnxruntime-web`; npm fetches it if not
            given.

    Returns:
        The files written.

    Raises:
        ValueError: There is neither npm nor a folder, a file is missing there, or is not the pinned one, or
            the folder cannot be written to.
    """
    pinned = pinned_runtime()
    files = pinned["files"]
    assert isinstance(files, dict)
    package = f"{pinned['package']}@{pinned['version']}"
    contents = _fetch(package, list(files)) if source is None else _read(Path(source), package, list(files))
    for name, expected in files.items():
        if hashlib.sha256(contents[name]).hexdigest() != expected:
            raise ValueError(f"{name} is not that of {package}: give --runtime a folder with that very version.")
    written = [folder / Path(name).name for name in files]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, name in zip(written, files, strict=True):
            path.write_bytes(contents[name])
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"Cannot write to the folder {str(folder)!r} ({reason}): name another.") from error
    return written


def _read(folder: Path, package: str, names: list[str]) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise ValueError(
            f"{str(folder)!r} is not the unpacked npm package {package} ({error.strerror}: {error.filename}): name "
            "its folder, or leave --runtime out."
        ) from error


def _fetch(package: str, names: list[str]) -> dict[str, bytes]:
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(
            f"The page needs {package} and there is no npm here to fetch it: install Node.js, or give --runtime a "
            "folder with the unpacked package."
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", package, "--pack-destination", folder, "--silent", "--ignore-scripts"]
        try:
            subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            said = " ".join((getattr(error, "stderr", None) or str(error)).split())[:300]
            raise ValueError(
                f"npm could not fetch {package} ({said}): give --runtime a folder with the unpacked package."
            ) from error
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as packed:
            members = {name: packed.extractfile(f"package/{name}") for name in names}
            return {name: member.read() for name, member in members.items() if member is not None}


__all__ = ["pinned_runtime", "write_runtime"]

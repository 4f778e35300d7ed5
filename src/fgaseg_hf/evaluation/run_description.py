# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What makes a measured number reproducible: command, commit, versions, machine; and how results are written."""

import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("fgaseg_hf", "torch", "transformers", "accelerate", "datasets", "numpy", "pillow")


def describe_run(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns command, time, commit, versions and machine of this process.

    Args:
        arguments: the script's arguments; None takes those of the process.
    """
    # of `fgaseg evaluate WORDS` the arguments are the end
    is_own = arguments is None or sys.argv[-len(arguments) :] == list(arguments)
    words = sys.argv if is_own else [sys.argv[0], *(arguments or ())]
    return {
        "command": shlex.join([Path(words[0]).name, *words[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor_name(),
            "cpu_count": os.cpu_count(),
        },
    }


def describe_device(device: torch.device) -> dict[str, Any]:
    """Returns what the numbers were computed on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    return {"type": device.type, "name": name, "cpu_count": os.cpu_count(), "torch_threads": torch.get_num_threads()}


def processor_name() -> str:
    """Returns the processor's name as Linux knows it, or what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader, or a later run, finds the old content or the new one, never half of one."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            # renamed only when it is on the disk: a machine that loses its power must not find the name alone
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        # on a full disk half a file would only be in the way
        unfinished.unlink(missing_ok=True)
        raise


def _git(*words: str) -> str | None:
    try:
        finished = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

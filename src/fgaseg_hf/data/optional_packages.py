# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Packages that only some work needs, imported when it begins."""

from importlib import import_module
from typing import Any


def import_extra(module: str) -> Any:
    """Imports a module of the extra `eval`."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ValueError(f"The package {package} is missing: pip install 'fgaseg_hf[eval]' brings it.") from error

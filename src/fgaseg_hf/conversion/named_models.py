# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models that are known by a name."""

from importlib import resources
from pathlib import Path

DEFAULT_MODEL = "scenes"
"""The small model that comes with the package."""


def builtin_model_folder() -> Path:
    """The folder of the small model that comes with the package, trained on drawn scenes."""
    return Path(str(resources.files("fgaseg_hf") / "builtin_model"))

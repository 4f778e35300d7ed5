# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Scripts as modules, where an import by name would find something else or nothing."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).parent.parent
EVALUATE = REPOSITORY / "training" / "evaluate.py"


def load_script(path: Path, name: str) -> ModuleType:
    """Runs a file as a module of the given name."""
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module

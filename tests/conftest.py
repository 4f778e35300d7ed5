# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What holds for every test: no network, the scripts of `training/` importable, the same random numbers each time."""

import os

# Before anything imports transformers or datasets: both read these once, at import.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import logging
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# At the end of the path, so that no script can hide a library of the same name.
_TESTS = Path(__file__).parent
_TRAINING = _TESTS.parent / "training"
for _folder in (_TRAINING / "scenes", _TRAINING / "distillation", _TRAINING):
    sys.path.append(str(_folder))
# A room's tests use what another room's tests make, also where only one room is run.
for _folder in sorted(path for path in _TESTS.iterdir() if any(path.glob("test_*.py"))):
    sys.path.append(str(_folder))


# PyTorch's compiler logs every step where somebody listens. pytest's capture would, and that takes long.
logging.getLogger("torch.__trace").disabled = True

pytest_plugins = ["transformers_test_report"]


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state, so that chance does not change its outcome."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How many kernels an accelerator is asked for, counted without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "kernels.py"


@pytest.mark.slow
def test_inference_and_training_stay_within_their_goals(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SCRIPT), "--output", str(tmp_path)], check=True, capture_output=True)
    rows = json.loads((tmp_path / "kernels.json").read_text())["rows"]
    assert [row["row"] for row in rows] == ["inference", "train", "train-checkpointing"]
    for row in rows:
        assert 100 < row["with_fused_attention"] < row["kernels"] <= row["goal"], row

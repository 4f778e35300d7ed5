# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The benchmarks of precisions and of large vocabularies, run small."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent


def run(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_precisions_are_measured(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    run(REPOSITORY / "training" / "scenes" / "scenes.py", "--out", scenes, "--num_train", "1", "--num_validation", "2")
    arguments = ["--dataset", scenes, "--num_pictures", "2", "--output", tmp_path / "precision.json"]
    table = run(REPOSITORY / "benchmarks" / "precision.py", *arguments).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| fp32", "| bf16", "| fp16", "| int8-dynamic"]
    rows = json.loads((tmp_path / "precision.json").read_text())["rows"]
    sizes = [row["megabytes"] for row in rows]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.02)
    # Linear layers alone become int8: the table of word pieces, two fifths of the weights, stays as it is.
    assert sizes[3] < sizes[0] * 0.7
    for row in rows:
        for split in ("validation_seen", "validation_unseen"):
            assert abs(row[split]["mean_iou"] - rows[0][split]["mean_iou"]) < 0.1


@pytest.mark.slow
def test_large_vocabularies_are_measured(tmp_path: Path) -> None:
    run(REPOSITORY / "benchmarks" / "vocabulary.py", "--num_names", "20", "--output", tmp_path / "vocabulary.json")
    figures = json.loads((tmp_path / "vocabulary.json").read_text())
    assert figures["names"] == 20
    assert 0 < figures["loading_seconds"] < 1
    assert 100 < figures["loading_peak_mib"] < figures["encoding_peak_mib"] < 2048

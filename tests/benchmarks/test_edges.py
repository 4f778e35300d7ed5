# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The benchmark of refined edges, run small."""

import json
from pathlib import Path

import pytest
from test_precision import REPOSITORY, run


@pytest.mark.slow
def test_edges_are_measured(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    run(REPOSITORY / "training" / "scenes" / "scenes.py", "--out", scenes, "--num_train", "1", "--num_validation", "2")
    arguments = ["--split", "validation_seen", "--others", "4", "--output", tmp_path / "edges.json"]
    script = REPOSITORY / "benchmarks" / "edges.py"
    table = run(script, "--dataset", scenes, *arguments).splitlines()
    assert [line.split(" | ")[0] for line in table[-2:]] == ["| as it is", "| refined"]
    rows = json.loads((tmp_path / "edges.json").read_text())["rows"]
    for row in rows.values():
        assert 5 < row["boundary_iou"] < row["mean_iou"] < 100
    assert rows["refined"] != rows["as it is"]

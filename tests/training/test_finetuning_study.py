# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The study of fine-tuning on a few pictures of a data set: what it writes, and what it does not do twice."""

import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from script_loading import REPOSITORY


@pytest.mark.slow
def test_each_way_has_its_numbers_and_is_run_once(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
    generator = np.random.default_rng(0)
    (tmp_path / "dataset" / "data").mkdir(parents=True)
    for split in ("train", "validation"):
        pictures = [Image.fromarray(generator.integers(0, 256, (48, 64, 3)).astype(np.uint8)) for _ in range(3)]
        maps = [Image.fromarray(generator.integers(0, 3, (48, 64)).astype(np.uint8)) for _ in range(3)]
        rows = datasets.Dataset.from_dict({"image": pictures, "annotation": maps}, features)
        rows.to_parquet(tmp_path / "dataset" / "data" / f"{split}-00000-of-00001.parquet")
    (tmp_path / "dataset" / "class_names.txt").write_text("Haus\nBaum\n")
    words = ["--output", str(tmp_path / "runs"), "--dataset", str(tmp_path / "dataset"), "--seeds", "0"]
    words += ["--steps", "1", "--size", "64", "--pictures", "3", "--batch_size", "2", "--held_out", "2"]
    command = [sys.executable, str(REPOSITORY / "training" / "finetuning_study.py"), *words]
    command += ["--ways", "none", "LoRA, half way", "--plot", str(tmp_path / "plot.svg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-3].startswith("| none |") and (tmp_path / "plot.svg").stat().st_size
    results = {path.name: json.loads(path.read_text()) for path in (tmp_path / "runs").iterdir()}
    assert {result["way"] for result in results.values()} == {"none", "LoRA", "LoRA, half way"}
    for result in results.values():
        assert 0 <= result["own_names"] <= 1 and 0 <= result["other_names"] <= 1
    assert results["LoRA_half_way-0.json"]["other_names"] != results["none-0.json"]["other_names"]
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()} == times

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The shipped recipes on their numbers of processes: they start, evaluate, are killed, go on, and equal one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from script_loading import REPOSITORY
from test_training import inputs, losses, read_log

__all__ = ["inputs"]

# Number of steps, the step of the checkpoint after which all processes are killed.
NUM_STEPS, KILLED_AT = 20, 8


def train_on(num_processes: int, kill_when: Path | None, *words: str) -> int:
    command = [sys.executable, str(REPOSITORY / "tests" / "forked_training.py"), str(num_processes)]
    finished = subprocess.run(
        [*command, str(kill_when or "-"), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert finished.returncode in (0, 9), finished.stdout + finished.stderr
    return finished.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "num_processes"),
    [(["coco_stuff_vitb16_384"], 2), (["coco_stuff_vitb16_384", "eight_gpus"], 4)],
    ids=["published", "eight"],
)
@pytest.mark.timeout(3000)
def test_a_recipe_is_the_same_on_its_processes_as_on_one(
    inputs: Path, tmp_path: Path, recipe: list[str], num_processes: int
) -> None:
    # the recipe as it is shipped, but for the model and the data
    tiny = yaml.safe_load((inputs / "config.yaml").read_text())
    kept = ("model_config", "tokenizer", "dataset")
    changes = {name: tiny[name] for name in kept} | {"clip": None, "benchmark": None, "num_workers": 0}
    changes |= {"evaluation_steps": 10, "checkpoint_steps": 4, "logging_steps": 1, "max_steps": NUM_STEPS}
    changes |= {"class_balancing": 0.5}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(changes))
    words = ("--config", *recipe, str(tmp_path / "tiny.yaml"), "--output_dir")
    assert train_on(1, None, *words, str(tmp_path / "one")) == 0
    many = tmp_path / "many"
    assert train_on(num_processes, many / "checkpoints" / f"step-{KILLED_AT}", *words, str(many)) == 9
    assert KILLED_AT <= max(losses(read_log(many))) < NUM_STEPS
    assert train_on(num_processes, None, *words, str(many), "--resume") == 0
    found, expected = read_log(many), read_log(tmp_path / "one")
    assert list(losses(found)) == list(range(1, NUM_STEPS + 1))
    assert losses(found) == pytest.approx(losses(expected), abs=1e-5)
    evaluated = [line["step"] for line in found if "validation/mean_iou" in line]
    assert evaluated == [10, 20]
    for path in (many / "last", many / "best"):
        assert (path / "model.safetensors").is_file()

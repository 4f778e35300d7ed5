# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The shipped recipes on their numbers of processes: they start, evaluate, are killed, go on, and equal one process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import launched_recipes
import pytest
from hub_server import hub_environment, local_hub
from launched_recipes import KILLED_AT, TOLERANCE
from script_loading import REPOSITORY
from served_recipe import evaluated_steps, greatest_difference, read_losses, serve, write_sizes

PUBLISHED, EIGHT = ["coco_stuff_vitb16_384"], ["coco_stuff_vitb16_384", "eight_gpus"]
# Arguments that change the numbers, and on how many processes they must give those of one.
OPTIONS: dict[str, tuple[int, list[str]]] = {
    "plain": (8, []),
    "weights": (8, ["--class_balancing", "0.5", "--rare_class_temperature", "0.5"]),
    "left out": (8, ["--config_overrides", "ignored_pixels_as_negatives=false", "--gradient_checkpointing"]),
    "hard negatives": (4, ["--config_overrides", "num_decoded_classes=2", "--gradient_accumulation_steps", "2"]),
    "all at once": (
        8,
        [
            *("--class_balancing", "1", "--batch_size", "16", "--gradient_accumulation_steps", "2"),
            *("--warmup_steps", "2", "--config_overrides"),
            "num_decoded_classes=4,ignored_pixels_as_negatives=false,p2tformer_direction=dual",
        ],
    ),
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with local_hub() as hub:
        serve(hub)
        yield hub_environment(hub, tmp_path_factory.mktemp("cache"))


def run_all(runs: list[dict[str, Any]], environment: dict[str, str]) -> list[int]:
    """How the runs ended that `forked_training.py` made."""
    finished = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "forked_training.py"), json.dumps(runs)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY / "src"), **environment},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    codes: list[int] = json.loads(finished.stdout.splitlines()[-1])
    assert set(codes) <= {0, 9}, finished.stdout + finished.stderr
    return codes


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "num_processes"), [(PUBLISHED, 4), (EIGHT, 8)], ids=["published", "eight"])
@pytest.mark.timeout(1600)
def test_a_recipe_is_the_same_on_its_processes_as_on_one(
    environment: dict[str, str], tmp_path: Path, recipe: list[str], num_processes: int
) -> None:
    words = ["--config", *recipe, str(write_sizes(tmp_path)), "--class_balancing", "0.5", "--output_dir"]
    one, many = tmp_path / "one", tmp_path / "many"
    killed = {"kill_when": str(many / "checkpoints" / f"step-{KILLED_AT}")}
    codes = run_all(
        [
            {"num_processes": 1, "words": [*words, str(one)]},
            {"num_processes": num_processes, "words": [*words, str(many)], **killed},
            {"num_processes": num_processes, "words": [*words, str(many), "--resume"]},
        ],
        environment,
    )
    assert codes == [0, 9, 0]
    assert list(read_losses(many)) == list(range(1, 21))
    assert greatest_difference(read_losses(many), read_losses(one)) < TOLERANCE
    assert evaluated_steps(many) == evaluated_steps(one) == [10, 20]
    for name in ("last", "best"):
        assert (many / name / "model.safetensors").is_file()
    assert len(json.loads((many / "arguments.json").read_text())["dataset_revision"]) == 40


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_every_option_is_the_same_on_many_processes_as_on_one(environment: dict[str, str], tmp_path: Path) -> None:
    runs = []
    steps = ["--max_steps", "4", "--evaluation_steps", "4", "--evaluation_splits", "validation"]
    sizes = str(write_sizes(tmp_path))
    for name, (many, options) in OPTIONS.items():
        for num_processes in (1, many):
            output = tmp_path / name / str(num_processes)
            words = ["--config", *EIGHT, sizes, *options, *steps, "--output_dir", str(output)]
            runs.append({"num_processes": num_processes, "words": words})
    assert set(run_all(runs, environment)) == {0}
    differences = {}
    for name, (many, _) in OPTIONS.items():
        expected = read_losses(tmp_path / name / "1")
        assert len(expected) == 4
        differences[name] = greatest_difference(read_losses(tmp_path / name / str(many)), expected)
    assert all(difference < TOLERANCE for difference in differences.values()), differences
    # each option is another run
    first = {name: read_losses(tmp_path / name / "1")[4] for name in OPTIONS}
    assert len(set(first.values())) == len(OPTIONS)


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_the_launcher_starts_what_is_killed_and_goes_on(environment: dict[str, str], tmp_path: Path) -> None:
    difference = launched_recipes.compare(" ".join(EIGHT), 2, [], environment, tmp_path / "eight")
    assert difference < TOLERANCE

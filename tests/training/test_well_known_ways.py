# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Transformers' scripts, its task guide and PEFT's guide, written anew: none has a line about words."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import well_known_ways
from PIL import Image
from tiny_models import tiny_model, tiny_processor
from transformers import AutoModelForSemanticSegmentation, AutoProcessor, pipeline

SCRIPT = Path(well_known_ways.__file__)
STEPS = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ways")
    well_known_ways.make_pictures(folder)
    small: dict[str, Any] = {"num_aggregation_layers": 1, "text_config": {"num_hidden_layers": 1}}
    model = tiny_model(trainable_clip="all", class_limit=None, class_padding=0, **small)
    model.save_pretrained(folder / "model")
    tiny_processor().save_pretrained(folder / "model")
    return folder


def run(way: str, folder: Path, output: Path, steps: int, num_processes: int = 1) -> dict[str, Any]:
    launch = [sys.executable]
    if num_processes > 1:
        launch += ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(num_processes)]
        launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        launch += ["--main_process_port", str(free_port())]
    done = subprocess.run(
        [*launch, str(SCRIPT), way, str(folder), str(output), str(steps)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((output / "result.json").read_text())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def check_folder(output: Path) -> None:
    """What was left behind answers for its classes and for new words."""
    picture = Image.new("RGB", (40, 32), (30, 40, 220))
    segments = pipeline("image-segmentation", model=str(output))(picture)
    assert {segment["label"] for segment in segments} <= set(well_known_ways.ID2LABEL.values())
    processor = AutoProcessor.from_pretrained(output)
    model = AutoModelForSemanticSegmentation.from_pretrained(output)
    assert model.config.id2label == well_known_ways.ID2LABEL
    inputs = processor(images=picture, text=["a new word", "sky"], return_tensors="pt")
    with torch.no_grad():
        assert model(**inputs).logits.shape[1] == 2


@pytest.mark.slow
@pytest.mark.parametrize("way", well_known_ways.WAYS)
def test_it_learns_and_leaves_a_whole_folder(folder: Path, tmp_path: Path, way: str) -> None:
    losses = run(way, folder, tmp_path / "output", STEPS)["losses"]
    assert sum(losses[-5:]) < 0.6 * losses[0] * 5
    check_folder(tmp_path / "output")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["script_with_trainer", "script_with_accelerate", "lora_guide"])
def test_two_processes(folder: Path, tmp_path: Path, way: str) -> None:
    losses = run(way, folder, tmp_path / "output", STEPS, num_processes=2)["losses"]
    assert sum(losses[-5:]) < 0.6 * losses[0] * 5
    check_folder(tmp_path / "output")


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(folder: Path, tmp_path: Path) -> None:
    undisturbed = run("script_with_trainer", folder, tmp_path / "output", 8)["losses"]
    # As if it had been killed after the checkpoint of step 4.
    shutil.rmtree(tmp_path / "output" / "checkpoint-8")
    resumed = run("script_with_trainer", folder, tmp_path / "output", 8)["losses"]
    torch.testing.assert_close(torch.tensor(resumed), torch.tensor(undisturbed), atol=1e-5, rtol=1e-4)

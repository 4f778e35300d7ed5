# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Transformers' scripts, its task guide and PEFT's guide, written anew: none has a line about words.

They start from the built-in model, on drawn scenes with twelve classes that are named in German, as those of a German
office's pictures may be. The model knows such pictures and was taught English: it sees what is there and does not know
what it is called, so that it starts near chance and has to learn each name.
"""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import well_known_ways
from PIL import Image
from scene_composition import generate_scene
from scene_vocabulary import CLASS_NAMES
from transformers import AutoModelForSemanticSegmentation, AutoProcessor, pipeline

from fgaseg_hf import builtin_model_folder

SCRIPT = Path(well_known_ways.__file__)
STEPS = {"script_with_trainer": 20, "script_with_accelerate": 20, "task_guide": 20, "lora_guide": 30}
SIZE = 96
# What the names mean, in their order.
ENGLISH = "sky grass snow soil pavement sea lake river mountain hill forest sand".split()  # noqa: SIM905
SCENES = {"train": range(48), "validation": range(1000, 1016)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, and scenes whose label maps count the classes from 1, as many data sets do, with 0 for all else."""
    folder = tmp_path_factory.mktemp("ways")
    ids = np.zeros(len(CLASS_NAMES), dtype=np.uint8)
    ids[[CLASS_NAMES.index(name) for name in ENGLISH]] = range(1, len(ENGLISH) + 1)
    for split, numbers in SCENES.items():
        rows: dict[str, list[Any]] = {"image": [], "label": []}
        for number in numbers:
            picture, label_map = generate_scene(number, "train", SIZE)
            rows["image"].append(picture)
            rows["label"].append(Image.fromarray(ids[label_map]))
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
        datasets.Dataset.from_dict(rows, features).save_to_disk(folder / split)
    # What ships is in half precision, to be small.
    model = AutoModelForSemanticSegmentation.from_pretrained(builtin_model_folder(), dtype="float32")
    model.save_pretrained(folder / "model")
    processor = AutoProcessor.from_pretrained(builtin_model_folder())
    processor.image_processor.size = {"height": SIZE, "width": SIZE}
    processor.save_pretrained(folder / "model")
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


def check_learning(result: dict[str, Any]) -> None:
    """The names were learnt: from next to nothing, to what no map of few classes could have."""
    assert result["after"] >= 3 * result["before"]
    assert result["after"] > 0.3
    assert sum(result["losses"][-5:]) < sum(result["losses"][:5])


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
    check_learning(run(way, folder, tmp_path / "output", STEPS[way]))
    check_folder(tmp_path / "output")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["script_with_trainer", "script_with_accelerate", "lora_guide"])
def test_two_processes(folder: Path, tmp_path: Path, way: str) -> None:
    check_learning(run(way, folder, tmp_path / "output", STEPS[way], num_processes=2))
    check_folder(tmp_path / "output")


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(folder: Path, tmp_path: Path) -> None:
    undisturbed = run("script_with_trainer", folder, tmp_path / "output", 6)["losses"]
    # As if it had been killed after the checkpoint of step 3.
    shutil.rmtree(tmp_path / "output" / "checkpoint-6")
    resumed = run("script_with_trainer", folder, tmp_path / "output", 6)["losses"]
    torch.testing.assert_close(torch.tensor(resumed), torch.tensor(undisturbed), atol=1e-5, rtol=1e-4)

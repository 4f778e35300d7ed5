# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How much memory pictures take: large ones in bytes a pixel above the model, many small ones nothing that stays."""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor
from transformers import pipeline

from fgaseg_hf import Segmenter

SCRIPT = Path(__file__).parent.parent / "measure_memory.py"


@pytest.fixture(scope="module")
def large_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.png"
    Image.linear_gradient("L").resize((8000, 4000)).convert("RGB").save(path, compress_level=1)
    return path


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of memory")
@pytest.mark.parametrize(("way", "most"), [("files", 12), ("windows", 12), ("overlay", 13), ("folder", 30)])
def test_bytes_a_pixel_of_a_large_picture(large_picture: Path, way: str, most: float) -> None:
    """A decoded picture is 4 bytes, its label map and confidence are 2 each, an overlay that is kept is 4 more.

    Of a folder of such pictures two are under way at once.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT), way, str(large_picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    assert measured["bytes_a_pixel"] < most, measured


def tensors_that_stay(answer: Callable[[], Any], times: int = 4) -> int:
    """How many more tensors and pictures there are after so many answers than after the first two."""

    def count() -> int:
        gc.collect()
        return sum(isinstance(found, torch.Tensor | Image.Image) for found in gc.get_objects())

    for _ in range(2):
        answer()
    before = count()
    for _ in range(times):
        answer()
    return count() - before


def answers_of_each_door() -> dict[str, Callable[[], Any]]:
    """Ways to ask, each of which makes a new picture and new words at every call."""
    model, processor = tiny_model(), tiny_processor()
    pipe = pipeline("zero-shot-image-segmentation", model=model, processor=processor, device="cpu")
    segmenter = Segmenter.from_model(model, processor)
    asked = iter(range(1000))

    def question() -> tuple[np.ndarray, list[str]]:
        number = next(asked)
        return np.full((24, 32, 3), number, np.uint8), [*CLASS_NAMES, f"{'x' * (number % 9)} y"]

    # What these keep on purpose, the last few pictures and words, is full after the first calls.
    segmenter.features.max_pictures = 1
    segmenter.encoder.max_words = len(CLASS_NAMES) + 1
    return {
        "pipeline": lambda: pipe(question()[0], candidate_labels=question()[1]),
        "segmenter": lambda: segmenter(*question()),
    }


@pytest.mark.parametrize("door", ["pipeline", "segmenter"])
def test_answers_leave_nothing_behind(door: str) -> None:
    assert tensors_that_stay(answers_of_each_door()[door]) <= 0

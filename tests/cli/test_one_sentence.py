# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models that are broken in odd ways: each command that takes one says so in one line, and says what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from tiny_models import tiny_model, tiny_processor, tiny_vocabulary
from typer.testing import CliRunner

from fgaseg_hf.cli.main import app


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def change_weights(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    # Of the picture side: the words belong to their text tower to the bit.
    name = max((name for name in weights if "text" not in name), key=lambda name: weights[name].numel())
    weights[name] = change(weights[name]).contiguous()
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def pickle_in_place_of_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": print}, folder / "pytorch_model.bin")


BREAK: dict[str, Callable[[Path], Any]] = {
    "a list": lambda folder: (folder / "config.json").write_text("[]"),
    "nested deep": lambda folder: (folder / "config.json").write_text('{"a":' * 100_000),
    "a size in quotes": lambda folder: change_config(folder, image_size="192"),
    "weights of another shape": lambda folder: change_weights(folder, lambda weight: weight[..., :1]),
    "weights cut short": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:1000]
    ),
    "a pickle": pickle_in_place_of_weights,
    "a broken vocabulary": lambda folder: (folder / "vocabulary.json").write_text("{"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "picture.png")
    return folder


def run(whole: Path, folder: Path, command: str, *more: str) -> str:
    """Runs a command that must refuse; returns its one line."""
    words = {
        "segment": ["segment", str(whole / "picture.png"), "--labels", "sky, car", "--output", str(folder / "out")],
        "inspect": ["inspect", str(folder / "model")],
        "export": ["export", str(folder / "model"), "--out", str(folder / "out")],
    }[command]
    words += ["--model", str(folder / "model")] if command == "segment" else []
    result = CliRunner().invoke(app, [*words, *more])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("fgaseg: ")]
    assert len(line) < 800 and "Traceback" not in result.output
    assert not list(folder.glob("out/*labels.png"))
    for misleading in ("above report", "weights_only", "ignore_mismatched_sizes", "float32"):
        assert misleading not in line
    return line


@pytest.mark.parametrize("command", ["segment", "inspect", "export"])
@pytest.mark.parametrize("damage", list(BREAK))
def test_a_broken_model_is_one_sentence(whole: Path, tmp_path: Path, command: str, damage: str) -> None:
    (tmp_path / "model").mkdir()
    for path in (whole / "model").iterdir():
        (tmp_path / "model" / path.name).write_bytes(path.read_bytes())
    BREAK[damage](tmp_path / "model")
    if damage == "weights of another shape" and command == "inspect":
        # It tells what there is, and that this does not fit.
        assert "misshapen" in CliRunner().invoke(app, ["inspect", str(tmp_path / "model")]).output
        return
    assert run(whole, tmp_path, command)


def test_weights_that_are_no_numbers_are_named_and_no_other_type_is_advised(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for path in (whole / "model").iterdir():
        (tmp_path / "model" / path.name).write_bytes(path.read_bytes())
    change_weights(tmp_path / "model", lambda weight: weight * torch.nan)
    words = ["segment", str(whole / "picture.png"), "--labels", "sky, car", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, "--model", str(tmp_path / "model")])
    assert result.exit_code in (1, 2) and "not numbers" in result.stderr and "weights" in result.stderr


@pytest.mark.parametrize("device", ["meta", "cuda:99", "nowhere"])
def test_devices_without_values_are_refused(whole: Path, tmp_path: Path, device: str) -> None:
    (tmp_path / "model").symlink_to(whole / "model")
    assert device in run(whole, tmp_path, "segment", "--device", device)

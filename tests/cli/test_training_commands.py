# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`fgaseg train` and `fgaseg evaluate`: the words reach the rooms' arguments, in any folder."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from test_training import inputs, losses, read_log
from typer.testing import CliRunner

from fgaseg_hf.cli.main import app

__all__ = ["inputs"]


def run(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result


def test_a_model_is_trained_and_measured_in_an_empty_folder(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("train", "--config", str(inputs / "config.yaml"), "--max_steps", "2", "--output_dir", "run")
    assert list(losses(read_log(tmp_path / "run"))) == [1, 2]
    run("evaluate", "--model", "run/last", "--dataset", str(inputs / "dataset"), "--output", "result.json")
    report = json.loads((tmp_path / "result.json").read_text())
    assert 0 <= report["result"]["mean_iou"] <= 1


def test_bad_words_get_one_sentence_and_help_names_the_configurations(tmp_path: Path) -> None:
    result = run("train", "--config", "coco_stuff_vitb16", "--output_dir", str(tmp_path), code=2)
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("error: There is no configuration file coco_stuff_vitb16,")
    assert "coco_stuff_vitb16_384" in sentence
    assert run("evaluate", code=2).stderr.startswith("error: --model is missing")
    text = run("train", "--help").output
    assert "coco_stuff_vitb16_384" in text and "--gradient_accumulation_steps" in text


@pytest.mark.parametrize(
    ("command", "package", "extra"), [("train", "yaml", "train"), ("evaluate", "datasets", "eval")]
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, command: str, package: str, extra: str) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find_spec(name))
    sentence = f"error: The package '{package}' is not installed: pip install \"fgaseg_hf[{extra}]\".\n"
    assert run(command, code=2).stderr == sentence

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`training/negatives_study.py` on a tiny model: both kinds are trained alike and measured; what is there stays."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import negatives_study
import pytest
from test_training import NAMES, inputs

from fgaseg_hf.training import train
from fgaseg_hf.training.run_folder import read_arguments

__all__ = ["inputs"]


def test_both_kinds_are_trained_measured_and_kept(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(inputs / "dataset", dataset)
    validation = dataset / "data" / "validation-00000-of-00001.parquet"
    for split in negatives_study.SPLITS:
        shutil.copy(validation, validation.with_name(f"{split}-00000-of-00001.parquet"))
    (dataset / "class_groups.json").write_text(json.dumps({"seen": NAMES, "unseen": []}))

    def run(words: list[str], **settings: Any) -> Any:
        train.main(words[3:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(negatives_study, "subprocess", SimpleNamespace(run=run))
    words = ["--dataset", str(dataset), "--recipe", str(inputs / "config.yaml"), "--output_dir", str(tmp_path / "runs")]
    words += ["--num_names", "2", "--max_steps", "2", "--seeds", "3", "--num_pictures", "2"]
    results = negatives_study.main(words)
    assert [result["kind"] for result in results] == ["random", "hard"]
    random, hard = (read_arguments(tmp_path / "runs" / f"{kind}-3") for kind in negatives_study.KINDS)
    assert (random["num_sampled_classes"], hard["num_sampled_classes"]) == (2, 4)
    assert "num_decoded_classes=2" in hard["config_overrides"]
    same = ("seed", "max_steps", "batch_size", "learning_rate", "dataset")
    assert all(random[name] == hard[name] for name in same)
    assert all(0 <= result["validation_unseen/all"] <= 1 for result in results)
    assert "| hard |" in capsys.readouterr().out

    def never(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("a finished run was made again")

    monkeypatch.setattr(negatives_study, "subprocess", SimpleNamespace(run=never))
    assert negatives_study.main(words) == results


def test_what_is_no_folder_of_scenes_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no class_groups.json in"):
        negatives_study.main(["--dataset", str(tmp_path), "--output_dir", str(tmp_path)])

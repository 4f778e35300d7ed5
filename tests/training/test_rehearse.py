# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`training/rehearse.py` in its tiny form, on a processor."""

import json
from pathlib import Path
from typing import Any

import pytest
import rehearse
import torch


def test_parity_is_measured_and_a_wrong_device_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    expected = rehearse.numbers_of(rehearse.random_model(True), True, "fp32", cpu)
    same = rehearse.compare("fp32", False, True, cpu, expected)
    assert same["ok"] and same["logits"] == same["gradient"] == 0
    half = rehearse.compare("bf16", False, True, cpu, expected)
    assert half["ok"] and 1e-4 < half["gradient"] < 0.5
    numbers_of = rehearse.numbers_of

    def wrong(model: Any, tiny: bool, precision: str, device: torch.device) -> dict[str, torch.Tensor]:
        numbers = numbers_of(model, tiny, precision, device)
        return numbers | {"logits": numbers["logits"] * 1.1}

    monkeypatch.setattr(rehearse, "numbers_of", wrong)
    assert not rehearse.compare("tf32", False, True, cpu, expected)["ok"]

    def broken(model: Any, tiny: bool, precision: str, device: torch.device) -> dict[str, torch.Tensor]:
        raise RuntimeError("no such kernel\nand so on")

    monkeypatch.setattr(rehearse, "numbers_of", broken)
    assert rehearse.compare("bf16", False, True, cpu, expected)["error"] == "RuntimeError: no such kernel"


def test_what_has_no_time_left_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    report = rehearse.main(["--minutes", "0", "--precisions", "fp32", "bf16"])
    assert [(row["ok"], row["error"]) for row in report["parity"]] == [(None, rehearse.NO_TIME)] * 4
    assert [row["error"] for row in report["steps"]] == [rehearse.NO_TIME] * len(report["steps"]) != []
    assert report["plan"]["precisions_not_judged"] == 4
    said = capsys.readouterr().out
    assert "torch " in said and " GiB" in said and "bf16 compiled: not known, no time was left" in said


def test_the_plan_follows_from_the_steps() -> None:
    steps = [
        {"num_processes": count, "pictures_per_process": pictures, "pictures_per_second": 10.0 * count, "peak_gib": gib}
        for count in (1, 8)
        for pictures, gib in ((1, 10.0), (3, 20.0))
    ]
    steps.append({"num_processes": 8, "pictures_per_process": 9, "error": "out of memory"})
    report = {"steps": steps, "gpus": [{"name": "G", "gib": 80.0}] * 8, "parity": [{"ok": True}]}
    plan = rehearse.plan_run(report)
    assert plan["pictures_that_fit_in_a_GPU"] == 13  # 10 GiB for one, 5 for each further of 72
    assert plan["hours_of_320000_pictures_on_1"] == 8.9
    assert plan["hours_of_320000_pictures_on_8"] == 1.1
    assert plan["all_precisions_ok"]


@pytest.mark.parametrize(
    "words", [("--precisions", "int8"), ("--process_counts", "0"), ("--pictures_per_process", "1")]
)
def test_bad_arguments_get_one_sentence(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=words[0]):
        rehearse.main(list(words))


@pytest.mark.slow
def test_the_whole_in_its_tiny_form(tmp_path: Path) -> None:
    words = ["--tiny", "--no_compile", "--process_counts", "1", "2", "--output", str(tmp_path / "report.json")]
    report = rehearse.main([*words, "--precisions", "fp32", "bf16"])
    assert [row["precision"] for row in report["parity"]] == ["fp32", "bf16"]
    assert [(row["num_processes"], row["pictures_per_process"]) for row in report["steps"]] == [
        (1, 1), (1, 2), (2, 1), (2, 2)
    ]  # fmt: skip
    assert all(row["pictures_per_second"] > 0 for row in report["steps"])
    assert json.loads((tmp_path / "report.json").read_text())["plan"] == report["plan"]
    assert report["memory_gib"] > 0.1 and report["plan"]["precisions_not_judged"] == 0
    assert report["plan"]["all_precisions_ok"]

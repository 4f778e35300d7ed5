# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Partial counts: sums over sessions and processes, and files of other evaluations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fgaseg_hf.evaluation.partial_counts import CountsSoFar, PartialCounts


def counts(done: list[int], score: float = 0.5, seconds: float = 1.0) -> CountsSoFar:
    mask = np.isin(np.arange(6), done)
    state = {"counts": torch.full((2, 2), len(done)), "num_pictures": torch.tensor(len(done))}
    return CountsSoFar(state, mask, mask * score, seconds)


def test_sessions_and_processes_add_up(tmp_path: Path) -> None:
    arguments = {"model": "a"}
    first = PartialCounts(tmp_path / "counts", arguments)
    assert not first.load(counts([])).done.any()
    first.save(0, counts([0]))
    first.save(0, counts([0, 2], seconds=2.0))  # in the place of the one before
    first.save(1, counts([1], seconds=3.0))
    second = PartialCounts(tmp_path / "counts", arguments)
    assert second.load(counts([])).done.tolist() == [True, True, True, False, False, False]
    second.save(0, counts([5], score=0.25, seconds=1.5))
    third = PartialCounts(tmp_path / "counts", arguments).load(counts([]))
    assert third.done.tolist() == [True, True, True, False, False, True]
    assert third.scores.tolist() == [0.5, 0.5, 0.5, 0.0, 0.0, 0.25]
    assert third.state["counts"].tolist() == [[4, 4], [4, 4]]
    assert int(third.state["num_pictures"]) == 4
    assert third.seconds == 4.5  # the slower process of each session


def test_other_evaluations_are_left_alone(tmp_path: Path) -> None:
    mine, other = (PartialCounts(tmp_path / "counts", {"model": name}) for name in ("a", "b"))
    mine.save(0, counts([0]))
    other.save(0, counts([1]))
    assert mine.key != other.key
    assert other.load(counts([])).done.tolist() == [False, True, False, False, False, False]
    mine.remove()
    assert len(list((tmp_path / "counts").iterdir())) == 1
    other.remove()
    assert not (tmp_path / "counts").exists()


def test_it_is_due_every_so_many_pictures(tmp_path: Path) -> None:
    partial_counts = PartialCounts(tmp_path, {}, save_every=5)
    assert [number for number in range(0, 21, 4) if partial_counts.is_due(number)] == [8, 16]


@pytest.mark.parametrize("damage", ["empty", "half", "other numbers", "other shapes"])
def test_a_file_that_is_not_whole_is_counted_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    partial_counts = PartialCounts(tmp_path, {"model": "a"})
    partial_counts.save(0, counts([0, 2]))
    partial_counts.save(1, counts([1]))
    path = tmp_path / f"counts-{partial_counts.key}-0-1.safetensors"
    content = path.read_bytes()
    if damage == "other shapes":
        PartialCounts(tmp_path, {"model": "a"}).save(1, CountsSoFar({}, np.ones(2, bool), np.ones(2), 0.0))
    else:
        broken = {"empty": b"", "half": content[: len(content) // 2], "other numbers": content[:-8] + bytes(8)}
        path.write_bytes(broken[damage])
    again = PartialCounts(tmp_path, {"model": "a"})
    loaded = again.load(counts([]))
    assert loaded.done.tolist() == [True, False, True, False, False, False]
    assert int(loaded.state["num_pictures"]) == 2
    assert f"{path.name} are not whole" in caplog.text
    # what is counted anew never stands in the broken file's place
    again.save(1, counts([1]))
    assert PartialCounts(tmp_path, {"model": "a"}).load(counts([])).done[:3].all()

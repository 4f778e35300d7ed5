# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training's bad days: rows that cannot be read, checkpoints that are not whole, full disks."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from test_training import inputs, losses, run

from fgaseg_hf.data.segmentation_split import UnreadableRow
from fgaseg_hf.training import run_folder, training_loop, training_run
from fgaseg_hf.training.run_folder import CHECKPOINT_FOLDER, checkpoints_in

__all__ = ["inputs"]


def break_cell(inputs: Path, folder: Path, column: str, row: int) -> Path:
    """Copies the data set with something else than a picture in one cell of the training split."""
    shutil.copytree(inputs / "dataset", folder)
    path = folder / "data" / "train-00000-of-00001.parquet"
    table = pyarrow.parquet.read_table(path)
    cells = table.column(column).to_pylist()
    cells[row] = {"bytes": b"no picture", "path": None}
    place = table.schema.get_field_index(column)
    broken = pyarrow.array(cells, type=table.schema.field(column).type)
    pyarrow.parquet.write_table(table.set_column(place, table.schema.field(column), broken), path)
    return folder


@pytest.fixture
def with_a_broken_row(inputs: Path, tmp_path: Path) -> Path:
    """The same data set, but the picture of row 7 is no picture."""
    return break_cell(inputs, tmp_path / "broken", "image", 7)


@pytest.mark.parametrize("more", [(), ("--streaming", "--shuffle_buffer", "2")], ids=["plain", "streamed"])
def test_a_row_that_cannot_be_read_is_named_or_left_out(
    inputs: Path, with_a_broken_row: Path, tmp_path: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--dataset", str(with_a_broken_row), "--max_steps", "4", "--num_workers", "1", *more)
    with pytest.raises(UnreadableRow) as error:
        run(inputs, tmp_path / "stops", *words)
    sentence = str(error.value)
    assert "'train'" in sentence and str(with_a_broken_row) in sentence and "--skip_unreadable N" in sentence
    assert "Traceback" not in sentence and "\n" not in sentence
    if not more:
        assert "ow 7 " in sentence
    capsys.readouterr()
    log = run(inputs, tmp_path / "goes_on", *words, "--skip_unreadable", "1")
    assert list(losses(log)) == [1, 2, 3, 4]
    assert capsys.readouterr().out.count("left out, 1 of at most 1") == 1


@pytest.fixture
def with_a_broken_label_map(inputs: Path, tmp_path: Path) -> Path:
    """The same data set, but the label map of row 5 is no picture."""
    return break_cell(inputs, tmp_path / "broken_map", "annotation", 5)


def test_classes_are_weighed_without_the_label_maps_that_cannot_be_read(
    inputs: Path, with_a_broken_label_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--dataset", str(with_a_broken_label_map), "--class_balancing", "0.5", "--rare_class_temperature", "0.5")
    with pytest.raises(ValueError, match=r"ow 5 cannot be read.* leave such rows out with --skip_unreadable") as error:
        run(inputs, tmp_path / "stops", *words, "--num_checked_label_maps", "0")
    assert "\n" not in str(error.value)
    log = run(inputs, tmp_path / "goes_on", *words, "--skip_unreadable", "1")
    assert list(losses(log)) == list(range(1, 9))
    assert capsys.readouterr().out.count("left out, 1 of at most 1") >= 1


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "loop_state.json", "contents.json"])
def test_a_run_goes_back_to_the_newest_whole_checkpoint(
    inputs: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--max_steps", "4", "--checkpoint_steps", "1")
    whole = losses(run(inputs, tmp_path, *arguments, "--stop_at_step", "3"))
    newest = tmp_path / CHECKPOINT_FOLDER / "step-3"
    (newest / name).write_bytes(b"")
    (tmp_path / "arguments.json").write_text("")
    capsys.readouterr()
    resumed = run(inputs, tmp_path, *arguments, "--resume")
    said = capsys.readouterr().out
    assert f"{newest} is not whole ({name}" in said
    assert "after step 2." in said and "arguments.json cannot be read" in said
    assert {step: loss for step, loss in losses(resumed).items() if step <= 3} == pytest.approx(whole, abs=1e-6)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-3", "step-4"]


def test_without_a_whole_checkpoint_one_sentence_says_so(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path, "--max_steps", "2", "--stop_at_step", "1")
    for path in checkpoints_in(tmp_path):
        (path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="None of the 1 checkpoints in"):
        run(inputs, tmp_path, "--max_steps", "2", "--resume")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["system", "safetensors"],
)
def test_a_full_disk_is_one_sentence_and_the_older_checkpoint_stays(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    replace = run_folder.replace_folder

    def full(new: Path, old: Path) -> None:
        if old.name == "step-2":
            raise error
        replace(new, old)

    monkeypatch.setattr("fgaseg_hf.training.checkpoints.replace_folder", full)
    with pytest.raises(training_run.DiskFull, match=r"is full \(the newest whole checkpoint is step-1\): make room"):
        run(inputs, tmp_path, "--max_steps", "3", "--checkpoint_steps", "1")
    assert [path.name for path in (tmp_path / CHECKPOINT_FOLDER).iterdir()] == ["step-1"]
    monkeypatch.undo()
    assert list(losses(run(inputs, tmp_path, "--max_steps", "3", "--resume"))) == [1, 2, 3]


def test_other_errors_stay_what_they_are(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any, **keywords: Any) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(training_loop, "train_step", wrong)
    with pytest.raises(RuntimeError, match="something else"):
        run(inputs, tmp_path)


def test_what_is_written_reaches_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(run_folder, "_write_through", lambda path: order.append(f"written {path.name}"))
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        order.append(f"renamed {self.name}")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").write_text(json.dumps({}))
    run_folder.replace_folder(tmp_path / "new", tmp_path / "old")
    assert order == ["written file", "written new", "renamed new", f"written {tmp_path.name}"]


def test_a_run_says_that_its_data_were_changed(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(inputs / "dataset", folder)
    words = ("--dataset", str(folder), "--max_steps", "3", "--num_workers", "0")
    run(inputs, tmp_path / "run", *words, "--stop_at_step", "1")
    capsys.readouterr()
    run(inputs, tmp_path / "run", *words, "--stop_at_step", "2", "--resume")
    assert "were changed" not in capsys.readouterr().out
    (path,) = folder.glob("data/train-*")
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(1), path)
    run(inputs, tmp_path / "run", *words, "--resume")
    assert f"warning: the files of {folder} were changed since the run was last started" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_kills(tmp_path: Path) -> None:
    """In its short form; `python tests/kill_and_resume.py train` has the long one."""
    # In a process of its own: what forks must not have threads.
    script = Path(__file__).parent.parent / "kill_and_resume.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), "train", "--kills", "5", "--size", "16"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=800)
    assert done.returncode == 0 and "'killed': 5" in done.stdout, done.stdout + done.stderr

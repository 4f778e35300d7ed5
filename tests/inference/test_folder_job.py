# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Jobs over folders: killed anywhere and resumed, every picture is done exactly once and no file is half-written."""

import os
import subprocess
import sys
from pathlib import Path

import kill_and_resume
import pytest
from kill_and_resume import FORMATS, can_mount, contents, save_pictures
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf import Segmenter
from fgaseg_hf.inference.folder_job import FolderJob
from fgaseg_hf.inference.job_journal import STATE_FOLDER
from fgaseg_hf.inference.picture_search import find_pictures

ENDINGS = ("_labels.json", "_labels.png", "_overlay.png")


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_model(tiny_model(), tiny_processor())


def run(segmenter: Segmenter, pictures: Path, output: Path, **options: object) -> list[str]:
    job = FolderJob(segmenter, CLASS_NAMES, output, FORMATS, **options)
    return [outcome.picture.name for outcome in job.run(find_pictures([str(pictures)]).pictures)]


def test_resuming_does_what_is_missing_or_changed(segmenter: Segmenter, tmp_path: Path) -> None:
    pictures, output = save_pictures(tmp_path / "pictures", 4), tmp_path / "out"
    assert run(segmenter, pictures, output) == ["000", "001", "002", "003"]
    expected = contents(output)
    assert len(expected) == 12
    assert run(segmenter, pictures, output, resume=True) == []
    (output / "001_labels.png").unlink()
    Image.new("RGB", (30, 30)).save(pictures / "002.png")
    Image.new("RGB", (30, 30)).save(pictures / "000.jpg")
    # A new picture of a name that is taken gets another, whatever the order.
    assert run(segmenter, pictures, output, resume=True) == ["000", "001", "002"]
    now = contents(output)
    assert {name for name in now if name not in expected} == {f"000_2{ending}" for ending in ENDINGS}
    assert {name for name in expected if now[name] != expected[name]} == {f"002{ending}" for ending in ENDINGS}
    assert run(segmenter, pictures, output) == ["000", "000_2", "001", "002", "003"]


def test_another_job_is_not_resumed(segmenter: Segmenter, tmp_path: Path) -> None:
    pictures, output = save_pictures(tmp_path / "pictures", 1), tmp_path / "out"
    run(segmenter, pictures, output)
    found = find_pictures([str(pictures)]).pictures
    other_weights = Segmenter.from_model(tiny_model(seed=1), tiny_processor())
    other_threshold = Segmenter.from_model(tiny_model(default_threshold=0.5), tiny_processor())
    sliding = Segmenter.from_model(segmenter.model, segmenter.processor, sliding_window=True)
    for job, changed in (
        (FolderJob(segmenter, ["sky"], output, FORMATS, resume=True), "words"),
        (FolderJob(segmenter, CLASS_NAMES, output, ["labels"], resume=True), "formats"),
        (FolderJob(other_weights, CLASS_NAMES, output, FORMATS, resume=True), "weights"),
        (FolderJob(other_threshold, CLASS_NAMES, output, FORMATS, resume=True), "default_threshold"),
        (FolderJob(sliding, CLASS_NAMES, output, FORMATS, resume=True), "options"),
    ):
        with pytest.raises(ValueError, match=changed):
            list(job.run(found))


def test_what_was_whole_is_put_in_its_place(segmenter: Segmenter, tmp_path: Path) -> None:
    pictures, output = save_pictures(tmp_path / "pictures", 2), tmp_path / "out"
    run(segmenter, pictures, output)
    expected = contents(output)
    # As a kill leaves it: a line cut short, files that are whole and not in their places, and others half-written.
    journal = output / STATE_FOLDER / "job.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines()
    journal.write_text("\n".join([*lines[:-1], lines[-1][:20]]), encoding="utf-8")
    whole = output / STATE_FOLDER / "7.whole"
    whole.mkdir()
    (output / "001_overlay.png").replace(whole / "001_overlay.png")
    (output / STATE_FOLDER / "8.partial").mkdir()
    (output / STATE_FOLDER / "8.partial" / "001_labels.png").write_bytes(b"half")
    assert run(segmenter, pictures, output, resume=True) == ["001"]
    assert contents(output) == expected
    assert [path.name for path in (output / STATE_FOLDER).iterdir()] == ["job.jsonl"]


def test_a_full_disk_leaves_whole_pictures(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, output = save_pictures(tmp_path / "pictures", 5), tmp_path / "out"
    written: list[int] = []

    def fill_up(file: int) -> None:
        written.append(file)
        # In the midst of the third picture.
        if len(written) > 9:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        with pytest.raises(OSError, match="No space"):
            run(segmenter, pictures, output)
    names = sorted(contents(output))
    assert 0 < len(names) < 15
    assert len(names) % 3 == 0
    assert [path.name for path in (output / STATE_FOLDER).iterdir()] == ["job.jsonl"]
    rest = run(segmenter, pictures, output, resume=True)
    assert len(rest) == 5 - len(names) // 3
    assert len(contents(output)) == 15


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("disk_megabytes", [None, 1], ids=["any disk", "small disk"])
def test_kills(tmp_path: Path, disk_megabytes: float | None) -> None:
    """In its short form; `python tests/kill_and_resume.py segment` has the long ones."""
    if disk_megabytes is not None and not can_mount(tmp_path):
        pytest.skip("only root mounts a file system")
    # In a process of its own: what forks must not have threads.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, kill_and_resume.__file__, "segment", "--kills", "5", "--size", "60"]
    command += [] if disk_megabytes is None else ["--disk_megabytes", str(disk_megabytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=800)
    assert done.returncode == 0 and "'killed': 5" in done.stdout, done.stdout + done.stderr
    assert ("'full'" in done.stdout) == (disk_megabytes is not None)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Jobs over folders: killed anywhere and resumed, every picture is done exactly once and no file is half-written."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf import Segmenter
from fgaseg_hf.inference.folder_job import FolderJob
from fgaseg_hf.inference.job_journal import STATE_FOLDER
from fgaseg_hf.inference.picture_search import find_pictures

FORMATS = ("overlay", "labels")
ENDINGS = ("_labels.json", "_labels.png", "_overlay.png")
# What a killed job is, in a process of its own; slowed, since a tiny model is done before it can be killed.
JOB = """
import sys, time
from fgaseg_hf import Segmenter
from fgaseg_hf.inference import output_formats
from fgaseg_hf.inference.folder_job import FolderJob
from fgaseg_hf.inference.picture_search import find_pictures
model, pictures, output, pause = sys.argv[1:]
write = output_formats.FORMATS["labels"].write
def slowly(result, paths):
    time.sleep(float(pause))
    write(result, paths)
    time.sleep(float(pause))
object.__setattr__(output_formats.FORMATS["labels"], "write", slowly)
job = FolderJob(Segmenter(model), ["sky", "tree", "red car"], output, ["overlay", "labels"], resume=True)
print("ready", flush=True)
for outcome in job.run(find_pictures([pictures]).pictures):
    print(outcome.picture.name, flush=True)
"""


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_model(tiny_model(), tiny_processor())


def save_pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (16, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


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
    sliding = Segmenter.from_model(segmenter.model, segmenter.processor, sliding_window=True)
    for job, changed in (
        (FolderJob(segmenter, ["sky"], output, FORMATS, resume=True), "words"),
        (FolderJob(segmenter, CLASS_NAMES, output, ["labels"], resume=True), "formats"),
        (FolderJob(other_weights, CLASS_NAMES, output, FORMATS, resume=True), "weights"),
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


def kill_and_resume(tmp_path: Path, num_pictures: int, num_kills: int, pause: float) -> None:
    """Kills a job at random moments and resumes it; compares with one that was left in peace."""
    model, pictures = tmp_path / "model", save_pictures(tmp_path / "pictures", num_pictures)
    tiny_model().save_pretrained(model)
    tiny_processor().save_pretrained(model)
    chance = random.Random(0)

    def start(output: Path, pause: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", JOB, str(model), str(pictures), str(output), str(pause)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    # What each run finished, in the order in which it said so.
    said: list[str] = []
    for _ in range(num_kills):
        job = start(tmp_path / "killed", pause)
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 2 * pause * num_pictures / num_kills))
        job.send_signal(signal.SIGKILL)
        said += job.communicate()[0].split()
        # Never a broken file under its own name.
        for path in (tmp_path / "killed").glob("*.png"):
            Image.open(path).load()
        for path in (tmp_path / "killed").glob("*.json"):
            json.loads(path.read_text(encoding="utf-8"))
    said += start(tmp_path / "killed", 0).communicate(timeout=600)[0].split()[1:]
    assert len(said) == len(set(said))
    start(tmp_path / "left", 0).communicate(timeout=600)
    assert contents(tmp_path / "killed") == contents(tmp_path / "left")
    assert len(contents(tmp_path / "left")) == 3 * num_pictures
    assert [path.name for path in (tmp_path / "killed" / STATE_FOLDER).iterdir()] == ["job.jsonl"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_two_kills(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, num_pictures=12, num_kills=2, pause=0.1)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or "FGASEG_TWENTY_KILLS" not in os.environ, reason="takes minutes")
def test_twenty_kills_of_two_hundred_pictures(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, num_pictures=200, num_kills=20, pause=0.1)

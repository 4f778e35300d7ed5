# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Kills work at random moments and goes on with it; what comes out must be what comes out of work left in peace.

    python tests/kill_and_resume.py segment --kills 20 --size 200
    python tests/kill_and_resume.py segment --kills 20 --size 200 --disk_megabytes 3     (as root: mounts a tmpfs)
    python tests/kill_and_resume.py train --kills 20 --size 60

`--size` is pictures of a folder job, and steps of training. Each run is a process of its own that is parted from one
which has imported everything, so that a start takes a fraction of a second.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

FORMATS = ("overlay", "labels")
WORDS = ["sky", "tree", "red car"]
SLOWED_BY = 0.02


@dataclass
class Child:
    """Work in a process of its own.

    Attributes:
        work: What it does; it writes lines to what it is given.
    """

    work: Callable[[TextIO], None]
    process: int = field(init=False)
    _said: TextIO = field(init=False)

    def __post_init__(self) -> None:
        reader, writer = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            code = 1
            try:
                os.close(reader)
                with open(writer, "w", buffering=1, encoding="utf-8") as said:
                    self.work(said)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writer)
        self._said = open(reader, encoding="utf-8")  # noqa: SIM115 - closed by end()

    def wait_for(self, line: str) -> None:
        """Reads lines until this one comes."""
        while (said := self._said.readline()) not in (f"{line}\n", ""):
            pass
        assert said, f"it ended before it said {line!r}"

    def end(self, kill_after: float | None = None) -> tuple[list[str], int]:
        """Waits for its end, or kills it after some seconds; returns what it said and its exit code."""
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(self.process, signal.SIGKILL)
        with self._said:
            lines = self._said.read().splitlines()
        return lines, os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def save_pictures(folder: Path, count: int, size: tuple[int, int] = (20, 16)) -> Path:
    """Writes pictures of noise; returns the folder."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def check_that_files_are_whole(folder: Path) -> None:
    """Opens every file that has its own name."""
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    for path in folder.glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


def segment_folder(pictures: Path, output: Path, pause: float, said: TextIO) -> None:
    """A folder job that goes on where it was; slowed, since a tiny model is done before it can be killed."""
    from tiny_models import tiny_model, tiny_processor

    from fgaseg_hf import Segmenter
    from fgaseg_hf.inference import output_formats
    from fgaseg_hf.inference.folder_job import FolderJob
    from fgaseg_hf.inference.picture_search import find_pictures

    write = output_formats.FORMATS["labels"].write

    def slowly(result: object, paths: object) -> None:
        time.sleep(pause)
        write(result, paths)  # type: ignore[arg-type]
        time.sleep(pause)

    object.__setattr__(output_formats.FORMATS["labels"], "write", slowly)
    segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
    job = FolderJob(segmenter, WORDS, output, FORMATS, resume=True)
    said.write("ready\n")
    for outcome in job.run(find_pictures([str(pictures)]).pictures):
        assert outcome.reason is None, outcome.reason
        said.write(f"{outcome.picture.name}\n")


def kill_folder_job(folder: Path, num_pictures: int, num_kills: int, disk_megabytes: float | None = None) -> Counter:
    """Kills a job over a folder; with a small disk also lets it run full, makes room and goes on.

    Returns:
        How often it was killed, ended for lack of space, and ended well.
    """
    # On the small disk so large that all results do not fit.
    size = (20, 16) if disk_megabytes is None else (110, 80)
    pictures = save_pictures(folder / "pictures", num_pictures, size)
    killed, left = folder / "killed" / "out", folder / "left"
    killed.parent.mkdir()
    chance, counts = random.Random(0), Counter[str]()
    said: list[str] = []

    def start(output: Path, pause: float) -> Child:
        child = Child(lambda lines: segment_folder(pictures, output, pause, lines))
        return child

    with disk_of(killed.parent, disk_megabytes) as grow:
        while counts["killed"] < num_kills:
            job = start(killed, SLOWED_BY)
            job.wait_for("ready")
            lines, code = job.end(chance.uniform(0, 2 * SLOWED_BY * num_pictures / num_kills))
            said += lines
            assert code == -signal.SIGKILL or disk_megabytes is not None, code
            counts["killed" if code == -signal.SIGKILL else "full"] += 1
            check_that_files_are_whole(killed)
            if code != -signal.SIGKILL:
                grow()
        while True:
            lines, code = start(killed, 0).end()
            said += [line for line in lines if line != "ready"]
            check_that_files_are_whole(killed)
            if code == 0:
                break
            assert disk_megabytes is not None, code
            counts["full"] += 1
            grow()
        counts["ended"] += 1
        assert start(left, 0).end()[1] == 0
        # What a job said was done is never done again.
        assert len(said) == len(set(said)) <= num_pictures
        assert contents(killed) == contents(left)
        assert len(contents(left)) == 3 * num_pictures
        assert [path.name for path in (killed / ".fgaseg").iterdir()] == ["job.jsonl"]
    return counts


@contextmanager
def disk_of(folder: Path, megabytes: float | None) -> Iterator[Callable[[], None]]:
    """Mounts a small file system; what is yielded makes it half as large again."""
    if megabytes is None:
        yield lambda: None
        return
    size = megabytes

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], check=True, capture_output=True)

    def grow() -> None:
        nonlocal size
        size *= 1.5
        mount("-o", f"remount,size={int(size * 1024)}k")

    mount("-o", f"size={int(size * 1024)}k")
    try:
        yield grow
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a file system."""
    try:
        with disk_of(folder, 1):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def kill_training(folder: Path, num_steps: int, num_kills: int) -> Counter:
    """Kills a training run, each time at another moment, and compares its losses with those of a run left in peace."""
    sys.path += [str(Path(__file__).parent / "training")]
    from test_training import losses, make_inputs, read_log

    from fgaseg_hf.training import train

    folder.mkdir(exist_ok=True)
    inputs = make_inputs(folder)
    chance, counts = random.Random(0), Counter[str]()

    def start(output: Path) -> Child:
        words = ["--config", str(inputs / "config.yaml"), "--output_dir", str(output), "--resume"]
        words += ["--max_steps", str(num_steps), "--checkpoint_steps", "2", "--keep_checkpoints", "2"]
        return Child(lambda _: train.main(words) and None)

    began = time.monotonic()
    assert start(folder / "left").end()[1] == 0
    seconds = time.monotonic() - began
    while counts["killed"] < num_kills:
        _, code = start(folder / "killed").end(chance.uniform(0, min(seconds, 4 * seconds / num_kills + 1)))
        # A run that is done is gone on with, and killed, too.
        assert code in (0, -signal.SIGKILL), code
        counts["killed" if code else "ended before"] += 1
    assert start(folder / "killed").end()[1] == 0
    counts["ended"] += 1
    found, expected = (losses(read_log(folder / name)) for name in ("killed", "left"))
    assert list(found) == list(expected) == list(range(1, num_steps + 1))
    np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-6)
    return counts


def main() -> None:
    """Prints how often what happened; ends with a traceback if anything was not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("segment", "train"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--disk_megabytes", type=float)
    arguments = parser.parse_args()
    import torch

    # Processes part from this one, which must not have threads of its own.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "segment":
            counts = kill_folder_job(Path(folder), arguments.size, arguments.kills, arguments.disk_megabytes)
        else:
            counts = kill_training(Path(folder), arguments.size, arguments.kills)
    sys.stdout.write(f"{dict(counts)}: nothing is broken, all is there once and as in a run left in peace\n")


if __name__ == "__main__":
    main()

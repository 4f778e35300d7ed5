# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How much memory a large picture takes from its file to its result: the peak, and bytes a pixel above the model.

    python tests/measure_memory.py files picture.png --model scenes

Ways: `files` writes overlay and label map as `fgaseg segment` does; `windows` does so by sliding windows; `folder`
segments the picture three times under three names; `overlay` draws the overlay into memory.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

WAYS = ("files", "windows", "folder", "overlay")
WORDS = ["sky", "car", "tree"]


def memory(field: str) -> int:
    """A line of Linux's account of this process, in bytes: VmRSS is what it has now, VmHWM the most that it had."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def measure(way: str, picture: Path, model: str | None) -> dict[str, float]:
    """Segments one picture; what is loaded and made at the first picture is done before it is looked at."""
    from tiny_models import tiny_model, tiny_processor

    from fgaseg_hf.inference.folder_job import FolderJob
    from fgaseg_hf.inference.picture_search import FoundPicture
    from fgaseg_hf.inference.segmenter import Segmenter

    options = {"sliding_window": way == "windows"}
    segmenter = (
        Segmenter.from_model(tiny_model(), tiny_processor(), **options)
        if model is None
        else Segmenter(model, **options)
    )

    def work(source: Path, folder: Path) -> tuple[int, int]:
        if way == "overlay":
            result = segmenter(source, WORDS)
            assert result.overlay().height > result.size[1]
            return result.size
        names = [f"{number}" for number in range(3 if way == "folder" else 1)]
        job = FolderJob(segmenter, WORDS, folder, ["overlay", "labels"])
        for outcome in job.run([FoundPicture(str(source), name) for name in names]):
            assert outcome.reason is None and outcome.result is not None, outcome.reason
            size = outcome.result.size
            del outcome
        return size

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.png"
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(small)
        work(small, Path(folder) / "small")
        before = memory("VmRSS")
        # Forgets the peak of what came before.
        Path("/proc/self/clear_refs").write_text("5")
        width, height = work(picture, Path(folder) / "large")
        peak = memory("VmHWM")
    return {
        "megapixels": width * height / 1e6,
        "peak_gigabytes": peak / 1e9,
        "bytes_a_pixel": (peak - before) / (width * height),
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", help="a name or folder; a tiny random model, if not given")
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    sys.stdout.write(json.dumps(measure(arguments.way, arguments.picture, arguments.model)) + "\n")


if __name__ == "__main__":
    main()

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How long one waits: for version and help, for a first overlay, for new words on a known picture, and for a folder.

Run `python benchmarks/startup.py` on a machine that does nothing else. Commands are processes of their own, in turns
with their floor (`python -c "import torch"`, or the imports that a first overlay cannot do without).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from end_to_end import FOLDER_PICTURES, segment_folder
from measurement import FOLDER, markdown_table, time_interleaved, write_report
from PIL import Image

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation, FGASegProcessor, Segmenter, builtin_model_folder

WORDS = [f"thing {number}" for number in range(20)]


def process(*arguments: str) -> Callable[[], object]:
    """A command as a process of its own."""
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def starting_rows(rounds: int) -> list[list[str]]:
    """Times the command's quick answers against PyTorch's import, and a first overlay against what it must import."""
    imports = "import torch, transformers; from fgaseg_hf import FGASegForSemanticSegmentation, FGASegProcessor"
    loading = f"{imports}; FGASegForSemanticSegmentation.from_pretrained({str(builtin_model_folder())!r})"
    table = []
    with tempfile.TemporaryDirectory() as output:
        for floor_name, floor, rows in (
            (
                "`import torch`",
                process("-c", "import torch"),
                {
                    "`fgaseg --version`": process("-m", "fgaseg_hf", "--version"),
                    "`fgaseg --help`": process("-m", "fgaseg_hf", "--help"),
                    "`import fgaseg_hf`": process("-c", "import fgaseg_hf"),
                },
            ),
            (
                "imports and loading",
                process("-c", loading),
                {"`fgaseg segment`, the example": process("-m", "fgaseg_hf", "segment", "--output", output)},
            ),
        ):
            timings = time_interleaved(rows, floor, rounds=rounds, budget=120.0)
            for name, timing in timings.items():
                table.append([name, f"{timing.median:.2f} s", floor_name, f"{timing.ratio:.2f}"])
    return table


@torch.inference_mode()
def asking_rows(rounds: int) -> list[list[str]]:
    """Times new words on a known picture against the image tower alone: CAT-Seg and FGASeg with ViT-B/16 at 384."""
    processor = FGASegProcessor.from_pretrained(builtin_model_folder())
    processor.image_processor.size = {"height": 384, "width": 384}
    pixels = np.random.default_rng(0).integers(0, 256, (960, 1280, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    table = []
    for name, config in (
        ("FGASeg", FGASegConfig()),
        ("CAT-Seg", FGASegConfig.catseg()),
        ("CLIP, training-free", FGASegConfig.training_free(image_size=384)),
    ):
        segmenter = Segmenter.from_model(FGASegForSemanticSegmentation(config), processor)
        segmenter(picture, WORDS)
        tower_input = torch.randn(1, 3, 384, 384)
        vision = segmenter.model.fgaseg.vision_model
        timings = time_interleaved(
            {f"20 words on a known picture of 1280 x 960, {name}": lambda: segmenter(picture, WORDS)},  # noqa: B023
            lambda: vision(tower_input, interpolate_pos_encoding=True),  # noqa: B023
            rounds=rounds,
        )
        for row, timing in timings.items():
            table.append([row, f"{timing.median:.3f} s", "its image tower", f"{timing.ratio:.2f}"])
    return table


def folder_rows(rounds: int) -> list[list[str]]:
    """Counts pictures a second of `fgaseg segment` on a folder, from files to files, the model loaded before."""
    rates = [segment_folder(FOLDER_PICTURES) for _ in range(rounds)]
    seconds = statistics.median(1 / rate["pictures_per_second"] for rate in rates)
    return [[f"a picture of {rates[0]['work']}", f"{seconds:.3f} s", "a second", f"{1 / seconds:.1f} pictures/s"]]


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description="Start of the command, new words on a known picture, a folder.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=FOLDER / "results")
    parser.add_argument("--name", default="startup")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    table = starting_rows(rounds) + asking_rows(rounds) + folder_rows(rounds)
    header = ["what", "time", "beside", "ratio"]
    rows = [dict(zip(header, row, strict=True)) for row in table]
    write_report(
        arguments.output,
        arguments.name,
        "Waiting for a first answer, and for another about the same picture.",
        markdown_table(header, table),
        rows,
        {},
    )


if __name__ == "__main__":
    main()

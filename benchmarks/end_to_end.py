# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What lies around the model: text encoding, a sliding window over a large photograph, and a folder of pictures.

Run `python benchmarks/end_to_end.py` on a machine that does nothing else; each part is a process of its own, whose peak
memory is read from outside. The pictures are made up.
"""

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measurement import FOLDER, answer_and_wait, markdown_table, peak_memory, write_report
from PIL import Image
from workloads import Workloads

from fgaseg_hf import builtin_model_folder, label_with_sliding_window
from fgaseg_hf.cli.main import segment

# 4000 x 3000, as telephones take them.
PHOTO_SIZE = (3000, 4000)
FOLDER_PICTURES = 24
FOLDER_LABELS = ["sky", "tree", "house", "red car", "road", "water"]


def seconds_of(work: Callable[[], object]) -> float:
    """Runs once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@torch.inference_mode()
def encode_text(num_classes: int) -> dict[str, Any]:
    """Encodes random prompts, in batches as a vocabulary is encoded."""
    workloads = Workloads()
    model, input_ids = workloads.fgaseg, workloads.input_ids(num_classes)
    model.get_text_embeddings(input_ids[:64])
    seconds = seconds_of(lambda: [model.get_text_embeddings(part) for part in input_ids.split(256)])
    return {"work": f"text encoding, {num_classes:,} prompts of 12 tokens", "seconds": seconds}


@torch.inference_mode()
def slide_over_photo(num_classes: int) -> dict[str, Any]:
    """Labels every pixel of a photograph of 12 megapixels, by the published windows and at its own resolution."""
    workloads = Workloads()
    model, words = workloads.fgaseg, workloads.text_embeddings(num_classes)
    model.config.num_kept_classes = 16
    photo = torch.randn(1, 3, *PHOTO_SIZE, generator=torch.Generator().manual_seed(0))

    def work() -> object:
        return label_with_sliding_window(lambda part: model(pixel_values=part, text_embeddings=words).logits, photo)

    seconds = seconds_of(work)
    return {"work": f"sliding window, 12 megapixels, {num_classes} classes, TopK 16, 5 views", "seconds": seconds}


def segment_folder(num_pictures: int) -> dict[str, Any]:
    """Runs `fgaseg segment` on a folder of JPEG files, decoding and saving included, the model loaded before."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        pictures, output = Path(name) / "pictures", Path(name) / "output"
        pictures.mkdir()
        for number in range(num_pictures):
            blocks = generator.integers(0, 255, (15, 20, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((1280, 960), Image.Resampling.BICUBIC).save(pictures / f"{number:03}.jpg")

        def work(count: int) -> None:
            files = sorted(str(path) for path in pictures.iterdir())[:count]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                segment(files, labels=", ".join(FOLDER_LABELS), model=str(builtin_model_folder()), output=output)

        # Loading the model is in both, so it is not in their difference.
        few = seconds_of(lambda: work(2))
        seconds = seconds_of(lambda: work(num_pictures)) - few
    rate = round((num_pictures - 2) / seconds, 2)
    return {
        "work": f"fgaseg segment, {num_pictures} JPEG files of 1280 x 960, {len(FOLDER_LABELS)} labels, built-in model",
        "seconds": seconds,
        "pictures_per_second": rate,
    }


PARTS: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "text-171": (encode_text, 171),
    "text-10000": (encode_text, 10_000),
    "photo-20": (slide_over_photo, 20),
    "photo-171": (slide_over_photo, 171),
    "folder": (segment_folder, FOLDER_PICTURES),
}


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description="Text encoding, sliding window, and a folder of pictures.")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--alone", choices=list(PARTS), help="run one part here and wait (for the measuring process)")
    parser.add_argument("--output", type=Path, default=FOLDER / "results")
    parser.add_argument("--name", default="end_to_end")
    arguments = parser.parse_args()
    if arguments.alone:
        function, size = PARTS[arguments.alone]
        figures = function(size)
        answer_and_wait({**figures, "seconds": round(figures["seconds"], 3)})
        return

    rows = []
    for part in arguments.parts:
        rows.append(peak_memory(Path(__file__), "--alone", part))
        print(rows[-1], flush=True)
    table = [
        [row["work"], f"{row['seconds']:.2f} s", row.get("pictures_per_second"), f"{row['peak_gib']:.2f} GiB"]
        for row in rows
    ]
    write_report(
        arguments.output,
        arguments.name,
        "Around the model; ViT-B/16 with random weights at 384 but for the folder, one run each.",
        markdown_table(["work", "time", "pictures/s", "peak memory of the process"], table),
        rows,
        {},
    )


if __name__ == "__main__":
    main()

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Measures an FGASeg model on one split of a segmentation data set, and writes one JSON result.

    python training/evaluate.py --model runs/camvid/best --dataset FOLDER --split validation --output camvid.json
    accelerate launch --multi_gpu --num_processes 2 training/evaluate.py --model ... --sliding_window

The counts are exact on any number of processes: each picture is counted once.
"""

import dataclasses
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from augmentation import IGNORED_LABEL
from command_line_arguments import parse_arguments, run_script
from PIL import Image, ImageDraw, ImageFont
from segmentation_data import (
    DatasetArguments,
    SegmentationSplit,
    default_split,
    load_segmentation_splits,
    spread_evenly,
)
from segmentation_evaluation import EvaluationProtocol, evaluate_segmentation, runs_on_cpu
from tqdm.auto import tqdm
from transformers import AutoProcessor

from fgaseg_hf import FGASegForSemanticSegmentation
from fgaseg_hf.segmentation_metrics import format_class_table, load_class_groups
from fgaseg_hf.visualization import draw_overlay


@dataclass
class EvaluationArguments:
    """What is measured, and how."""

    model: str | None = field(default=None, metadata={"help": "FGASeg checkpoint: folder or Hub id"})
    split: str | None = field(
        default=None, metadata={"help": "split to measure on; the benchmark's own, 'validation' without one"}
    )
    vocabulary: str = field(
        default="all", metadata={"help": "'all' names for every picture, or 'picture+16': its own and 16 others"}
    )
    sliding_window: bool = field(default=False, metadata={"help": "windows and the whole picture, as published"})
    window_size: int | None = field(default=None, metadata={"help": "side of a window; image_size if not given"})
    resized_size: int | None = field(default=None, metadata={"help": "side of the picture under the windows"})
    num_kept_classes: int | None = field(default=None, metadata={"help": "TopK: classes that the decoder works out"})
    batch_size: int = field(default=4, metadata={"help": "pictures, or windows, at a time in each process"})
    num_pictures: int | None = field(default=None, metadata={"help": "measure on this many pictures, spread evenly"})
    seed: int = field(default=0, metadata={"help": "seed of the other names of 'picture+16'"})
    output: str | None = field(default=None, metadata={"help": "JSON file for the result"})
    save_pictures: list[str] | None = field(
        default=None, metadata={"help": "N FOLDER: save N pictures beside prediction and truth, spread over the split"}
    )

    def __post_init__(self) -> None:
        if self.model is None:
            raise ValueError("--model is missing: the folder or Hub id of an FGASeg checkpoint.")
        if self.save_pictures is not None and (len(self.save_pictures) != 2 or not self.save_pictures[0].isdigit()):
            raise ValueError("--save_pictures takes a number and a folder, as in --save_pictures 5 pictures.")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures as the arguments say, and returns what the JSON file holds."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    options, dataset = parse_arguments((EvaluationArguments, DatasetArguments), arguments, description=__doc__)
    accelerator = Accelerator(cpu=runs_on_cpu())
    overrides = {} if options.num_kept_classes is None else {"num_kept_classes": options.num_kept_classes}
    model = FGASegForSemanticSegmentation.from_pretrained(options.model, dtype=torch.float32, **overrides)
    model = model.to(accelerator.device).eval()
    processor = AutoProcessor.from_pretrained(options.model)
    with accelerator.main_process_first():
        split_name = options.split or default_split(dataset)
        split = load_segmentation_splits(dataset, [split_name])[split_name]
    class_groups = load_class_groups(dataset.class_groups) if dataset.class_groups else None
    protocol = EvaluationProtocol(
        vocabulary=options.vocabulary,
        view="sliding_window" if options.sliding_window else "whole",
        window_size=options.window_size,
        resized_size=options.resized_size,
        batch_size=options.batch_size,
        seed=options.seed,
    )

    # the pictures that `evaluate_segmentation` takes
    chosen = spread_evenly(len(split) if options.num_pictures is None else options.num_pictures, len(split))
    started = time.monotonic()
    metric = evaluate_segmentation(
        model,
        processor,
        split,
        accelerator,
        protocol,
        num_pictures=options.num_pictures,
        observer=_picture_saver(options.save_pictures, chosen, split.class_names),
        progress=partial(tqdm, desc=split_name, dynamic_ncols=True, disable=not accelerator.is_main_process),
    )
    seconds = time.monotonic() - started
    result = metric.compute(class_groups)
    report = {
        **describe_run(arguments),
        "device": describe_device(accelerator.device),
        "num_processes": accelerator.num_processes,
        "model": options.model,
        "config_sha256": hashlib.sha256(model.config.to_json_string().encode()).hexdigest(),
        "dataset": dataclasses.asdict(dataset),
        "labels": describe_labels(split),
        "split": split_name,
        "protocol": dataclasses.asdict(protocol) | {"num_kept_classes": model.config.num_kept_classes},
        "seconds": round(seconds, 1),
        "pictures_per_second": round(metric.num_pictures / seconds, 2),
        "result": result.to_dict(),
        "confusion_matrix_sha256": hashlib.sha256(metric.matrix.cpu().numpy().astype("<i8").tobytes()).hexdigest(),
    }
    if accelerator.is_main_process:
        print(format_class_table(result, class_groups))
        print(f"{metric.num_pictures} pictures in {seconds:.0f} s")
        if options.output:
            Path(options.output).parent.mkdir(parents=True, exist_ok=True)
            Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            print(f"The result lies in {options.output}")
    accelerator.end_training()
    return report


def describe_run(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns command, time, commit, versions and machine, which make a number reproducible."""
    words = sys.argv if arguments is None else [sys.argv[0], *arguments]
    packages = ("fgaseg_hf", "torch", "transformers", "accelerate", "datasets", "numpy", "pillow")
    return {
        "command": shlex.join([Path(words[0]).name, *words[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
    }


def describe_labels(split: SegmentationSplit) -> dict[str, Any]:
    """Returns how label maps were read and what was asked for, with everything that a benchmark filled in."""
    id_map = {str(published): class_id for published, class_id in (split.id_map or {}).items()}
    return {
        "image_column": split.image_column,
        "annotation_column": split.annotation_column,
        "decoding": split.decoding,
        "ignored_ids": list(split.ignored_ids),
        "id_map": id_map or None,
        "ignore_unmapped_ids": split.ignore_unmapped_ids,
        "prompts": split.prompts,
        "background_id": split.background_id,
        "max_short_side": split.max_short_side,
    }


def describe_device(device: torch.device) -> dict[str, Any]:
    """Returns what the numbers were computed on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"type": device.type, "name": name, "cpu_count": os.cpu_count(), "torch_threads": torch.get_num_threads()}


def _git(*words: str) -> str | None:
    try:
        finished = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _picture_saver(options: list[str] | None, chosen: list[int], class_names: list[str]) -> Any:
    """Returns an observer that saves some pictures side by side, or None without options."""
    if options is None:
        return None
    wanted = {chosen[place] for place in spread_evenly(int(options[0]), len(chosen))}
    folder = Path(options[1])

    def save(index: int, picture: Image.Image, prediction: np.ndarray, labels: np.ndarray) -> None:
        if index in wanted:
            folder.mkdir(parents=True, exist_ok=True)
            side_by_side(picture, prediction, labels, class_names).save(folder / f"{index:06d}.png")

    return save


def side_by_side(
    picture: Image.Image, prediction: np.ndarray, labels: np.ndarray, class_names: list[str]
) -> Image.Image:
    """Draws a picture, its prediction and its truth next to each other, each with its legend.

    Args:
        picture: RGB picture.
        prediction: class ids (H, W).
        labels: true class ids (H, W); `IGNORED_LABEL` keeps the picture's own colours.
        class_names: names in id order.
    """
    assert IGNORED_LABEL < 0, "draw_overlay takes negative ids for 'no class'"
    panels = {
        "picture": picture,
        "prediction": draw_overlay(picture, prediction, class_names),
        "truth": draw_overlay(picture, labels, class_names),
    }
    font = ImageFont.load_default(size=16)
    margin, title_height = 8, 26
    canvas = Image.new(
        "RGB",
        (
            sum(panel.width for panel in panels.values()) + margin * (len(panels) + 1),
            max(panel.height for panel in panels.values()) + title_height + margin,
        ),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    left = margin
    for title, panel in panels.items():
        draw.text((left, 4), title, fill="black", font=font)
        canvas.paste(panel, (left, title_height))
        left += panel.width + margin
    return canvas


if __name__ == "__main__":
    run_script(main)

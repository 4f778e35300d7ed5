# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What bf16, fp16 and int8 cost in mIoU: the built-in model on generated scenes, and its size in each form.

    python training/scenes/scenes.py --out scenes --num_train 1 --num_validation 100
    OMP_NUM_THREADS=1 python benchmarks/precision.py --dataset scenes --num_pictures 100 --output precision.json

int8 is PyTorch's dynamic quantization of the linear layers: weights in int8, activations quantized as they come. It
runs on the CPU, as all of this does.
"""

import argparse
import copy
import json
import platform
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegProcessor, builtin_model_folder
from fgaseg_hf.data.dataset_loading import DatasetArguments, load_segmentation_splits
from fgaseg_hf.evaluation.segmentation_evaluation import EvaluationProtocol, evaluate_segmentation

PRECISIONS = ("fp32", "bf16", "fp16", "int8-dynamic")


def in_precision(model: FGASegForSemanticSegmentation, precision: str) -> nn.Module:
    """Returns a copy of a single-precision model in another precision.

    Args:
        model: The model in float32.
        precision: One of `PRECISIONS`.
    """
    if precision == "int8-dynamic":
        with warnings.catch_warnings():
            # Its successor is a package of its own.
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return copy.deepcopy(model).to(dtype)


def megabytes(model: nn.Module) -> float:
    """Size of a model's state on disk, as PyTorch writes it, in MB (10^6 bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.pt"
        torch.save(model.state_dict(), path)
        return path.stat().st_size / 1e6


def main() -> None:
    """Prints a Markdown table, and writes the same figures as JSON."""
    parser = argparse.ArgumentParser(description="Measures precisions on generated scenes.")
    parser.add_argument("--model", default=str(builtin_model_folder()))
    parser.add_argument("--dataset", required=True, help="what training/scenes/scenes.py wrote")
    parser.add_argument("--splits", nargs="+", default=["validation_seen", "validation_unseen"])
    parser.add_argument("--vocabulary", default="picture+8")
    parser.add_argument("--num_pictures", type=int, default=100, help="of each split, spread evenly")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    model = FGASegForSemanticSegmentation.from_pretrained(options.model, dtype=torch.float32).eval()
    processor = FGASegProcessor.from_pretrained(options.model)
    splits = load_segmentation_splits(DatasetArguments(dataset=options.dataset), options.splits)
    protocol = EvaluationProtocol(vocabulary=options.vocabulary)
    accelerator = Accelerator(cpu=True)
    rows: list[dict[str, Any]] = []
    for precision in options.precisions:
        variant = in_precision(model, precision)
        row: dict[str, Any] = {"precision": precision, "megabytes": megabytes(variant)}
        for name, split in splits.items():
            started = time.perf_counter()
            evaluation = evaluate_segmentation(
                variant, processor, split, accelerator, protocol, num_pictures=options.num_pictures
            )
            result = evaluation.metric.compute()
            row[name] = {"mean_iou": result.mean_iou, "pixel_accuracy": result.pixel_accuracy}
            row[f"{name}_seconds"] = time.perf_counter() - started
        rows.append(row)
        print(f"{precision}: done", file=sys.stderr)

    print(f"| precision | MB | {' | '.join(f'mIoU, {name}' for name in splits)} |")
    print(f"| --- | {' | '.join('---' for _ in range(len(splits) + 1))} |")
    for row in rows:
        mious = " | ".join(f"{100 * row[name]['mean_iou']:.1f} %" for name in splits)
        print(f"| {row['precision']} | {row['megabytes']:.1f} | {mious} |")
    if options.output is not None:
        report = {
            "model": options.model,
            "vocabulary": options.vocabulary,
            "num_pictures": options.num_pictures,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "machine": platform.processor() or platform.machine(),
            "rows": rows,
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

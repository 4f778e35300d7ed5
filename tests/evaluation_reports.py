# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Result files as `training/evaluate.py` writes them, with numbers that a test counts by itself."""

import json
from pathlib import Path
from typing import Any

import torch
from tiny_models import CLASS_NAMES

from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix
from fgaseg_hf.release.checkpoint_hashes import hash_checkpoint


def evaluation_report(checkpoint: Path | None, split: str = "validation", /, **changes: Any) -> dict[str, Any]:
    """A report of a confusion matrix over random maps; `changes` replace its entries."""
    metric = SegmentationConfusionMatrix(CLASS_NAMES)
    generator = torch.Generator().manual_seed(len(split))
    # The last two classes are nowhere in the truth; the last is predicted by nobody either.
    label, noise = (torch.randint(0, high, (64, 64), generator=generator) for high in (3, 4))
    metric.update(torch.where(torch.rand(64, 64, generator=generator) < 0.7, label, noise), label)
    report = {
        "command": f"evaluate.py --model /home/someone/runs/tiny/best --dataset /data/pictures --split {split} "
        "--vocabulary all --output /home/someone/seen.json",
        "date": "2026-01-01T00:00:00Z",
        "commit": "0123456789abcdef",
        "uncommitted_changes": False,
        "versions": {"python": "3.11", "torch": "2.13.0", "transformers": "5.23.0"},
        "device": {"type": "cpu", "name": "x86_64"},
        "num_processes": 1,
        "model": "/home/someone/runs/tiny/best",
        "checkpoint": None if checkpoint is None else hash_checkpoint(checkpoint),
        "dataset": {"benchmark": None, "dataset": "/data/pictures", "dataset_revision": None, "dataset_subset": None},
        "split": split,
        "protocol": {"vocabulary": "all", "view": "whole", "window_size": None, "seed": 0, "num_kept_classes": None},
        "result": metric.compute({"seen": CLASS_NAMES[:2], "unseen": CLASS_NAMES[2:]}).to_dict(),
    }
    return {**report, **changes}


def write_report(path: Path, checkpoint: Path | None, split: str = "validation", /, **changes: Any) -> Path:
    """Writes [`evaluation_report`] to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(evaluation_report(checkpoint, split, **changes)))
    return path

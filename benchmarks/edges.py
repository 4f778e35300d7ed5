# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What `refine` brings and costs: mIoU and boundary IoU with and without it, and the time of deciding pixels.

    python training/scenes/scenes.py --out scenes --num_train 1 --num_validation 40 --size 448
    OMP_NUM_THREADS=1 python benchmarks/edges.py --dataset scenes --split validation_unseen --others 8
    OMP_NUM_THREADS=1 python benchmarks/edges.py --dataset camvid --class_names camvid.txt

Times are processor time of the whole answer, on a machine that may do other work too.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fgaseg_hf import Segmenter
from fgaseg_hf.data.dataset_loading import DatasetArguments, load_segmentation_splits
from fgaseg_hf.data.segmentation_split import spread_evenly
from fgaseg_hf.evaluation.boundary_iou import BoundaryIoU


class Counts:
    """Pixels by label and answer, pixels near edges, and seconds, of one way to answer."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.confusion = np.zeros((num_classes, num_classes), np.int64)
        self.edges = BoundaryIoU(num_classes)
        self.seconds: list[float] = []

    def add(self, answer: np.ndarray, labels: np.ndarray) -> None:
        """Counts a picture: class ids (height, width), 255 where nobody knows."""
        known = labels != 255
        pairs = labels[known] * self.num_classes + answer[known]
        self.confusion += np.bincount(pairs, minlength=self.num_classes**2).reshape(self.confusion.shape)
        self.edges.add(torch.from_numpy(answer), torch.from_numpy(labels))

    def row(self) -> dict[str, float]:
        """Mean IoU and boundary IoU in per cent over the classes that occur, and milliseconds a picture."""
        present = self.confusion.sum(axis=1) > 0
        together = np.diag(self.confusion)
        either = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - together
        return {
            "mean_iou": round(100 * float((together[present] / either[present]).mean()), 2),
            "boundary_iou": round(100 * self.edges.mean(torch.from_numpy(present)), 2),
            "milliseconds": round(1000 * float(np.median(self.seconds))),
        }


def measure(segmenter: Segmenter, split: Any, num_pictures: int, num_others: int | None) -> dict[str, dict[str, float]]:
    """Answers each picture in both ways."""
    names, chance = split.class_names, np.random.default_rng(0)
    counts = {refine: Counts(len(names)) for refine in (False, True)}
    for index in spread_evenly(num_pictures, len(split)):
        picture, labels = split[index]
        asked = np.arange(len(names))
        if num_others is not None:
            present = np.unique(labels[labels != 255])
            asked = np.concatenate((present, chance.permutation(np.setdiff1d(asked, present))[:num_others]))
        for refine, counted in counts.items():
            started = time.process_time()
            # Every pixel gets a word, whatever the checkpoint says of unlikely ones.
            result = segmenter([picture], [names[place] for place in asked], refine=refine, threshold=0.0)
            label_map = next(iter(result)).label_map
            counted.seconds.append(time.process_time() - started)
            counted.add(asked[label_map], labels)
    return {"refined" if refine else "as it is": counted.row() for refine, counted in counts.items()}


def main() -> None:
    """Prints a Markdown table, and writes the same figures as JSON."""
    parser = argparse.ArgumentParser(description="Measures edges with and without refinement.")
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--class_names")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--num_pictures", type=int, default=40, help="spread evenly")
    parser.add_argument("--others", type=int, help="ask for a picture's own classes and so many others; else for all")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    arguments = DatasetArguments(dataset=options.dataset, class_names=options.class_names)
    split = load_segmentation_splits(arguments, [options.split])[options.split]
    rows = measure(Segmenter(options.model), split, min(options.num_pictures, len(split)), options.others)
    print("| edges | mIoU | boundary IoU | ms a picture |\n| --- | ---: | ---: | ---: |")
    for name, row in rows.items():
        print(f"| {name} | {row['mean_iou']:.2f} % | {row['boundary_iou']:.2f} % | {row['milliseconds']} |")
    if options.output is not None:
        options.output.write_text(json.dumps(vars(options) | {"rows": rows}, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()

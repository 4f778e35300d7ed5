# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Times the running confusion matrix beside `np.bincount` and torchmetrics, on one map of A-847's size.

Run `python benchmarks/metric.py` on a machine that does nothing else.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix


def random_maps(height: int, width: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Makes a label map of blocks, a tenth of it ignored (65535), and a prediction that is right four times in five."""
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, num_classes, (height // 32 + 1, width // 32 + 1))
    label = np.kron(blocks, np.ones((32, 32), dtype=np.int64))[:height, :width]
    prediction = np.where(generator.random(label.shape) < 0.8, label, generator.integers(0, num_classes, label.shape))
    label[: height // 10] = 65535
    return prediction, label


def milliseconds(count: Callable[[], object], num_repeats: int) -> tuple[float, float]:
    """Returns the median and the fastest of many runs, after three that do not count."""
    seconds = []
    for repeat in range(num_repeats + 3):
        started = time.perf_counter()
        count()
        if repeat >= 3:
            seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds), 1000 * min(seconds)


def main() -> None:
    """Prints one line a way of counting."""
    parser = argparse.ArgumentParser(description="Times the metric.")
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=683)
    parser.add_argument("--num_classes", type=int, default=847)
    parser.add_argument("--num_repeats", type=int, default=50)
    arguments = parser.parse_args()
    num_classes = arguments.num_classes
    prediction, label = random_maps(arguments.height, arguments.width, num_classes)
    prediction_tensor, label_tensor = torch.from_numpy(prediction), torch.from_numpy(label)
    names = [f"class {number}" for number in range(num_classes)]

    total = np.zeros((num_classes + 1, num_classes), dtype=np.int64)
    cells = np.where(label == 65535, num_classes, label) * num_classes + np.where(label == 65535, 0, prediction)
    metrics = {
        "fgaseg_hf": SegmentationConfusionMatrix(names, (65535,)),
        "fgaseg_hf, totals only": SegmentationConfusionMatrix(names, (65535,), keep_matrix=False),
        "fgaseg_hf, with boundaries": SegmentationConfusionMatrix(names, (65535,), boundary_ratio=0.02),
    }
    metrics["fgaseg_hf"].update(prediction_tensor, label_tensor)
    expected = np.bincount(cells.reshape(-1), minlength=total.size).reshape(total.shape)[:-1]
    if not np.array_equal(metrics["fgaseg_hf"].matrix.numpy(), expected):
        raise SystemExit("The metric and np.bincount count differently.")

    ways: dict[str, Callable[[], object]] = {}
    for name, metric in metrics.items():
        ways[name] = lambda metric=metric: metric.update(prediction_tensor, label_tensor)  # type: ignore[misc]

    def bincount() -> None:
        # the bare count: nothing is ignored or checked here
        total.__iadd__(np.bincount(cells.reshape(-1), minlength=total.size).reshape(total.shape))

    ways["np.bincount alone"] = bincount
    try:
        from torchmetrics.classification import MulticlassConfusionMatrix
    except ImportError:
        print("torchmetrics is not installed: left out")
    else:
        theirs = MulticlassConfusionMatrix(num_classes, ignore_index=65535, validate_args=False)
        ways["torchmetrics"] = lambda: theirs.update(prediction_tensor[None], label_tensor[None])

    print(
        f"{arguments.height} x {arguments.width}, {num_classes} classes; {platform.processor() or platform.machine()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, numpy {np.__version__}"
    )
    for name, count in ways.items():
        median, fastest = milliseconds(count, arguments.num_repeats)
        print(f"{name:<28} {median:7.2f} ms median {fastest:7.2f} ms fastest")


if __name__ == "__main__":
    main()

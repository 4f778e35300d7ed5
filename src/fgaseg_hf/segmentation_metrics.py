# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentation quality from one running confusion matrix: IoU in both published definitions, accuracies, groups."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class ClassResult:
    """Quality of one class.

    Attributes:
        name: the class name.
        iou: intersection over union in 0..1; None where neither ground truth nor prediction has a pixel.
        accuracy: share of the true pixels that were found; None without ground truth.
        num_true_pixels: pixels of the ground truth.
        num_predicted_pixels: pixels of the prediction (where the ground truth is annotated).
    """

    name: str
    iou: float | None
    accuracy: float | None
    num_true_pixels: int
    num_predicted_pixels: int


@dataclass(frozen=True)
class SegmentationResult:
    """All numbers that follow from a confusion matrix; shares lie in 0..1 and are None where nothing was to be counted.

    Attributes:
        mean_iou: mean IoU over the classes that the ground truth holds (the default definition).
        mean_iou_present: mean IoU over the classes that the ground truth or the prediction holds: a class that is
            predicted somewhere but exists nowhere counts as 0.
        frequency_weighted_iou: IoU weighted by the share of true pixels.
        mean_accuracy: mean share of found pixels over the classes that the ground truth holds.
        pixel_accuracy: share of all annotated pixels that are right.
        num_pixels: annotated pixels.
        num_pictures: label maps that were counted.
        groups: for every named group of classes its mean IoU (both definitions) within the full matrix.
        harmonic_mean_iou: harmonic mean of the `mean_iou` of the groups "seen" and "unseen", if both exist.
        classes: one row a class.
    """

    mean_iou: float | None
    mean_iou_present: float | None
    frequency_weighted_iou: float | None
    mean_accuracy: float | None
    pixel_accuracy: float | None
    num_pixels: int
    num_pictures: int
    groups: dict[str, dict[str, float | None]]
    harmonic_mean_iou: float | None
    classes: list[ClassResult]

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as plain dictionaries and lists, ready for JSON."""
        return asdict(self)

    def summary(self) -> dict[str, float]:
        """Returns the numbers without the per-class table, those of the groups as `mean_iou/<group>`, None left out."""
        numbers = {
            name: getattr(self, name)
            for name in (
                "mean_iou",
                "mean_iou_present",
                "frequency_weighted_iou",
                "mean_accuracy",
                "pixel_accuracy",
                "harmonic_mean_iou",
            )
        }
        numbers |= {f"mean_iou/{group}": values["mean_iou"] for group, values in self.groups.items()}
        return {name: value for name, value in numbers.items() if value is not None}


class SegmentationConfusionMatrix:
    """Running confusion matrix of a segmentation: rows are true classes, columns predicted ones, int64.

    The state is the matrix alone, so that it can be added over pictures, processes and files without a rounding.

    Args:
        class_names: names in id order; their number is the size of the matrix.
        ignored_ids: labels that are not annotated; such pixels are not counted. May lie inside or outside the list.

    Raises:
        ValueError: no class name, or one twice.

    Example:
        >>> import torch
        >>> metric = SegmentationConfusionMatrix(["sky", "road"])
        >>> metric.update(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 255]]))
        >>> metric.compute().pixel_accuracy
        0.6666666666666666
    """

    def __init__(self, class_names: Sequence[str], ignored_ids: Iterable[int] = (255,)) -> None:
        if not class_names:
            raise ValueError("`class_names` is empty; the metric needs at least one class name.")
        if len(set(class_names)) != len(class_names):
            twice = next(name for name in class_names if list(class_names).count(name) > 1)
            raise ValueError(f"`class_names` holds {twice!r} twice; every class needs a name of its own.")
        self.class_names = list(class_names)
        self.ignored_ids = tuple(sorted({int(label) for label in ignored_ids}))
        self.matrix = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64)
        self.num_pictures = 0

    @property
    def num_classes(self) -> int:
        """Number of classes, the matrix's side."""
        return len(self.class_names)

    def reset(self) -> None:
        """Forgets everything that was counted."""
        self.matrix.zero_()
        self.num_pictures = 0

    def update(self, prediction: torch.Tensor | np.ndarray, label: torch.Tensor | np.ndarray) -> None:
        """Counts one label map, or a stack of them of one size.

        Args:
            prediction: integer class ids, (H, W) or (B, H, W).
            label: true ids of the same shape; `ignored_ids` are left out.

        Raises:
            ValueError: shapes differ, a tensor is not integer, or an id that counts lies outside the class list.
        """
        prediction, label = _as_integers(prediction, "prediction"), _as_integers(label, "label")
        if prediction.shape != label.shape:
            raise ValueError(
                f"The prediction has the shape {tuple(prediction.shape)} but the label map {tuple(label.shape)}; "
                "resize the prediction to the label map first."
            )
        self.num_pictures += 1 if label.ndim <= 2 else len(label)
        prediction, label = prediction.reshape(-1), label.reshape(-1)

        counted = torch.ones_like(label, dtype=torch.bool)
        for ignored in self.ignored_ids:
            counted &= label != ignored
        prediction, label = prediction[counted], label[counted]
        if not label.numel():
            return
        self._check_range(label, "label", "add it to the ignored ids or give the full list of class names")
        self._check_range(prediction, "prediction", "predict with the same list of class names")
        cells = label.to(torch.int64) * self.num_classes + prediction.to(torch.int64)
        counts = torch.bincount(cells, minlength=self.num_classes**2)
        self.matrix += counts.reshape(self.num_classes, self.num_classes).to(self.matrix.device)

    def _check_range(self, ids: torch.Tensor, what: str, mend: str) -> None:
        lowest, highest = (int(value) for value in torch.aminmax(ids))
        if lowest < 0 or highest >= self.num_classes:
            outside = lowest if lowest < 0 else highest
            raise ValueError(
                f"A {what} has the id {outside}, outside the {self.num_classes} classes (ids 0 to "
                f"{self.num_classes - 1}); {mend}."
            )

    def merge(self, other: "SegmentationConfusionMatrix") -> None:
        """Adds what another matrix over the same classes has counted.

        Raises:
            ValueError: the other matrix has other class names.
        """
        if other.class_names != self.class_names:
            raise ValueError("Two confusion matrices can only be merged if their class names are the same.")
        self.matrix += other.matrix.to(self.matrix.device)
        self.num_pictures += other.num_pictures

    def synchronize(self, accelerator: Any) -> None:
        """Sums the counts over all processes of an `accelerate.Accelerator`, exactly; afterwards all hold the sum.

        Call it once, after the last `update`: a second call would count everything again.
        """
        state = torch.cat([self.matrix.reshape(-1), self.matrix.new_tensor([self.num_pictures])])
        state = accelerator.reduce(state.to(accelerator.device), reduction="sum").to(self.matrix.device)
        self.matrix = state[:-1].reshape(self.num_classes, self.num_classes)
        self.num_pictures = int(state[-1])

    def compute(self, class_groups: Mapping[str, Sequence[str]] | None = None) -> SegmentationResult:
        """Turns the counts into numbers.

        Args:
            class_groups: class names by group, for instance {"seen": [...], "unseen": [...]}. IoUs are those of the
                full matrix, so a seen class painted over an unseen one costs both.

        Returns:
            The result; see `SegmentationResult`.

        Raises:
            ValueError: a group names a class that is not in the list.
        """
        matrix = self.matrix.to("cpu", torch.float64)
        hits, true, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        union = true + predicted - hits
        total = true.sum()
        iou = hits / union  # NaN where a class is nowhere
        accuracy = hits / true

        groups = {}
        for group, names in (class_groups or {}).items():
            unknown = sorted(set(names) - set(self.class_names))
            if unknown:
                raise ValueError(f"The class group {group!r} names {unknown[0]!r}, which is not among the class names.")
            rows = torch.tensor([self.class_names.index(name) for name in names], dtype=torch.long)
            groups[group] = {
                "mean_iou": _mean(iou[rows][true[rows] > 0]),
                "mean_iou_present": _mean(iou[rows][union[rows] > 0]),
                "num_classes": float(len(names)),
            }

        return SegmentationResult(
            mean_iou=_mean(iou[true > 0]),
            mean_iou_present=_mean(iou[union > 0]),
            frequency_weighted_iou=float((iou * true)[true > 0].sum() / total) if total else None,
            mean_accuracy=_mean(accuracy[true > 0]),
            pixel_accuracy=float(hits.sum() / total) if total else None,
            num_pixels=int(self.matrix.sum()),
            num_pictures=self.num_pictures,
            groups=groups,
            harmonic_mean_iou=_harmonic_mean(
                groups.get("seen", {}).get("mean_iou"), groups.get("unseen", {}).get("mean_iou")
            ),
            classes=[
                ClassResult(
                    name=name,
                    iou=_number(iou[row]),
                    accuracy=_number(accuracy[row]),
                    num_true_pixels=int(true[row]),
                    num_predicted_pixels=int(predicted[row]),
                )
                for row, name in enumerate(self.class_names)
            ],
        )


def format_class_table(result: SegmentationResult, class_groups: Mapping[str, Sequence[str]] | None = None) -> str:
    """Formats a result as lines of text: one a class in falling order of true pixels, then the means, in per cent."""
    group_of = {name: group for group, names in (class_groups or {}).items() for name in names}
    width = max(len("class"), *(len(row.name) for row in result.classes))
    all_pixels = max(1, result.num_pixels)
    lines = [f"{'class':<{width}}  {'IoU':>6}  {'found':>6}  {'share':>6}" + ("  group" if group_of else "")]
    for row in sorted(result.classes, key=lambda row: -row.num_true_pixels):
        if row.num_true_pixels or row.num_predicted_pixels:
            share = _per_cent(row.num_true_pixels / all_pixels)
            line = f"{row.name:<{width}}  {_per_cent(row.iou)}  {_per_cent(row.accuracy)}  {share}"
            lines.append(f"{line}  {group_of.get(row.name, '')}".rstrip())
    absent = sum(not (row.num_true_pixels or row.num_predicted_pixels) for row in result.classes)
    if absent:
        lines.append(f"({absent} classes are in no label map and in no prediction)")
    for name, value in result.summary().items():
        lines.append(f"{name:<{width}}  {_per_cent(value)}")
    return "\n".join(lines)


def load_class_groups(path: str) -> dict[str, list[str]]:
    """Reads groups of class names from a JSON file such as {"seen": [...], "unseen": [...]}.

    Raises:
        ValueError: the file holds something else.
    """
    with open(path, encoding="utf-8") as file:
        groups = json.load(file)
    if not isinstance(groups, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in groups.values()
    ):
        raise ValueError(f"The class groups in {path} must be a JSON object of lists of class names.")
    return groups


def _as_integers(ids: torch.Tensor | np.ndarray, what: str) -> torch.Tensor:
    if isinstance(ids, np.ndarray):
        # torch lacks most operations on the unsigned types of more than 8 bits, in which label maps arrive
        ids = torch.from_numpy(ids.astype(np.int64) if ids.dtype.kind == "u" and ids.itemsize > 1 else ids)
    if ids.dtype in (torch.uint16, torch.uint32, torch.uint64):
        ids = ids.to(torch.int64)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"The {what} is of type {ids.dtype}, but must hold integer class ids.")
    return ids


def _mean(values: torch.Tensor) -> float | None:
    return float(values.mean()) if values.numel() else None


def _number(value: torch.Tensor) -> float | None:
    return None if math.isnan(value) else float(value)


def _harmonic_mean(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first + second else 0.0


def _per_cent(share: float | None) -> str:
    return f"{'-':>6}" if share is None else f"{100 * share:6.2f}"

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The numbers that follow from counts of pixels: IoU in both published definitions, accuracies, groups of classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

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
        boundary_iou: IoU of the strips along the contours; None where there is none, or it was not asked for.
    """

    name: str
    iou: float | None
    accuracy: float | None
    num_true_pixels: int
    num_predicted_pixels: int
    boundary_iou: float | None = None


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
        mean_boundary_iou: mean boundary IoU over the classes that the ground truth holds, if it was asked for.
        num_ignored_pixels: pixels of the label maps that are not annotated, of those maps that were counted here.
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
    mean_boundary_iou: float | None = None
    # says nothing about quality, and totals that come from elsewhere lack it
    num_ignored_pixels: int = field(default=0, compare=False)

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
                "mean_boundary_iou",
                "harmonic_mean_iou",
            )
        }
        numbers |= {f"mean_iou/{group}": values["mean_iou"] for group, values in self.groups.items()}
        return {name: value for name, value in numbers.items() if value is not None}


def result_of_totals(
    class_names: Sequence[str],
    totals: torch.Tensor,
    boundary_totals: torch.Tensor | None,
    num_pictures: int,
    num_map_pixels: int,
    class_groups: Mapping[str, Sequence[str]],
) -> SegmentationResult:
    """Turns counts into numbers.

    Args:
        class_names: names in id order.
        totals: hits, true pixels and predicted pixels of every class, (3, classes).
        boundary_totals: the same of the pixels along contours, or None.
        num_pictures: label maps that were counted.
        num_map_pixels: pixels of these maps, annotated or not.
        class_groups: class names by group.

    Raises:
        ValueError: a group names a class that is not in the list.
    """
    hits, true, predicted = totals.to("cpu", torch.float64)
    union = true + predicted - hits
    total = true.sum()
    iou = hits / union  # NaN where a class is nowhere
    accuracy = hits / true
    boundary_iou = torch.full_like(iou, math.nan)
    if boundary_totals is not None:
        boundary_hits, boundary_true, boundary_predicted = boundary_totals.to("cpu", torch.float64)
        boundary_iou = boundary_hits / (boundary_true + boundary_predicted - boundary_hits)
    groups = {
        group: _result_of_group(group, names, class_names, iou, true, union) for group, names in class_groups.items()
    }
    classes = [
        ClassResult(
            name=name,
            iou=_number(iou[row]),
            accuracy=_number(accuracy[row]),
            num_true_pixels=int(true[row]),
            num_predicted_pixels=int(predicted[row]),
            boundary_iou=_number(boundary_iou[row]),
        )
        for row, name in enumerate(class_names)
    ]
    return SegmentationResult(
        mean_iou=_mean(iou[true > 0]),
        mean_iou_present=_mean(iou[union > 0]),
        frequency_weighted_iou=float((iou * true)[true > 0].sum() / total) if total else None,
        mean_accuracy=_mean(accuracy[true > 0]),
        pixel_accuracy=float(hits.sum() / total) if total else None,
        num_pixels=int(total),
        num_pictures=num_pictures,
        groups=groups,
        harmonic_mean_iou=_harmonic_mean(
            groups.get("seen", {}).get("mean_iou"), groups.get("unseen", {}).get("mean_iou")
        ),
        classes=classes,
        mean_boundary_iou=None if boundary_totals is None else _mean(boundary_iou[true > 0]),
        num_ignored_pixels=num_map_pixels - int(total),
    )


def _result_of_group(
    group: str,
    names: Sequence[str],
    class_names: Sequence[str],
    iou: torch.Tensor,
    true: torch.Tensor,
    union: torch.Tensor,
) -> dict[str, float | None]:
    """Returns both means of a group of classes."""
    unknown = sorted(set(names) - set(class_names))
    if unknown:
        raise ValueError(f"The class group {group!r} names {unknown[0]!r}, which is not among the class names.")
    rows = torch.tensor([list(class_names).index(name) for name in names], dtype=torch.long)
    return {
        "mean_iou": _mean(iou[rows][true[rows] > 0]),
        "mean_iou_present": _mean(iou[rows][union[rows] > 0]),
        "num_classes": float(len(names)),
    }


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

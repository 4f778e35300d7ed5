# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentation quality from one running confusion matrix: IoU in both published definitions, accuracies, groups."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

# Up to this many classes the whole matrix is kept (32 MiB); of more, hits and row and column sums are.
LARGEST_KEPT_MATRIX = 2048
# Labels farther from 0 than this, such as 2**31, are looked up one kind after the other.
LARGEST_LABEL_TABLE = 2**17
PIXELS_AT_ONCE = 2**15


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


class SegmentationConfusionMatrix:
    """Running confusion matrix of a segmentation: rows are true classes, columns predicted ones, int64.

    The state is counts alone, so that it can be added over pictures, processes and files without a rounding. Every
    number of the result follows from three counts a class: pixels that were hit, true pixels, predicted pixels. These
    (`totals`) are all that is kept of long class lists, so memory grows with the number of classes, not its square.

    Args:
        class_names: names in id order; their number is the size of the matrix.
        ignored_ids: labels that are not annotated; such pixels are not counted. May lie inside or outside the list.
        keep_matrix: whether to keep the whole matrix (who is mistaken for whom) besides the totals; by default up to
            2,048 classes.
        background_id: the class that every prediction of this id or above counts as, as in PAS-20b, where 59 prompts
            are asked for and all from the 21st on are background; None switches this off.
        boundary_ratio: counts the pixels nearer to a contour than this share of the picture's diagonal, for the
            boundary IoU (Cheng et al., arXiv 2103.16562, who take 0.02); None switches this off, as it takes time.

    Attributes:
        totals: (3, classes) int64: hits, true pixels, predicted pixels.
        boundary_totals: the same of the pixels along contours, or None.
        num_pictures: label maps that were counted.

    Raises:
        ValueError: no class name, or one twice; the background is no class; or the ratio is not between 0 and 1.

    Example:
        >>> import torch
        >>> metric = SegmentationConfusionMatrix(["sky", "road"])
        >>> metric.update(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 255]]))
        >>> metric.compute().pixel_accuracy
        0.6666666666666666
    """

    def __init__(
        self,
        class_names: Sequence[str],
        ignored_ids: Iterable[int] = (255,),
        *,
        keep_matrix: bool | None = None,
        background_id: int | None = None,
        boundary_ratio: float | None = None,
    ) -> None:
        if not class_names:
            raise ValueError("`class_names` is empty; the metric needs at least one class name.")
        if len(set(class_names)) != len(class_names):
            twice = next(name for name in class_names if list(class_names).count(name) > 1)
            raise ValueError(f"`class_names` holds {twice!r} twice; every class needs a name of its own.")
        self.class_names = list(class_names)
        self.ignored_ids = tuple(sorted({int(label) for label in ignored_ids}))
        if background_id is not None and not 0 <= background_id < self.num_classes:
            raise ValueError(
                f"`background_id` is {background_id}, but must be one of the {self.num_classes} classes (ids 0 to "
                f"{self.num_classes - 1}) or None."
            )
        if boundary_ratio is not None and not 0 < boundary_ratio < 1:
            raise ValueError(f"`boundary_ratio` is {boundary_ratio}, but must lie between 0 and 1, or be None.")
        self.background_id = background_id
        self.boundary_ratio = boundary_ratio
        if keep_matrix is None:
            keep_matrix = self.num_classes <= LARGEST_KEPT_MATRIX
        self.keeps_matrix = keep_matrix
        # One row more than there is to count, for the pixels that are not annotated.
        self._cells = torch.zeros(((self.num_classes if keep_matrix else 3) + 1) * self.num_classes, dtype=torch.int64)
        self.boundary_totals = None if boundary_ratio is None else torch.zeros(3, self.num_classes, dtype=torch.int64)
        self.num_pictures = 0

    @property
    def num_classes(self) -> int:
        """Number of classes, the matrix's side."""
        return len(self.class_names)

    @property
    def _counts(self) -> torch.Tensor:
        """The matrix (classes, classes) or the totals (3, classes), whichever is kept."""
        return self._cells.view(-1, self.num_classes)[:-1]

    @property
    def matrix(self) -> torch.Tensor:
        """The counts (classes, classes), int64.

        Raises:
            ValueError: the metric keeps only the totals.
        """
        if not self.keeps_matrix:
            raise ValueError(
                f"Of {self.num_classes} classes only `totals` are kept; pass `keep_matrix=True` to keep the matrix of "
                f"{self.num_classes**2 * 8 / 2**20:.0f} MiB."
            )
        return self._counts

    @property
    def totals(self) -> torch.Tensor:
        """Hits, true pixels and predicted pixels of every class, (3, classes), int64."""
        if not self.keeps_matrix:
            return self._counts
        return torch.stack([self._counts.diagonal(), self._counts.sum(1), self._counts.sum(0)])

    def reset(self) -> None:
        """Forgets everything that was counted."""
        for counts in self._state().values():
            counts.zero_()
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
        if self._counts_in_one_pass(prediction, label):
            self.num_pictures += 1 if label.ndim <= 2 else len(label)
            return
        prediction, label, ignored = self._check_ids(prediction.long(), label.long())
        if not self.keeps_matrix:
            self._counts.add_(self._count_totals(prediction, label, ~ignored, ~ignored).to(self._cells.device))
        else:
            cells = (label * self.num_classes).add_(prediction).reshape(-1)
            counts = torch.bincount(cells, minlength=self.num_classes**2)
            # Pixels that are not annotated have become hits of class 0.
            counts[0] -= torch.count_nonzero(ignored)
            self._counts.add_(counts.reshape(self._counts.shape).to(self._cells.device))
        if self.boundary_totals is not None:
            self.boundary_totals += self._count_boundaries(prediction, label, ignored).to(self.boundary_totals.device)
        self.num_pictures += 1 if label.ndim <= 2 else len(label)

    def _counts_in_one_pass(self, prediction: torch.Tensor, label: torch.Tensor) -> bool:
        """Adds a map on the CPU to the matrix in the least time; returns False, having added nothing, where it cannot.

        It cannot where something else is counted too, and where an id is wrong: then the careful way says which.
        """
        if not self.keeps_matrix or self.boundary_totals is not None or not label.numel():
            return False
        if {prediction.device.type, label.device.type, self._counts.device.type} != {"cpu"}:
            return False
        columns, labels = prediction.reshape(-1).long().numpy(), label.reshape(-1).long().numpy()
        if self.background_id is not None:
            columns = np.minimum(columns, self.background_id)
        lowest, highest = int(labels.min()), int(labels.max())
        num_from_0, num_below_0 = max(highest + 1, 0), max(-lowest, 0)
        if columns.min() < 0 or columns.max() >= self.num_classes or num_from_0 + num_below_0 > LARGEST_LABEL_TABLE:
            return False
        # Where the row of each label begins; negative labels are found from the table's end, as Python counts. What is
        # ignored goes to a row behind the matrix, and a wrong label leads to a negative cell.
        row_starts = np.full(num_from_0 + num_below_0, -self.num_classes)
        num_known = min(num_from_0, self.num_classes)
        row_starts[:num_known] = np.arange(num_known) * self.num_classes
        row_starts[[ignored for ignored in self.ignored_ids if lowest <= ignored <= highest]] = self.num_classes**2
        counts = self._cells.numpy()
        # A few thousand pixels at a time, which stay in the processor's cache for all that is done with them. Adding in
        # place needs no second matrix, as bincount does, and takes less time than that and adding the two.
        parts = [slice(start, start + PIXELS_AT_ONCE) for start in range(0, labels.size, PIXELS_AT_ONCE)]
        for place, part in enumerate(parts):
            cells = row_starts.take(labels[part]) + columns[part]
            if cells.min() < 0:
                for counted in parts[:place]:
                    np.subtract.at(counts, row_starts.take(labels[counted]) + columns[counted], 1)
                return False
            np.add.at(counts, cells, 1)
        return True

    def add_totals(self, totals: torch.Tensor, num_pictures: int) -> None:
        """Adds counts that were made elsewhere, such as one row of `totals` a picture, gathered over processes.

        Args:
            totals: hits, true pixels and predicted pixels, (3, classes) or (B, 3, classes).
            num_pictures: label maps that they come from.

        Raises:
            ValueError: the shape is another, or the metric keeps a matrix, which these counts cannot fill.
        """
        if totals.ndim not in (2, 3) or totals.shape[-2:] != (3, self.num_classes):
            raise ValueError(
                f"The totals have the shape {tuple(totals.shape)}, but must be (3, {self.num_classes}) or "
                f"(B, 3, {self.num_classes})."
            )
        if self.keeps_matrix:
            raise ValueError("Totals cannot fill a whole matrix; make the metric with `keep_matrix=False`.")
        self._counts.add_(totals.reshape(-1, 3, self.num_classes).sum(0).to(self._cells))
        self.num_pictures += num_pictures

    def _check_ids(
        self, prediction: torch.Tensor, label: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Checks the ids; returns both maps with 0 where nothing is annotated, and a mask of these pixels."""
        ignored = torch.zeros_like(label, dtype=torch.bool)
        for ignored_id in self.ignored_ids:
            ignored |= label == ignored_id
        if not label.numel():
            return prediction, label, ignored
        label, prediction = label.masked_fill(ignored, 0), prediction.masked_fill(ignored, 0)
        if self.background_id is not None:
            prediction = prediction.clamp(max=self.background_id)
        self._check_range(label, "label", "add it to the ignored ids or give the full list of class names")
        self._check_range(prediction, "prediction", "predict with the same list of class names")
        return prediction, label, ignored

    def _check_range(self, ids: torch.Tensor, what: str, mend: str) -> None:
        lowest, highest = (int(value) for value in torch.aminmax(ids))
        if lowest < 0 or highest >= self.num_classes:
            outside = lowest if lowest < 0 else highest
            raise ValueError(
                f"A {what} has the id {outside}, outside the {self.num_classes} classes (ids 0 to "
                f"{self.num_classes - 1}); {mend}."
            )

    def _count_totals(
        self, prediction: torch.Tensor, label: torch.Tensor, counts_true: torch.Tensor, counts_predicted: torch.Tensor
    ) -> torch.Tensor:
        """Counts hits, true and predicted pixels, (3, classes), of those pixels that the two masks let count."""
        hit = (prediction == label) & counts_true & counts_predicted
        return torch.stack(
            [
                torch.bincount(ids[mask], minlength=self.num_classes)
                for ids, mask in ((label, hit), (label, counts_true), (prediction, counts_predicted))
            ]
        )

    def _count_boundaries(self, prediction: torch.Tensor, label: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
        """Counts as `_count_totals`, but only pixels that lie near a contour of their map."""
        distance = max(1, round((self.boundary_ratio or 0) * math.hypot(*label.shape[-2:])))
        # Where nothing is annotated the prediction ends too, so that such an edge is one in both maps.
        near_true, near_predicted = (
            near_contour(ids.masked_fill(ignored, self.num_classes), distance) & ~ignored for ids in (label, prediction)
        )
        return self._count_totals(prediction, label, near_true, near_predicted)

    def _state(self) -> dict[str, torch.Tensor]:
        counts = {"counts": self._counts}
        return counts if self.boundary_totals is None else counts | {"boundary_totals": self.boundary_totals}

    def merge(self, other: "SegmentationConfusionMatrix") -> None:
        """Adds what another matrix over the same classes has counted.

        Raises:
            ValueError: the other matrix has other class names.
        """
        if other.class_names != self.class_names:
            raise ValueError("Two confusion matrices can only be merged if their class names are the same.")
        if _shapes(other._state()) != _shapes(self._state()):
            raise ValueError("Two confusion matrices can only be merged if both keep the same counts.")
        for name, counts in self._state().items():
            counts += other._state()[name].to(counts.device)
        self.num_pictures += other.num_pictures

    def synchronize(self, accelerator: Any) -> None:
        """Sums the counts over all processes of an `accelerate.Accelerator`, exactly; afterwards all hold the sum.

        Call it once, after the last `update`: a second call would count everything again.
        """
        for counts in self._state().values():
            counts.copy_(accelerator.reduce(counts.to(accelerator.device), reduction="sum"))
        num_pictures = torch.tensor([self.num_pictures], device=accelerator.device)
        self.num_pictures = int(accelerator.reduce(num_pictures, reduction="sum"))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Returns a copy of all counts, to be stored and given to `load_state_dict` of a metric made alike."""
        state = {name: counts.clone() for name, counts in self._state().items()}
        return state | {"num_pictures": torch.tensor(self.num_pictures)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes the counts that `state_dict` returned in the place of the present ones.

        Raises:
            ValueError: the counts are not those of such a metric.
        """
        if _shapes(state) != _shapes(self.state_dict()):
            raise ValueError("The stored counts are another metric's: its classes and settings must be the same.")
        for name, counts in self._state().items():
            counts.copy_(state[name])
        self.num_pictures = int(state["num_pictures"])

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
        hits, true, predicted = self.totals.to("cpu", torch.float64)
        union = true + predicted - hits
        total = true.sum()
        iou = hits / union  # NaN where a class is nowhere
        accuracy = hits / true
        boundary_iou = torch.full_like(iou, math.nan)
        if self.boundary_totals is not None:
            boundary_hits, boundary_true, boundary_predicted = self.boundary_totals.to("cpu", torch.float64)
            boundary_iou = boundary_hits / (boundary_true + boundary_predicted - boundary_hits)

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
            num_pixels=int(total),
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
                    boundary_iou=_number(boundary_iou[row]),
                )
                for row, name in enumerate(self.class_names)
            ],
            mean_boundary_iou=None if self.boundary_totals is None else _mean(boundary_iou[true > 0]),
        )


def near_contour(ids: torch.Tensor, distance: int) -> torch.Tensor:
    """Finds the pixels of which another class, or the picture's edge, lies within `distance` pixels along the axes.

    These are the pixels that eroding each class's mask `distance` times by a 3 x 3 square takes away, found for all
    classes at once.

    Args:
        ids: (..., H, W) integer class ids, each below 2^24.
        distance: width of the strip in pixels, at least 1.

    Returns:
        bool, (..., H, W).
    """
    maps = ids.reshape(-1, 1, *ids.shape[-2:]).float()
    # An id that no class has, all around the picture.
    padded = F.pad(maps, (distance,) * 4, value=-1.0)
    highest, lowest = padded, -padded
    for window in ((1, 2 * distance + 1), (2 * distance + 1, 1)):
        highest = F.max_pool2d(highest, window, stride=1)
        lowest = F.max_pool2d(lowest, window, stride=1)
    return (highest != -lowest).reshape(ids.shape)


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


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: counts.shape for name, counts in state.items()}


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

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentation quality from running counts of pixels: the metric that everything here measures by."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from ..data.label_decoding import read_ids, unlabelled_id
from ..model.quoting import quote
from .pixel_counts import ClassCounts, ContourCounts, PairCounts
from .segmentation_results import SegmentationResult, result_of_totals

# Up to this many classes the whole matrix is kept (32 MiB); of more, hits and row and column sums are.
LARGEST_KEPT_MATRIX = 2048


class SegmentationConfusionMatrix:
    """Running confusion matrix of a segmentation: rows are true classes, columns predicted ones, int64.

    The state is counts alone, so that it can be added over pictures, processes and files without a rounding. Every
    number of the result follows from three counts a class: pixels that were hit, true pixels, predicted pixels. These
    (`totals`) are all that is kept of long class lists, so memory grows with the number of classes, not its square.

    Args:
        class_names: names in id order; their number is the size of the matrix.
        ignored_ids: labels that are not annotated; such pixels are not counted. May lie inside or outside the list.
            None: 255, or with more than 255 classes 65535.
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
        num_map_pixels: pixels of these maps, annotated or not.

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
        ignored_ids: Iterable[int] | None = None,
        *,
        keep_matrix: bool | None = None,
        background_id: int | None = None,
        boundary_ratio: float | None = None,
    ) -> None:
        self.class_names = _read_class_names(class_names)
        if ignored_ids is None:
            ignored_ids = (unlabelled_id(len(self.class_names)),)
        self.ignored_ids = tuple(sorted(set(read_ids(ignored_ids, "ignored_ids"))))
        if background_id is not None and not (
            isinstance(background_id, Integral) and 0 <= int(background_id) < self.num_classes
        ):
            raise ValueError(
                f"`background_id` is {quote(background_id)}, but must be one of the {self.num_classes} classes (ids 0 "
                f"to {self.num_classes - 1}) or None."
            )
        if boundary_ratio is not None and not (isinstance(boundary_ratio, Real) and 0 < float(boundary_ratio) < 1):
            raise ValueError(f"`boundary_ratio` is {quote(boundary_ratio)}, but must lie between 0 and 1, or be None.")
        self.background_id = background_id
        if keep_matrix is None:
            keep_matrix = self.num_classes <= LARGEST_KEPT_MATRIX
        self._pixels: PairCounts | ClassCounts = (
            PairCounts(self.num_classes) if keep_matrix else ClassCounts(self.num_classes)
        )
        self._contours = None if boundary_ratio is None else ContourCounts(self.num_classes, boundary_ratio)
        self.num_pictures = 0
        self.num_map_pixels = 0

    @property
    def num_classes(self) -> int:
        """Number of classes, the matrix's side."""
        return len(self.class_names)

    @property
    def keeps_matrix(self) -> bool:
        """Whether the whole matrix is kept besides the totals."""
        return isinstance(self._pixels, PairCounts)

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
        return self._pixels.counts

    @property
    def totals(self) -> torch.Tensor:
        """Hits, true pixels and predicted pixels of every class, (3, classes), int64."""
        return self._pixels.totals

    @property
    def boundary_totals(self) -> torch.Tensor | None:
        """The same of the pixels along contours; None if these are not counted."""
        return None if self._contours is None else self._contours.totals

    def reset(self) -> None:
        """Forgets everything that was counted."""
        for counts in self._state().values():
            counts.zero_()
        self.num_pictures = 0
        self.num_map_pixels = 0

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
        if not self._count_in_one_pass(prediction, label):
            prediction, label = self._check_ids(prediction.long(), label.long())
            self._pixels.add(prediction, label)
            if self._contours is not None:
                self._contours.add(prediction, label)
        self.num_pictures += 1 if label.ndim <= 2 else len(label)
        self.num_map_pixels += label.numel()

    def _count_in_one_pass(self, prediction: torch.Tensor, label: torch.Tensor) -> bool:
        """Counts a map on the CPU in the least time; returns False, having counted nothing, where it cannot.

        It cannot where something else is counted too, and where an id is wrong: then the careful way says which.
        """
        on_cpu = {prediction.device.type, label.device.type, self._pixels.counts.device.type} == {"cpu"}
        if not isinstance(self._pixels, PairCounts) or self._contours is not None or not on_cpu or not label.numel():
            return False
        return self._pixels.add_in_one_pass(
            prediction.reshape(-1).long().numpy(),
            label.reshape(-1).long().numpy(),
            self.ignored_ids,
            self.background_id,
        )

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
        self._pixels.counts.add_(totals.reshape(-1, 3, self.num_classes).sum(0).to(self._pixels.counts))
        self.num_pictures += num_pictures
        self.num_map_pixels += int(totals.reshape(-1, 3, self.num_classes)[:, 1].sum())

    def _check_ids(self, prediction: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Checks the ids; returns both maps, the label with `num_classes` where nothing is annotated."""
        ignored = torch.zeros_like(label, dtype=torch.bool)
        for ignored_id in self.ignored_ids:
            ignored |= label == ignored_id
        prediction = prediction.masked_fill(ignored, 0)
        if self.background_id is not None:
            prediction = prediction.clamp(max=self.background_id)
        if label.numel():
            mend = "add it to the ignored ids or give the full list of class names"
            self._check_range(label.masked_fill(ignored, 0), "label", mend)
            self._check_range(prediction, "prediction", "predict with the same list of class names")
        return prediction, label.masked_fill(ignored, self.num_classes)

    def _check_range(self, ids: torch.Tensor, what: str, mend: str) -> None:
        lowest, highest = (int(value) for value in torch.aminmax(ids))
        if lowest < 0 or highest >= self.num_classes:
            outside = lowest if lowest < 0 else highest
            raise ValueError(
                f"A {what} has the id {outside}, outside the {self.num_classes} classes (ids 0 to "
                f"{self.num_classes - 1}); {mend}."
            )

    def _state(self) -> dict[str, torch.Tensor]:
        counts = {"counts": self._pixels.counts}
        return counts if self._contours is None else counts | {"boundary_totals": self._contours.counts}

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
        self.num_map_pixels += other.num_map_pixels

    def synchronize(self, accelerator: Any) -> None:
        """Sums the counts over all processes of an `accelerate.Accelerator`, exactly; afterwards all hold the sum.

        Call it once, after the last `update`: a second call would count everything again.
        """
        for counts in self._state().values():
            counts.copy_(accelerator.reduce(counts.to(accelerator.device), reduction="sum"))
        numbers = torch.tensor([self.num_pictures, self.num_map_pixels], device=accelerator.device)
        self.num_pictures, self.num_map_pixels = accelerator.reduce(numbers, reduction="sum").tolist()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Returns a copy of all counts, to be stored and given to `load_state_dict` of a metric made alike."""
        state = {name: counts.clone() for name, counts in self._state().items()}
        numbers = ("num_pictures", "num_map_pixels")
        return state | {name: torch.tensor(getattr(self, name)) for name in numbers}

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
        self.num_map_pixels = int(state["num_map_pixels"])

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
        return result_of_totals(
            self.class_names,
            self.totals,
            self.boundary_totals,
            self.num_pictures,
            self.num_map_pixels,
            class_groups or {},
        )


def _read_class_names(class_names: Sequence[str]) -> list[str]:
    """Returns the names as a list of different ones."""
    is_list = isinstance(class_names, Iterable) and not isinstance(class_names, str | bytes)
    names: list[Any] = list(class_names) if is_list else [None]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"`class_names` is {quote(class_names)}, but must be a list of names.")
    if not names:
        raise ValueError("`class_names` is empty; the metric needs at least one class name.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`class_names` holds {quote(twice)} twice; every class needs a name of its own.")
    return names


def _as_integers(ids: torch.Tensor | np.ndarray, what: str) -> torch.Tensor:
    if not isinstance(ids, torch.Tensor):
        try:
            array = np.asarray(ids)
        except ValueError as error:
            raise ValueError(f"The {what} is no array: {quote(ids)}.") from error
        if array.dtype.kind not in "iu":
            raise ValueError(f"The {what} is of type {array.dtype}, but must hold integer class ids.")
        # torch lacks most operations on the unsigned types of more than 8 bits, in which label maps arrive
        ids = torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "u" and array.itemsize > 1 else array)
    if ids.dtype in (torch.uint16, torch.uint32, torch.uint64):
        ids = ids.to(torch.int64)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"The {what} is of type {ids.dtype}, but must hold integer class ids.")
    return ids


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: counts.shape for name, counts in state.items()}

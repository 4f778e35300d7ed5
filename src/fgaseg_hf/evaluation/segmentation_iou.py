# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
# The type checker takes `evaluate` for the script of that name in training/.
# mypy: disable-error-code="name-defined, attr-defined, misc"
"""The confusion matrix as a module of the `evaluate` library, which loads it by its path and needs no network.

Needs `evaluate`; so it is not imported with the package.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix

_DESCRIPTION = "Mean IoU in both published definitions, frequency-weighted IoU, accuracies; counted, not stored."
_INPUTS = """
Args:
    predictions: label maps, integer arrays (H_i, W_i), of any sizes.
    references: true label maps of the same sizes.
"""


class SegmentationIoU(evaluate.Metric):
    """Adds up label maps batch by batch; unlike other modules it stores no map, so any number of them fits.

        >>> import evaluate, fgaseg_hf
        >>> path = Path(fgaseg_hf.__file__).parent / "evaluation" / "segmentation_iou.py"
        >>> metric = evaluate.load(str(path), class_names=["sky", "road"])
        >>> metric.add_batch(predictions=predicted_maps, references=true_maps)
        >>> metric.compute()["mean_iou"]

    Args:
        class_names: names in id order.
        ignored_ids: labels that are not annotated; see `SegmentationConfusionMatrix`.
        class_groups: class names by group, such as {"seen": [...], "unseen": [...]}.
        **settings: those of `evaluate.load`.

    Raises:
        ValueError: several processes are asked for (sum a `SegmentationConfusionMatrix` by its `synchronize`), or what
            `SegmentationConfusionMatrix` refuses.
    """

    def __init__(
        self,
        *,
        class_names: Sequence[str],
        ignored_ids: Iterable[int] | None = None,
        class_groups: Mapping[str, Sequence[str]] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if self.num_process > 1:
            raise ValueError("This module counts in one process; of several, sum a SegmentationConfusionMatrix.")
        self.class_groups = class_groups
        self.metric = SegmentationConfusionMatrix(class_names, ignored_ids)

    def _info(self) -> evaluate.MetricInfo:
        label_map = datasets.Sequence(datasets.Sequence(datasets.Value("int64")))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": label_map, "references": label_map}),
        )

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Counts one label map."""
        self.metric.update(np.asarray(prediction), np.asarray(reference))

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Counts several label maps."""
        for prediction, reference in zip(predictions, references, strict=True):
            self.metric.update(np.asarray(prediction), np.asarray(reference))

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Returns the numbers of everything that was added, with `per_class_iou` by name, and starts anew."""
        if predictions is not None:
            self.add_batch(predictions=predictions, references=references)
        result = self.metric.compute(self.class_groups)
        self.metric.reset()
        return result.summary() | {"per_class_iou": {row.name: row.iou for row in result.classes}}

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""FGASeg with `transformers.Trainer`: the published recipe, its parameter groups, and evaluation without stored logits.

Needs Accelerate, as `Trainer` does; so it is not imported with the package.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel, Trainer, TrainingArguments

from ..data.data_collator import FGASegDataCollator
from ..evaluation.segmentation_metrics import SegmentationConfusionMatrix
from ..evaluation.segmentation_results import SegmentationResult
from ..model.image_processing_fgaseg import FGASegImageProcessorPil
from .optimizer_groups import parameter_groups


@dataclass
class FGASegTrainingArguments(TrainingArguments):
    """`TrainingArguments` whose defaults are the published recipe, and which keep the columns that collating needs."""

    learning_rate: float = field(default=2e-4, metadata={"help": "AdamW's peak rate, for all but CLIP"})
    clip_learning_rate_multiplier: float = field(default=0.01, metadata={"help": "CLIP's share of the rate"})
    weight_decay: float = field(default=1e-4, metadata={"help": "AdamW's decay, for all but norms"})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "schedule of the rate"})
    max_grad_norm: float = field(default=0.01, metadata={"help": "the whole gradient's norm is clipped at this"})
    remove_unused_columns: bool = field(default=False, metadata={"help": "drop what the model itself does not take"})
    batch_eval_metrics: bool = field(default=True, metadata={"help": "count batch by batch instead of storing"})


class SegmentationMetrics:
    """`compute_metrics` for `Trainer` with `batch_eval_metrics=True`: adds up three counts a class, stores no logits.

    [`FGASegTrainer`] hands it the counts. Plain `Trainer` does so too, on label maps of the model's size, if
    `preprocess_logits_for_metrics` is this object's `count_logits`.

    Args:
        class_names: names in id order.
        class_groups: class names by group, such as {"seen": [...], "unseen": [...]}, to be reported by group.
        ignore_index: the label of pixels that are not annotated.

    Attributes:
        result: the last whole result, with its per-class table; None before the first evaluation.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        class_groups: Mapping[str, Sequence[str]] | None = None,
        ignore_index: int = 255,
    ) -> None:
        self.class_names = list(class_names)
        self.class_groups = class_groups
        self.ignore_index = ignore_index
        self.result: SegmentationResult | None = None
        self._metric = SegmentationConfusionMatrix(self.class_names, (ignore_index,), keep_matrix=False)

    def count(self, predictions: Sequence[torch.Tensor], label_maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Counts hits, true and predicted pixels of each picture.

        Args:
            predictions: one integer (H_i, W_i) a picture.
            label_maps: of the same sizes.

        Returns:
            (B, 3, classes), int64, on the predictions' device.
        """
        totals = []
        for prediction, label_map in zip(predictions, label_maps, strict=True):
            metric = SegmentationConfusionMatrix(self.class_names, (self.ignore_index,), keep_matrix=False)
            metric.update(prediction, label_map)
            totals.append(metric.totals.to(prediction.device))
        return torch.stack(totals)

    def count_logits(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Counts as `count`, from logits (B, classes, h, w) that are brought to the size of `labels` (B, H, W)."""
        height, width = labels.shape[-2:]
        predictions = FGASegImageProcessorPil().post_process_semantic_segmentation(
            logits, [(height, width)] * len(labels)
        )
        return self.count(cast(list[torch.Tensor], predictions), list(labels))

    def __call__(self, prediction: EvalPrediction, compute_result: bool = True) -> dict[str, float]:
        """Adds the counts of a batch; with `compute_result` returns the numbers of all batches and starts anew."""
        totals = torch.as_tensor(prediction.predictions)
        self._metric.add_totals(totals.cpu(), num_pictures=len(totals))
        if not compute_result:
            return {}
        self.result = self._metric.compute(self.class_groups)
        self._metric.reset()
        return self.result.summary()


class FGASegTrainer(Trainer):
    """`Trainer` that knows FGASeg's parameter groups and measures label maps at the pictures' own sizes.

    With an [`FGASegDataCollator`], the processor to save and the metric (mean IoU and the like, `eval_mean_iou` for
    `metric_for_best_model`) follow from it. Evaluation is exact on any number of processes. Takes what `Trainer` takes.

    Raises:
        ValueError: several GPUs are visible to one process: `DataParallel` would split the class names; or
            `label_smoothing_factor` is set.
    """

    args: FGASegTrainingArguments

    def __init__(self, *args: Any, class_groups: Mapping[str, Sequence[str]] | None = None, **kwargs: Any) -> None:
        collator = kwargs.get("data_collator")
        if isinstance(collator, FGASegDataCollator):
            if kwargs.get("processing_class") is None:
                kwargs["processing_class"] = collator.processor
            if kwargs.get("compute_metrics") is None:
                kwargs["compute_metrics"] = SegmentationMetrics(
                    collator.class_names, class_groups, collator.ignore_index
                )
        super().__init__(*args, **kwargs)
        # What forward takes besides is the towers': the loss is a mean already, whatever wraps the model.
        self.model_accepts_loss_kwargs = False
        if self.args.label_smoothing_factor:
            raise ValueError(
                "`label_smoothing_factor` smooths a softmax over tokens, which these losses are not; leave it at 0."
            )
        if self.args.n_gpu > 1:
            raise ValueError(
                f"One process sees {self.args.n_gpu} GPUs; start one process a GPU with `accelerate launch` or "
                "`torchrun`, or show it a single one with CUDA_VISIBLE_DEVICES."
            )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Makes the optimiser that the arguments name, on the recipe's parameter groups.

        Raises:
            ValueError: the optimiser insists on parameter groups of its own.
        """
        if self.optimizer is None:
            trained = cast(PreTrainedModel, self.model if model is None else model)
            optimizer_class, keywords = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(
                self.args, trained
            )
            if not isinstance(optimizer_class, type) or {"params", "model", "optimizer_dict"} & set(keywords):
                raise ValueError(f"The optimiser {self.args.optim} groups parameters by itself; take adamw_torch, say.")
            groups = parameter_groups(
                trained,
                self.args.learning_rate,
                self.args.weight_decay,
                getattr(self.args, "clip_learning_rate_multiplier", 0.01),
            )
            self.optimizer = optimizer_class(groups, **keywords)
        return self.optimizer

    @contextmanager
    def _collating_for_evaluation(self, annotated: bool = True) -> Iterator[None]:
        collator = self.data_collator
        if isinstance(collator, FGASegDataCollator):
            self.data_collator = collator.for_evaluation(annotated)
        try:
            yield
        finally:
            self.data_collator = collator

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As in `Trainer`, but the batches also hold the label maps at the pictures' own sizes."""
        with self._collating_for_evaluation():
            return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As in `Trainer`, but the batches also hold the label maps at the pictures' own sizes, if there are any."""
        with self._collating_for_evaluation(annotated=False):
            return super().get_test_dataloader(test_dataset)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, Any, Any]:
        """Runs one batch; returns the loss and, in place of logits, what [`SegmentationMetrics`] adds up.

        Raises:
            ValueError: the samples have classes of their own, which no common metric can be made of.
        """
        metrics = self.compute_metrics
        inputs = dict(inputs)
        label_maps = inputs.pop("label_maps", None)
        if prediction_loss_only or not isinstance(metrics, SegmentationMetrics) or inputs.get("labels") is None:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if "class_indices" in inputs:
            raise ValueError("Evaluation needs the same classes for every picture; leave out the sampling of classes.")
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            outputs = model(**inputs)
        if label_maps is None:
            label_maps = list(inputs["labels"])
        label_maps = [label_map.to(outputs.logits.device) for label_map in label_maps]
        predictions = self.processing_class.post_process_semantic_segmentation(  # type: ignore[union-attr]
            outputs, [tuple(label_map.shape) for label_map in label_maps]
        )
        # Trainer asks for labels to gather beside the predictions; these have told all that they know.
        placeholders = torch.zeros(len(label_maps), 1, device=outputs.logits.device)
        return outputs.loss.detach(), metrics.count(predictions, label_maps), placeholders


__all__ = ["FGASegTrainer", "FGASegTrainingArguments", "SegmentationMetrics"]

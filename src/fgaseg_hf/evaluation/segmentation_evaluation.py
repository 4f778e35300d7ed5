# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Measures a model on a split: the part that `train.py` and `evaluate.py` share."""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from ..data.augmentation import IGNORED_LABEL
from ..data.class_prompts import encode_prompts, prompts_of_classes
from ..data.segmentation_split import SegmentationSplit, spread_evenly
from .partial_counts import CountsSoFar, PartialCounts
from .pixel_counts import count_classes_of_picture
from .segmentation_metrics import SegmentationConfusionMatrix


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """How pictures are shown to the model and what it is asked for.

    Attributes:
        vocabulary: "all" asks every picture for all class names; "picture+N" (N a number) for the picture's own classes
            and N others, drawn from the whole list by `seed` and the picture's place in the split.
        view: "whole" resizes the picture to the image processor's size; "sliding_window" is the published protocol:
            windows over the picture at `resized_size`, and the whole picture, averaged.
        window_size: side in pixels of a window; None takes the model's `image_size`.
        resized_size: side in pixels to which "sliding_window" resizes the picture; None takes 5 / 3 of a window.
        batch_size: pictures at a time ("whole" with all class names), or windows at a time.
        seed: seed of the drawn class names.
    """

    vocabulary: str = "all"
    view: Literal["whole", "sliding_window"] = "whole"
    window_size: int | None = None
    resized_size: int | None = None
    batch_size: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.vocabulary != "all" and not re.fullmatch(r"picture\+\d+", self.vocabulary):
            raise ValueError(f"The vocabulary is {self.vocabulary!r}, but must be 'all' or like 'picture+16'.")
        if self.batch_size < 1:
            raise ValueError(f"The evaluation's batch size is {self.batch_size}, but must be at least 1.")

    @property
    def num_distractors(self) -> int | None:
        """Class names beside a picture's own, or None if all names are asked for."""
        return None if self.vocabulary == "all" else int(self.vocabulary.removeprefix("picture+"))


# Receives the picture's place in the split, the picture, the prediction and the label map (class ids).
PredictionObserver = Callable[[int, Image.Image, np.ndarray, np.ndarray], None]


def runs_on_cpu() -> bool:
    """Returns whether there is no GPU or the like; an `Accelerator` that is not told so sees no other CPU process."""
    return not torch.accelerator.is_available()


@torch.no_grad()
def embed_class_names(
    model: Any, encoded_prompts: dict[str, torch.Tensor], device: torch.device, chunk_size: int = 256
) -> torch.Tensor:
    """Computes the text embeddings (N, D) of N class names, `chunk_size` names at a time."""
    input_ids, attention_mask = encoded_prompts["input_ids"], encoded_prompts["attention_mask"]
    embeddings = []
    for rows in torch.arange(len(input_ids)).split(chunk_size):
        prompts = prompts_of_classes(input_ids, attention_mask, rows)
        embeddings.append(
            model.get_text_embeddings(prompts["input_ids"].to(device), prompts["attention_mask"].to(device))
        )
    return torch.cat(embeddings)


@dataclass(kw_only=True)
class SegmentationEvaluation:
    """What an evaluation has counted, the same on every process.

    Attributes:
        metric: the confusion matrix of all pictures.
        rows: the pictures' places in the split.
        picture_mean_iou: of each of them the mean IoU over the classes that its truth holds; NaN without any.
        seconds: the time that it took, on the slowest process, with the earlier parts of an evaluation that went on.
    """

    metric: SegmentationConfusionMatrix
    rows: list[int]
    picture_mean_iou: np.ndarray
    seconds: float

    def worst(self, number: int) -> list[tuple[int, float]]:
        """Returns the places in the split of the worst pictures, worst first, each with its mean IoU."""
        order = np.argsort(self.picture_mean_iou, kind="stable")  # NaN comes last
        return [
            (self.rows[place], float(self.picture_mean_iou[place]))
            for place in order[:number]
            if not np.isnan(self.picture_mean_iou[place])
        ]


class SegmentationPredictor:
    """Predicts pictures of one split as a protocol says.

    Args:
        model: an FGASeg model (not wrapped for distributed training) in evaluation mode.
        processor: its processor.
        split: pictures and label maps.
        protocol: how pictures are shown and what is asked for.
        device: where the model is.

    Raises:
        ValueError: the split has a background rule, which needs all prompts, and the protocol leaves some out.
    """

    def __init__(
        self, model: Any, processor: Any, split: SegmentationSplit, protocol: EvaluationProtocol, device: torch.device
    ) -> None:
        if split.background_id is not None and protocol.num_distractors is not None:
            raise ValueError(
                "A benchmark with a background rule asks every picture for all prompts: leave the vocabulary."
            )
        self.model = model
        self.processor = processor
        self.split = split
        self.protocol = protocol
        self.text_embeddings = embed_class_names(model, encode_prompts(processor, split.prompts or []), device)

    @property
    def pictures_at_once(self) -> int:
        """How many pictures can go through together: class names of their own differ in number, windows in place."""
        together = self.protocol.num_distractors is None and self.protocol.view == "whole"
        return self.protocol.batch_size if together else 1

    @torch.no_grad()
    def predict(self, rows: Sequence[int]) -> list[tuple[Image.Image, np.ndarray, np.ndarray]]:
        """Returns of some pictures, at most `pictures_at_once`, the picture, its true class ids and the predicted ones.

        Args:
            rows: their places in the split.
        """
        samples = [self.split[row] for row in rows]
        text_embeddings, class_of_prompt = self.text_embeddings, self.split.class_of_prompt
        if self.protocol.num_distractors is not None:
            (labels,) = (labels for _, labels in samples)
            classes = vocabulary_of_picture(
                labels, len(self.split.class_names), self.protocol.num_distractors, [self.protocol.seed, rows[0]]
            )
            prompts = np.flatnonzero(np.isin(class_of_prompt, classes))
            class_of_prompt = class_of_prompt[prompts]
            text_embeddings = text_embeddings[torch.from_numpy(prompts).to(text_embeddings.device)]
        pictures = [picture for picture, _ in samples]
        predicted = self._predict_prompts(pictures, text_embeddings, rows)
        return [
            (picture, labels, class_of_prompt[prompt_map])
            for (picture, labels), prompt_map in zip(samples, predicted, strict=True)
        ]

    def _predict_prompts(
        self, pictures: list[Image.Image], text_embeddings: torch.Tensor, rows: Sequence[int]
    ) -> list[np.ndarray]:
        """Returns for each pixel (H, W) of some pictures which of the prompts fits best."""
        device, protocol = text_embeddings.device, self.protocol
        if protocol.view == "whole":
            pixel_values = self.processor(images=pictures, return_tensors="pt")["pixel_values"].to(device)
            outputs = self.model(pixel_values=pixel_values, text_embeddings=text_embeddings)
            check_scores(outputs.logits, rows)
            label_maps = self.processor.post_process_semantic_segmentation(
                outputs, target_sizes=[picture.size[::-1] for picture in pictures]
            )
        else:
            # at their own size: the sliding window resizes them itself
            images = [
                self.processor(images=picture, do_resize=False, return_tensors="pt")["pixel_values"][0]
                for picture in pictures
            ]
            scores = self.model.segment_with_sliding_window(
                [image.to(device) for image in images],
                text_embeddings,
                window_size=protocol.window_size or self.model.config.image_size,
                resized_size=protocol.resized_size,
                batch_size=protocol.batch_size,
            )
            label_maps = [score.argmax(0) for score in scores]
        return [label_map.cpu().numpy() for label_map in label_maps]


def check_scores(scores: torch.Tensor, rows: Sequence[int]) -> None:
    """Refuses scores that are not numbers: the best class of a pixel would be the first, and count as an answer.

    Args:
        scores: (pictures, classes, height, width).
        rows: the pictures' places in the split.

    Raises:
        ValueError: a score is NaN; says of which picture.
    """
    wrong = scores.isnan().flatten(1).any(1).tolist()
    if any(wrong):
        raise ValueError(
            f"The model's scores of row {rows[wrong.index(True)]} are not numbers (NaN), so nothing can be measured: "
            "look for NaN among its weights, or load it in float32."
        )


def evaluate_segmentation(
    model: Any,
    processor: Any,
    split: SegmentationSplit,
    accelerator: Accelerator,
    protocol: EvaluationProtocol,
    *,
    num_pictures: int | None = None,
    partial_counts: PartialCounts | None = None,
    observer: PredictionObserver | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda parts: parts,
) -> SegmentationEvaluation:
    """Counts a model's predictions on a split, exactly, on any number of processes.

    The pictures are cut into parts, which go through the model together; each part belongs to one process, and its
    pictures are the same whatever the number of processes and restarts, so that rounding is, too.

    Args:
        model: an FGASeg model (not wrapped for distributed training), on the accelerator's device.
        processor: its processor.
        split: pictures and label maps.
        accelerator: says which parts of the split are this process's, and sums the counts.
        protocol: how pictures are shown and what is asked for.
        num_pictures: only this many pictures, spread evenly over the split; None takes all.
        partial_counts: where counts are kept while they are made, to go on with after an interruption.
        observer: is shown every prediction of this process.
        progress: wraps the iteration over this process's parts, for a progress bar.

    Returns:
        The counts over the split's class names.
    """
    started = time.monotonic()
    was_training = model.training
    model.eval()
    predictor = SegmentationPredictor(model, processor, split, protocol, accelerator.device)
    rows = spread_evenly(len(split) if num_pictures is None else num_pictures, len(split))
    places = [
        list(range(first, min(first + predictor.pictures_at_once, len(rows))))
        for first in range(0, len(rows), predictor.pictures_at_once)
    ]
    metric = SegmentationConfusionMatrix(split.class_names, ignored_ids=(IGNORED_LABEL,))
    scores = np.zeros(len(rows))
    before = CountsSoFar(metric.state_dict(), np.zeros(len(places), dtype=bool), scores.copy(), 0.0)
    if partial_counts is not None:
        before = partial_counts.load(before)
        # nobody writes before all have read: the next session's counts are no part of the earlier ones
        accelerator.wait_for_everyone()
    now_done = np.zeros(len(places), dtype=bool)

    def save() -> None:
        if partial_counts is not None:
            counts = CountsSoFar(metric.state_dict(), now_done, scores, time.monotonic() - started)
            partial_counts.save(accelerator.process_index, counts)

    mine = parts_of_process(np.flatnonzero(~before.done).tolist(), accelerator)
    for part in progress(mine):
        part_rows = [rows[place] for place in places[part]]
        for place, row, (picture, labels, prediction) in zip(
            places[part], part_rows, predictor.predict(part_rows), strict=True
        ):
            metric.update(prediction, labels)
            scores[place] = picture_mean_iou(prediction, labels, len(split.class_names))
            if observer is not None:
                observer(row, picture, prediction, labels)
        now_done[part] = True
        if partial_counts is not None and partial_counts.is_due(now_done.sum() * predictor.pictures_at_once):
            save()
    save()

    evaluation = _sum_over_processes(metric, rows, scores, time.monotonic() - started, before, accelerator)
    model.train(was_training)
    return evaluation


def _sum_over_processes(
    metric: SegmentationConfusionMatrix,
    rows: list[int],
    scores: np.ndarray,
    seconds: float,
    before: CountsSoFar,
    accelerator: Accelerator,
) -> SegmentationEvaluation:
    """Adds up what the processes have counted, and what earlier commands had."""
    metric.synchronize(accelerator)
    earlier = SegmentationConfusionMatrix(metric.class_names, ignored_ids=(IGNORED_LABEL,))
    earlier.load_state_dict(before.state)
    metric.merge(earlier)
    # each picture was scored once, by one process: the others hold 0
    summed = torch.from_numpy(scores).to(accelerator.device, torch.float32 if _lacks_float64(accelerator) else None)
    scores = before.scores + accelerator.reduce(summed, reduction="sum").cpu().double().numpy()
    slowest = float(accelerator.gather(torch.tensor([seconds], device=accelerator.device)).max())
    return SegmentationEvaluation(metric=metric, rows=rows, picture_mean_iou=scores, seconds=before.seconds + slowest)


def parts_of_process(parts: Sequence[int], accelerator: Accelerator) -> list[int]:
    """Returns the parts that this process evaluates: every part belongs to exactly one process."""
    return list(parts[accelerator.process_index :: accelerator.num_processes])


def picture_mean_iou(prediction: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Returns one picture's mean IoU over the classes that its truth holds; NaN if nothing in it is annotated.

    Args:
        prediction: class ids (H, W), int64.
        labels: true class ids (H, W) with `IGNORED_LABEL`.
        num_classes: number of classes.
    """
    hits, true, predicted = count_classes_of_picture(prediction, labels, num_classes)
    holds = true > 0
    return float((hits[holds] / (true + predicted - hits)[holds]).mean()) if holds.any() else float("nan")


def _lacks_float64(accelerator: Accelerator) -> bool:
    return accelerator.device.type == "mps"


def vocabulary_of_picture(
    labels: np.ndarray, num_classes: int, num_distractors: int, seed: int | Sequence[int]
) -> np.ndarray:
    """Returns the ids of a picture's own classes and of `num_distractors` others (fewer if the list ends), sorted."""
    present = np.setdiff1d(labels, [IGNORED_LABEL])
    others = np.setdiff1d(np.arange(num_classes), present)
    drawn = np.random.default_rng(seed).permutation(others)[:num_distractors]
    classes = np.union1d(present, drawn).astype(np.int64)
    if not len(classes):
        raise ValueError("A picture has no annotated pixel, so no class to ask for; pass the vocabulary 'picture+1'.")
    return classes

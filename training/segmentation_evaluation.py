# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Measures a model on a split: the part that `train.py` and `evaluate.py` share."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from augmentation import IGNORED_LABEL
from PIL import Image
from segmentation_data import SegmentationSplit, prompts_of_classes, spread_evenly

from fgaseg_hf.benchmarks import encode_prompts
from fgaseg_hf.segmentation_metrics import SegmentationConfusionMatrix


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


def pictures_of_process(num_pictures: int, accelerator: Accelerator) -> range:
    """Returns the pictures that this process evaluates: every picture belongs to exactly one process."""
    return range(accelerator.process_index, num_pictures, accelerator.num_processes)


@torch.no_grad()
def evaluate_segmentation(
    model: Any,
    processor: Any,
    split: SegmentationSplit,
    accelerator: Accelerator,
    protocol: EvaluationProtocol,
    *,
    num_pictures: int | None = None,
    observer: PredictionObserver | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda indices: indices,
) -> SegmentationConfusionMatrix:
    """Counts a model's predictions on a split, exactly, on any number of processes.

    Args:
        model: an FGASeg model (not wrapped for distributed training), on the accelerator's device.
        processor: its processor.
        split: pictures and label maps.
        accelerator: says which part of the split is this process's, and sums the counts.
        protocol: how pictures are shown and what is asked for.
        num_pictures: only this many pictures, spread evenly over the split; None takes all.
        observer: is shown every prediction of this process.
        progress: wraps the iteration, for a progress bar.

    Returns:
        The confusion matrix, the same on every process, over the split's class names.
    """
    was_training = model.training
    model.eval()
    if split.background_id is not None and protocol.num_distractors is not None:
        raise ValueError("A benchmark with a background rule asks every picture for all prompts: leave the vocabulary.")
    encoded = encode_prompts(processor, split.prompts or split.class_names)
    text_embeddings = embed_class_names(model, encoded, accelerator.device)
    metric = SegmentationConfusionMatrix(split.class_names, ignored_ids=(IGNORED_LABEL,))

    chosen = spread_evenly(len(split) if num_pictures is None else num_pictures, len(split))
    mine = [chosen[place] for place in pictures_of_process(len(chosen), accelerator)]

    # Pictures with class names of their own go through one at a time: their numbers of classes differ
    at_once = protocol.batch_size if protocol.num_distractors is None and protocol.view == "whole" else 1
    waiting: list[int] = []
    for place, index in enumerate(progress(mine)):
        waiting.append(index)
        if len(waiting) < at_once and place + 1 < len(mine):
            continue
        samples = [split[row] for row in waiting]
        predictions = _predict(model, processor, samples, waiting, text_embeddings, protocol)
        for row, (picture, labels), prediction in zip(waiting, samples, predictions, strict=True):
            if split.background_id is not None:
                prediction = np.minimum(prediction, split.background_id)
            metric.update(prediction, labels)
            if observer is not None:
                observer(row, picture, prediction, labels)
        waiting = []

    metric.synchronize(accelerator)
    model.train(was_training)
    return metric


def _predict(
    model: Any,
    processor: Any,
    samples: Sequence[tuple[Image.Image, np.ndarray]],
    indices: Sequence[int],
    text_embeddings: torch.Tensor,
    protocol: EvaluationProtocol,
) -> list[np.ndarray]:
    """Predicts class ids (H, W) for some pictures: all with all names, or a single one with names of its own."""
    classes = None
    if protocol.num_distractors is not None:
        classes = vocabulary_of_picture(
            samples[0][1], len(text_embeddings), protocol.num_distractors, [protocol.seed, indices[0]]
        )
        text_embeddings = text_embeddings[torch.from_numpy(classes).to(text_embeddings.device)]

    pictures = [picture for picture, _ in samples]
    if protocol.view == "whole":
        pixel_values = processor(images=pictures, return_tensors="pt")["pixel_values"].to(text_embeddings.device)
        outputs = model(pixel_values=pixel_values, text_embeddings=text_embeddings)
        label_maps = processor.post_process_semantic_segmentation(
            outputs, target_sizes=[picture.size[::-1] for picture in pictures]
        )
    else:
        # at their own size: the sliding window resizes them itself
        images = [
            processor(images=picture, do_resize=False, return_tensors="pt")["pixel_values"][0] for picture in pictures
        ]
        scores = model.segment_with_sliding_window(
            [image.to(text_embeddings.device) for image in images],
            text_embeddings,
            window_size=protocol.window_size or model.config.image_size,
            resized_size=protocol.resized_size,
            batch_size=protocol.batch_size,
        )
        label_maps = [score.argmax(0) for score in scores]

    predictions = [label_map.cpu().numpy() for label_map in label_maps]
    return predictions if classes is None else [classes[prediction] for prediction in predictions]


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

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Evaluation shared by training and `evaluate.py`: protocols, vocabularies, and exact counts."""

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf.data.augmentation import IGNORED_LABEL
from fgaseg_hf.data.segmentation_split import SegmentationSplit
from fgaseg_hf.evaluation.pixel_counts import PIXELS_AT_ONCE, count_classes_of_picture
from fgaseg_hf.evaluation.segmentation_evaluation import (
    EvaluationProtocol,
    embed_class_names,
    evaluate_segmentation,
    parts_of_process,
    picture_mean_iou,
    vocabulary_of_picture,
)
from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix


@pytest.fixture(scope="module")
def split() -> SegmentationSplit:
    generator = np.random.default_rng(0)
    sizes = [(40, 30), (32, 32), (20, 45), (33, 31), (64, 20)]
    pictures = [Image.fromarray(generator.integers(0, 255, (*size, 3)).astype(np.uint8)) for size in sizes]
    label_maps = [Image.fromarray(generator.choice([0, 1, 3, 255], size).astype(np.uint8)) for size in sizes]
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    rows = Dataset.from_dict({"image": pictures, "annotation": label_maps}, features=features)
    return SegmentationSplit(rows=rows, class_names=CLASS_NAMES)


def evaluate(split: SegmentationSplit, model: Any = None, **keywords: Any) -> tuple[Any, dict[int, np.ndarray]]:
    seen: dict[int, np.ndarray] = {}
    num_pictures = keywords.pop("num_pictures", None)
    evaluation = evaluate_segmentation(
        model or tiny_model(),
        tiny_processor(),
        split,
        Accelerator(cpu=True),
        EvaluationProtocol(**keywords),
        num_pictures=num_pictures,
        observer=lambda index, picture, prediction, labels: seen.update({index: prediction}),
    )
    return evaluation.metric, seen


def test_counts_are_those_of_single_predictions(split: SegmentationSplit) -> None:
    model, processor = tiny_model(), tiny_processor()
    expected = torch.zeros(5, 5, dtype=torch.int64)
    for index in range(len(split)):
        picture, labels = split[index]
        with torch.no_grad():
            outputs = model(**processor(images=picture, text=CLASS_NAMES, return_tensors="pt"))
        prediction = processor.post_process_semantic_segmentation(outputs, [picture.size[::-1]])[0].numpy()
        for true, predicted in zip(labels.ravel(), prediction.ravel(), strict=True):
            if true != IGNORED_LABEL:
                expected[true, predicted] += 1
    for batch_size in (1, 2, 5):
        metric, seen = evaluate(split, batch_size=batch_size)
        assert torch.equal(metric.matrix, expected)
        assert metric.num_pictures == 5
        assert all(seen[index].shape == split[index][1].shape for index in range(5))


def test_the_training_mode_comes_back(split: SegmentationSplit) -> None:
    model = tiny_model()
    evaluate(split, model.train(), num_pictures=1)
    assert model.training
    evaluate(split, model.eval(), num_pictures=1)
    assert not model.training


def test_some_pictures_spread_over_the_split(split: SegmentationSplit) -> None:
    metric, seen = evaluate(split, num_pictures=3)
    assert sorted(seen) == [0, 2, 4]
    assert metric.num_pictures == 3


def test_a_vocabulary_for_each_picture_holds_its_own_classes(split: SegmentationSplit) -> None:
    metric, seen = evaluate(split, vocabulary="picture+0")
    for index, prediction in seen.items():
        assert set(np.unique(prediction)) <= set(np.unique(split[index][1])) - {IGNORED_LABEL}
    everything, _ = evaluate(split, vocabulary="picture+5")
    assert torch.equal(everything.matrix, evaluate(split)[0].matrix)
    again, _ = evaluate(split, vocabulary="picture+1", seed=1)
    assert torch.equal(again.matrix, evaluate(split, vocabulary="picture+1", seed=1)[0].matrix)


@pytest.mark.parametrize("vocabulary", ["all", "picture+1"])
def test_sliding_window_predicts_at_the_pictures_own_size(split: SegmentationSplit, vocabulary: str) -> None:
    metric, seen = evaluate(split, view="sliding_window", vocabulary=vocabulary)
    assert metric.num_pictures == 5
    assert all(seen[index].shape == split[index][1].shape for index in range(5))


def test_vocabulary_of_a_picture() -> None:
    labels = np.array([[2, 2, IGNORED_LABEL], [7, 2, 7]])
    classes = vocabulary_of_picture(labels, 10, 3, [0, 4])
    assert {2, 7} <= set(classes.tolist())
    assert len(classes) == 5
    assert np.array_equal(classes, np.unique(classes))
    assert np.array_equal(classes, vocabulary_of_picture(labels, 10, 3, [0, 4]))
    assert len(vocabulary_of_picture(labels, 10, 100, 0)) == 10
    with pytest.raises(ValueError, match="no annotated pixel"):
        vocabulary_of_picture(labels * 0 + IGNORED_LABEL, 10, 0, 0)


def test_names_are_embedded_in_parts(split: SegmentationSplit) -> None:
    model = tiny_model()
    encoded = dict(tiny_processor()(text=CLASS_NAMES, return_tensors="pt"))
    whole = embed_class_names(model, encoded, torch.device("cpu"))
    parts = embed_class_names(model, encoded, torch.device("cpu"), chunk_size=2)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)


def test_every_part_belongs_to_one_process() -> None:
    class Process:
        def __init__(self, index: int) -> None:
            self.process_index, self.num_processes = index, 3

    shards = [parts_of_process(range(11), Process(index)) for index in range(3)]  # type: ignore[arg-type]
    assert sorted(sum(shards, [])) == list(range(11))
    assert parts_of_process([4], Process(2)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("keywords", [{"vocabulary": "some"}, {"vocabulary": "picture+"}, {"batch_size": 0}])
def test_bad_protocols_are_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        EvaluationProtocol(**keywords)


@settings(deadline=None, max_examples=30)
@given(
    label=hnp.arrays(np.int64, (3, 4), elements=st.integers(IGNORED_LABEL, 3)),
    prediction=hnp.arrays(np.int64, (3, 4), elements=st.integers(0, 3)),
)
def test_a_pictures_mean_iou_is_that_of_its_own_matrix(label: np.ndarray, prediction: np.ndarray) -> None:
    metric = SegmentationConfusionMatrix(["a", "b", "c", "d"], ignored_ids=(IGNORED_LABEL,))
    metric.update(prediction, label)
    expected = metric.compute().mean_iou
    found = picture_mean_iou(prediction, label, 4)
    assert np.isnan(found) if expected is None else found == pytest.approx(expected)
    assert np.array_equal(count_classes_of_picture(prediction, label, 4), metric.totals.numpy())


def test_counting_a_large_picture_in_parts_is_counting_it_at_once() -> None:
    generator = np.random.default_rng(0)
    label, prediction = generator.integers(IGNORED_LABEL, 300, (300, 401)), generator.integers(0, 300, (300, 401))
    assert label.size > 2 * PIXELS_AT_ONCE
    metric = SegmentationConfusionMatrix([f"thing {number}" for number in range(300)], ignored_ids=(IGNORED_LABEL,))
    metric.update(prediction, label)
    assert np.array_equal(count_classes_of_picture(prediction, label, 300), metric.totals.numpy())

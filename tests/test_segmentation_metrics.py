"""The confusion matrix and its numbers against the definitions, written out in numpy."""

import json
import math
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgaseg_hf.segmentation_metrics import (
    SegmentationConfusionMatrix,
    SegmentationResult,
    format_class_table,
    load_class_groups,
)

NAMES = ["sky", "road", "car", "tree", "sign"]


def definitions(prediction: np.ndarray, label: np.ndarray, num_classes: int, ignored: int) -> dict[str, Any]:
    """The published definitions, one class at a time on the pixels themselves."""
    counted = label != ignored
    prediction, label = prediction[counted], label[counted]
    ious, accuracies, weights, ious_present = [], [], [], []
    for class_id in range(num_classes):
        true, predicted = label == class_id, prediction == class_id
        intersection, union = (true & predicted).sum(), (true | predicted).sum()
        if union:
            ious_present.append(intersection / union)
        if true.sum():
            ious.append(intersection / union)
            accuracies.append(intersection / true.sum())
            weights.append(true.sum())
    if not ious:
        return dict.fromkeys(
            ("mean_iou", "mean_iou_present", "frequency_weighted_iou", "mean_accuracy", "pixel_accuracy")
        )
    return {
        "mean_iou": np.mean(ious),
        "mean_iou_present": np.mean(ious_present),
        "frequency_weighted_iou": np.average(ious, weights=weights),
        "mean_accuracy": np.mean(accuracies),
        "pixel_accuracy": (prediction == label).mean(),
    }


maps = hnp.arrays(np.int64, (2, 7, 5), elements=st.integers(0, len(NAMES) - 1))


@settings(deadline=None, max_examples=60)
@given(prediction=maps, label=maps, holes=hnp.arrays(bool, (2, 7, 5)), used=st.integers(1, len(NAMES)))
def test_numbers_equal_their_definitions(
    prediction: np.ndarray, label: np.ndarray, holes: np.ndarray, used: int
) -> None:
    # few classes in the truth, so that some are predicted only: there the two means differ
    label = np.where(holes, 255, label % used)
    metric = SegmentationConfusionMatrix(NAMES)
    for one_prediction, one_label in zip(prediction, label, strict=True):
        metric.update(one_prediction, one_label)
    result = metric.compute()
    for name, value in definitions(prediction, label, len(NAMES), 255).items():
        assert getattr(result, name) == (None if value is None else pytest.approx(value)), name
    assert result.num_pixels == (~holes).sum()
    assert result.num_pictures == 2


@settings(deadline=None, max_examples=20)
@given(prediction=maps, label=maps)
def test_a_batch_counts_as_its_pictures_and_merging_as_counting(prediction: np.ndarray, label: np.ndarray) -> None:
    together, first, second = (SegmentationConfusionMatrix(NAMES) for _ in range(3))
    together.update(torch.from_numpy(prediction), torch.from_numpy(label))
    first.update(prediction[0], label[0])
    second.update(prediction[1], label[1])
    first.merge(second)
    assert torch.equal(together.matrix, first.matrix)
    assert together.num_pictures == first.num_pictures == 2
    assert together.matrix.dtype == torch.int64


def test_rows_are_truth_and_columns_prediction() -> None:
    metric = SegmentationConfusionMatrix(NAMES)
    metric.update(np.array([[2, 1]]), np.array([[0, 1]]))
    assert metric.matrix[0, 2] == metric.matrix[1, 1] == 1
    assert metric.matrix.sum() == 2
    metric.reset()
    assert metric.matrix.sum() == 0 == metric.num_pictures


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_ids_beyond_255_and_every_integer_type(dtype: type) -> None:
    names = [f"class {number}" for number in range(847)]
    metric = SegmentationConfusionMatrix(names, ignored_ids=(65535,) if dtype is np.uint16 else ())
    ids = np.array([[0, 200]]) if dtype is np.uint8 else np.array([[300, 846]])
    metric.update(ids.astype(dtype), ids.astype(dtype))
    assert metric.compute().mean_iou == 1.0
    if dtype is np.uint16:
        metric.update(ids.astype(dtype), np.full((1, 2), 65535, dtype=dtype))
        assert metric.compute().num_pixels == 2


@pytest.mark.parametrize("outside", [-1, 5, 255])
def test_an_id_outside_the_list_is_refused(outside: int) -> None:
    metric = SegmentationConfusionMatrix(NAMES, ignored_ids=(250,))
    inside, wrong = np.zeros((2, 2), int), np.array([[0, 0], [0, outside]])
    with pytest.raises(ValueError, match=rf"label has the id {outside}"):
        metric.update(inside, wrong)
    with pytest.raises(ValueError, match=rf"prediction has the id {outside}"):
        metric.update(wrong, inside)
    # where the truth is not annotated, a prediction does not matter
    metric.update(wrong, np.array([[0, 0], [0, 250]]))
    assert metric.compute().num_pixels == 3


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        SegmentationConfusionMatrix([])
    with pytest.raises(ValueError, match="'sky' twice"):
        SegmentationConfusionMatrix(["sky", "road", "sky"])
    metric = SegmentationConfusionMatrix(NAMES)
    with pytest.raises(ValueError, match="shape"):
        metric.update(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="integer"):
        metric.update(np.zeros((2, 2)), np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="class names are the same"):
        metric.merge(SegmentationConfusionMatrix(NAMES[:2]))
    with pytest.raises(ValueError, match="'boat'"):
        metric.compute({"seen": ["sky", "boat"]})


def test_groups_and_harmonic_mean() -> None:
    metric = SegmentationConfusionMatrix(NAMES)
    label = np.array([[0, 0, 1, 1, 2, 2, 2, 2]])
    prediction = np.array([[0, 0, 1, 2, 2, 2, 0, 3]])
    metric.update(prediction, label)
    groups = {"seen": ["sky", "road"], "unseen": ["car", "tree"]}
    result = metric.compute(groups)
    seen, unseen = (2 / 3 + 1 / 2) / 2, 2 / 5
    assert result.groups["seen"]["mean_iou"] == pytest.approx(seen)
    assert result.groups["unseen"]["mean_iou"] == pytest.approx(unseen)
    assert result.groups["unseen"]["mean_iou_present"] == pytest.approx((2 / 5 + 0) / 2)
    assert result.harmonic_mean_iou == pytest.approx(2 * seen * unseen / (seen + unseen))
    assert result.summary()["mean_iou/unseen"] == pytest.approx(unseen)

    table = format_class_table(result, groups)
    assert "66.67" in table
    assert "unseen" in table
    assert "(1 classes are in no label map and in no prediction)" in table


def test_nothing_counted_gives_none_and_json_round_trips() -> None:
    result = SegmentationConfusionMatrix(NAMES).compute({"seen": NAMES})
    assert result.mean_iou is None
    assert result.summary() == {}
    metric = SegmentationConfusionMatrix(NAMES)
    metric.update(np.array([[0, 1]]), np.array([[0, 0]]))
    result = metric.compute()
    loaded = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert loaded["classes"][0] == {
        "name": "sky", "iou": 0.5, "accuracy": 0.5, "num_true_pixels": 2, "num_predicted_pixels": 1
    }  # fmt: skip
    assert loaded["classes"][4]["iou"] is None
    assert isinstance(result, SegmentationResult)
    assert not any(math.isnan(value) for value in result.summary().values())


def test_class_groups_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    path.write_text('{"seen": ["sky"]}')
    assert load_class_groups(str(path)) == {"seen": ["sky"]}
    path.write_text('["sky"]')
    with pytest.raises(ValueError, match="lists of class names"):
        load_class_groups(str(path))

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The confusion matrix and its numbers against the definitions, written out in numpy."""

import json
import math
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgaseg_hf.evaluation import segmentation_metrics
from fgaseg_hf.evaluation.pixel_counts import PIXELS_AT_ONCE
from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix
from fgaseg_hf.evaluation.segmentation_results import SegmentationResult, format_class_table

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
        "name": "sky",
        "iou": 0.5,
        "accuracy": 0.5,
        "num_true_pixels": 2,
        "num_predicted_pixels": 1,
        "boundary_iou": None,
    }
    assert loaded["classes"][4]["iou"] is None
    assert isinstance(result, SegmentationResult)
    assert not any(math.isnan(value) for value in result.summary().values())


def test_of_long_class_lists_only_the_totals_are_kept() -> None:
    names = [f"class {number}" for number in range(10_000)]
    generator = np.random.default_rng(0)
    label, prediction = generator.integers(0, 10_000, (2, 2, 40, 50))
    prediction[:, ::3] = label[:, ::3]
    label[0, :5] = 65535
    metric = SegmentationConfusionMatrix(names, (65535,))
    assert metric.totals.numel() == 30_000
    metric.update(prediction.astype(np.uint16), label.astype(np.uint16))
    for name, value in definitions(prediction, label, 10_000, 65535).items():
        assert getattr(metric.compute(), name) == pytest.approx(value), name
    with pytest.raises(ValueError, match="763 MiB"):
        _ = metric.matrix


@settings(deadline=None, max_examples=20)
@given(prediction=maps, label=maps, holes=hnp.arrays(bool, (2, 7, 5)))
def test_totals_are_those_of_the_matrix(prediction: np.ndarray, label: np.ndarray, holes: np.ndarray) -> None:
    label = np.where(holes, 255, label)
    whole, totals, added = (SegmentationConfusionMatrix(NAMES, keep_matrix=keep) for keep in (True, False, False))
    for metric in (whole, totals):
        metric.update(prediction, label)
    assert torch.equal(whole.totals, totals.totals)
    assert whole.compute() == totals.compute()
    rows = []
    for one_prediction, one_label in zip(prediction, label, strict=True):
        one = SegmentationConfusionMatrix(NAMES, keep_matrix=False)
        one.update(one_prediction, one_label)
        rows.append(one.totals)
    added.add_totals(torch.stack(rows), num_pictures=2)
    assert added.compute() == totals.compute()


def test_counts_are_stored_and_loaded() -> None:
    label, prediction = np.random.default_rng(0).integers(0, 5, (2, 6, 6))
    for settings_of_metric in ({}, {"keep_matrix": False, "boundary_ratio": 0.1}):
        metric = SegmentationConfusionMatrix(NAMES, **settings_of_metric)
        metric.update(prediction, label)
        stored = metric.state_dict()
        again = SegmentationConfusionMatrix(NAMES, **settings_of_metric)
        again.load_state_dict(stored)
        assert again.compute() == metric.compute()
        metric.update(label, label)
        assert again.compute() != metric.compute()
        with pytest.raises(ValueError, match="another metric's"):
            SegmentationConfusionMatrix(NAMES[:4]).load_state_dict(stored)


def test_predictions_from_the_background_on_are_background() -> None:
    metric = SegmentationConfusionMatrix(["cat", "dog", "background"], background_id=2)
    metric.update(np.array([[0, 2, 58, 7]]), np.array([[0, 2, 2, 1]]))
    assert metric.matrix.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 2]]
    with pytest.raises(ValueError, match="prediction has the id -1"):
        metric.update(np.array([[-1]]), np.array([[0]]))
    with pytest.raises(ValueError, match="`background_id` is 3"):
        SegmentationConfusionMatrix(["cat", "dog", "background"], background_id=3)


def erode(mask: np.ndarray, times: int) -> np.ndarray:
    """Takes away every pixel with a neighbour, of eight, outside the mask or the picture; so many times."""
    height, width = mask.shape
    for _ in range(times):
        padded = np.pad(mask, 1)
        mask = np.all([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
    return mask


@settings(deadline=None, max_examples=25)
@given(
    prediction=hnp.arrays(np.int64, (4, 3), elements=st.integers(0, 2)),
    label=hnp.arrays(np.int64, (4, 3), elements=st.integers(0, 2)),
    hole=st.integers(0, 12),
    distance=st.integers(1, 3),
)
def test_boundary_iou_is_that_of_eroded_masks(
    prediction: np.ndarray, label: np.ndarray, hole: int, distance: int
) -> None:
    prediction, label = (np.kron(ids, np.ones((4, 5), dtype=np.int64)) for ids in (prediction, label))
    label[:hole, :hole] = 255
    annotated = label != 255
    ious = []
    for class_id in range(3):
        true, predicted = (label == class_id) & annotated, (prediction == class_id) & annotated
        if not true.any():
            continue
        strips = [mask & ~erode(mask, distance) for mask in (true, predicted)]
        ious.append((strips[0] & strips[1]).sum() / (strips[0] | strips[1]).sum())
    metric = SegmentationConfusionMatrix(NAMES, boundary_ratio=distance / math.hypot(16, 15))
    metric.update(prediction, label)
    result = metric.compute()
    assert result.mean_boundary_iou == (pytest.approx(np.mean(ious)) if ious else None)
    assert result.classes[4].boundary_iou is None
    with pytest.raises(ValueError, match="`boundary_ratio` is 2"):
        SegmentationConfusionMatrix(NAMES, boundary_ratio=2)


def test_evaluate_loads_the_metric_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = pytest.importorskip("evaluate")
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path))
    # Where other metrics were loaded before, their package would be searched, and not that of this cache.
    for name in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = Path(segmentation_metrics.__file__).with_name("segmentation_iou.py")
    module = evaluate.load(str(path), class_names=NAMES, class_groups={"seen": NAMES[:2]}, cache_dir=str(tmp_path))
    label, prediction = np.random.default_rng(0).integers(0, 5, (2, 3, 6, 6))
    label[0, 0] = 255
    expected = SegmentationConfusionMatrix(NAMES)
    for one_prediction, one_label in zip(prediction, label, strict=True):
        expected.update(one_prediction, one_label)
    result = expected.compute({"seen": NAMES[:2]})
    numbers = module.compute(predictions=list(prediction), references=list(label))
    assert numbers["per_class_iou"]["tree"] == result.classes[3].iou
    assert {name: value for name, value in numbers.items() if name != "per_class_iou"} == result.summary()
    # anew, map by map, of different sizes
    module.add(prediction=prediction[0], reference=label[0])
    module.add_batch(predictions=[prediction[1][:2], prediction[2]], references=[label[1][:2], label[2]])
    assert module.compute()["pixel_accuracy"] != numbers["pixel_accuracy"]
    with pytest.raises(ValueError, match="one process"):
        evaluate.load(str(path), class_names=NAMES, num_process=2, cache_dir=str(tmp_path))


@pytest.mark.parametrize("background_id", [None, 3])
@pytest.mark.parametrize("ignored_ids", [(), (255,), (2, 65535), (-1,)])
def test_the_one_pass_counts_as_the_careful_way(background_id: int | None, ignored_ids: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    names = [f"class {number}" for number in range(5)]
    label = generator.choice([0, 1, 2, 3, 4, *ignored_ids], (3, 20, 30))
    prediction = generator.integers(0, 5 if background_id is None else 9, (3, 20, 30))
    fast = SegmentationConfusionMatrix(names, ignored_ids, background_id=background_id)
    slow = SegmentationConfusionMatrix(names, ignored_ids, background_id=background_id)
    slow._count_in_one_pass = lambda prediction, label: False  # type: ignore[method-assign]
    assert fast._count_in_one_pass(torch.from_numpy(prediction), torch.from_numpy(label))
    fast.reset()
    for metric in (fast, slow):
        metric.update(prediction, label)
    assert torch.equal(fast.matrix, slow.matrix)
    assert fast.num_pictures == slow.num_pictures == 3
    assert int(fast.matrix.sum()) == int((~np.isin(label, ignored_ids)).sum())


@pytest.mark.parametrize(("label", "prediction"), [(2, 0), (-1, 0), (-1, 1), (0, 2), (0, -1), (2**60, 0), (1, -2)])
def test_the_one_pass_lets_no_wrong_id_through(label: int, prediction: int) -> None:
    metric = SegmentationConfusionMatrix(["sky", "road"], (255,))
    with pytest.raises(ValueError, match="outside the 2 classes"):
        metric.update(np.array([[0, prediction]]), np.array([[0, label]]))
    assert int(metric.matrix.sum()) == 0
    assert metric.num_pictures == 0


@pytest.mark.parametrize("label", [2**32 - 1, -(2**31)])
def test_ids_far_from_0_take_no_memory(label: int) -> None:
    metric = SegmentationConfusionMatrix(["sky", "road"], (2**32 - 1, -(2**31)))
    metric.update(np.zeros((2, 3), dtype=np.int64), np.full((2, 3), label))
    assert int(metric.matrix.sum()) == 0 and metric.num_pictures == 1
    with pytest.raises(ValueError, match="outside the 2 classes"):
        metric.update(np.zeros((2, 3), dtype=np.int64), np.full((2, 3), 2**40))


def test_a_pickled_metric_goes_on_counting() -> None:
    metric = pickle.loads(pickle.dumps(SegmentationConfusionMatrix(["sky", "road"])))
    metric.update(np.array([[0, 1]]), np.array([[0, 0]]))
    assert metric.matrix.tolist() == [[1, 1], [0, 0]]


def test_a_wrong_id_at_the_end_of_a_large_map_leaves_no_count() -> None:
    metric = SegmentationConfusionMatrix(["sky", "road"], (255,))
    label = np.random.default_rng(0).integers(0, 2, 3 * PIXELS_AT_ONCE)
    metric.update(label, label)
    before = metric.matrix.clone()
    label[-1] = 2
    with pytest.raises(ValueError, match="outside the 2 classes"):
        metric.update(np.zeros_like(label), label)
    assert torch.equal(metric.matrix, before)
    assert int(before.sum()) == len(label)


def test_255_is_a_class_where_there_are_more_names() -> None:
    metric = SegmentationConfusionMatrix([f"thing {number}" for number in range(300)])
    ids = np.array([[0, 255, 299]])
    metric.update(ids, ids)
    metric.update(ids, np.full((1, 3), 65535))
    result = metric.compute()
    assert result.num_pixels == result.num_ignored_pixels == 3
    assert [row.num_true_pixels for row in result.classes if row.num_true_pixels] == [1, 1, 1]
    assert SegmentationConfusionMatrix(NAMES).ignored_ids == (255,)


@pytest.mark.parametrize("keywords", [{}, {"keep_matrix": False}, {"boundary_ratio": 0.1}])
def test_ignored_pixels_are_counted_too(keywords: dict[str, Any]) -> None:
    whole, first, second = (SegmentationConfusionMatrix(NAMES, **keywords) for _ in range(3))
    label = np.array([[[0, 255, 255]], [[1, 1, 255]]])
    whole.update(label * 0, label)
    first.update(label[0] * 0, label[0])
    second.update(label[1] * 0, label[1])
    first.merge(second)
    assert whole.compute().num_ignored_pixels == first.compute().num_ignored_pixels == 3
    loaded = SegmentationConfusionMatrix(NAMES, **keywords)
    loaded.load_state_dict(first.state_dict())
    assert loaded.compute() == first.compute()


def test_an_empty_map_adds_nothing() -> None:
    for keywords in ({}, {"boundary_ratio": 0.1}, {"keep_matrix": False}):
        metric = SegmentationConfusionMatrix(NAMES, **keywords)  # type: ignore[arg-type]
        metric.update(np.zeros((0, 5), int), np.zeros((0, 5), int))
        assert metric.compute().num_pixels == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SegmentationConfusionMatrix(NAMES, 255), "`ignored_ids` is 255"),  # type: ignore[arg-type]
        (lambda: SegmentationConfusionMatrix(NAMES, "255"), "`ignored_ids` is '255'"),  # type: ignore[arg-type]
        (lambda: SegmentationConfusionMatrix(NAMES, [0.5]), "`ignored_ids`"),  # type: ignore[list-item]
        (lambda: SegmentationConfusionMatrix("sky"), "`class_names` is 'sky'"),
        (lambda: SegmentationConfusionMatrix([1, 2]), "`class_names`"),  # type: ignore[list-item]
        (lambda: SegmentationConfusionMatrix(NAMES).update("sky", "sky"), "prediction"),  # type: ignore[arg-type]
        (lambda: SegmentationConfusionMatrix(NAMES).update(None, None), "prediction"),  # type: ignore[arg-type]
        (lambda: SegmentationConfusionMatrix(NAMES).update([[0], [0, 1]], [[0]]), "prediction"),  # type: ignore[arg-type]
        (lambda: SegmentationConfusionMatrix(["x" * 10_000] * 2), "twice"),
    ],
)
def test_wrong_types_get_one_short_sentence(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert len(str(error.value)) < 400


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.one_of(st.integers(-2, 300), st.floats(), st.text(max_size=2), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    hnp.arrays(st.sampled_from([np.uint8, np.int16, np.uint16, np.float32, np.bool_, np.int64]), (1, 2)),
)


@settings(deadline=None, max_examples=60)
@given(
    names=st.one_of(st.just(NAMES), anything),
    ignored_ids=st.one_of(st.just((255,)), anything),
    background_id=st.one_of(st.none(), anything),
    boundary_ratio=st.one_of(st.none(), anything),
    maps=st.tuples(anything, anything),
)
def test_whatever_is_given_is_counted_or_refused(
    names: Any, ignored_ids: Any, background_id: Any, boundary_ratio: Any, maps: tuple[Any, Any]
) -> None:
    try:
        metric = SegmentationConfusionMatrix(
            names, ignored_ids, background_id=background_id, boundary_ratio=boundary_ratio
        )
        metric.update(*maps)
    except ValueError as error:
        assert len(str(error)) < 400
    else:
        assert metric.num_pictures >= 1

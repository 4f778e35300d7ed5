# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""TopK and the class limit on score maps that a person can check by eye."""

import torch

from fgaseg_hf.model.class_selection import (
    ClassSelection,
    gather_classes,
    highest_peaks,
    select_classes,
    union_over_pixels,
)

LOWEST = torch.finfo(torch.float32).min


def test_highest_peaks_keep_the_order_of_classes():
    scores = torch.tensor([[[[0.0, 5]], [[9, -9]], [[1, 1]], [[7, 0]]]])
    places, is_kept = highest_peaks(scores, 2)
    assert places.tolist() == [[1, 3]] and is_kept is None


def test_what_leads_somewhere_goes_before_what_is_beaten_everywhere():
    scores = torch.tensor([[[[8.0, 0]], [[9, 0]], [[1, 2]]]])
    assert select_classes(scores, 2, "peak")[0].tolist() == [[0, 1]]
    places, is_kept = select_classes(scores, 2, "softmax_peak")
    assert places.tolist() == [[1, 2]] and is_kept is None


def test_union_is_each_pictures_own():
    scores = torch.tensor([[[[5.0, 0]], [[0, 5]], [[1, 1]]], [[[0, 0]], [[1, 1]], [[9, 9]]]])
    places, is_kept = union_over_pixels(scores, 1, None)
    assert places[0].tolist() == [0, 1]
    assert places[1, 0] == 2
    assert is_kept.tolist() == [[True, True], [True, False]]


def test_union_never_takes_a_class_that_is_out():
    scores = torch.tensor([[[[9.0]], [[5]], [[1]]]])
    places, is_kept = union_over_pixels(scores, 2, torch.tensor([[False, True, True]]))
    assert places.tolist() == [[1, 2]] and is_kept is None


def test_scatter_undoes_gather_and_marks_the_rest():
    values = torch.randn(2, 5, 3, 3)
    selection = ClassSelection.of_all(2, 5, values.device).narrow(torch.tensor([[0, 3], [2, 4]]), None)
    kept = selection.gather(values)
    assert torch.equal(kept, gather_classes(values, selection.indices))
    scattered = selection.scatter(kept)
    for picture, classes in enumerate([[0, 3], [2, 4]]):
        for index in range(5):
            expected = values[picture, index] if index in classes else torch.full((3, 3), LOWEST)
            assert torch.equal(scattered[picture, index], expected)


def test_places_left_do_not_overwrite_a_kept_class():
    selection = ClassSelection(torch.tensor([[1, 1]]), torch.tensor([[True, False]]), num_classes=3)
    scattered = selection.scatter(torch.tensor([[[[4.0]], [[99]]]]))
    assert scattered.flatten().tolist() == [LOWEST, 4.0, LOWEST]


def test_narrowing_twice_leads_back_to_the_first_classes():
    selection = ClassSelection.of_all(1, 9, torch.device("cpu")).narrow(torch.tensor([[2, 5, 7]]), None)
    assert selection.narrow(torch.tensor([[0, 2]]), None).indices.tolist() == [[2, 7]]


def test_more_classes_asked_for_than_there_are():
    scores = torch.randn(2, 3, 4, 4)
    for rule in ("peak", "softmax_peak", "union"):
        places, is_kept = select_classes(scores, 10, rule)
        assert places.tolist() == [[0, 1, 2]] * 2 and is_kept is None

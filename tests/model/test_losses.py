# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The losses beside their textbook form with one-hot maps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import TRAINING_FREE, tiny_config, tiny_inputs, tiny_model
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate, one_hot

from fgaseg_hf.model.cosine_decoder import softmax_log_odds
from fgaseg_hf.model.losses import (
    alignment_loss,
    binary_cross_entropy_of_labels,
    cross_entropy_of_labels,
    labels_at_size,
    segmentation_loss,
)


def one_hot_targets(labels: torch.Tensor, num_classes: int, ignore_index: int) -> torch.Tensor:
    known = torch.where(labels == ignore_index, num_classes, labels)
    return one_hot(known, num_classes + 1)[..., :num_classes].permute(0, 3, 1, 2).float()


def made_up_batch(
    seed: int, num_classes: int, ignored_share: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    """Logits and labels of two pictures of 5 x 6, and the generator that they came from."""
    generator = torch.Generator().manual_seed(seed)
    logits = 8 * torch.randn(2, num_classes, 5, 6, generator=generator)
    labels = torch.randint(0, num_classes, (2, 5, 6), generator=generator)
    labels[torch.rand(2, 5, 6, generator=generator) < ignored_share] = 255
    return logits, labels, generator


BATCHES = {
    "seed": st.integers(0, 10_000),
    "num_classes": st.integers(1, 9),
    "ignored_share": st.sampled_from([0.0, 0.3, 1.0]),
    "ignored_as_negatives": st.booleans(),
}


@settings(max_examples=40, deadline=None)
@given(**BATCHES)
def test_equals_the_one_hot_form(seed, num_classes, ignored_share, ignored_as_negatives):
    logits, labels, _ = made_up_batch(seed, num_classes, ignored_share)
    targets = one_hot_targets(labels, num_classes, 255)
    losses = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if ignored_as_negatives:
        expected = losses.mean()
    else:
        is_known = (labels != 255).unsqueeze(1).expand_as(losses)
        expected = losses[is_known].sum() / max(int(is_known.sum()), 1)
    ours = binary_cross_entropy_of_labels(logits, labels, 255, ignored_as_negatives)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(**BATCHES, of_each_picture=st.booleans())
def test_class_weights_weigh_the_pixels_of_the_one_hot_form(
    seed, num_classes, ignored_share, ignored_as_negatives, of_each_picture
):
    logits, labels, generator = made_up_batch(seed, num_classes, ignored_share)
    weights = torch.rand(*([2] if of_each_picture else []), num_classes, generator=generator) + 0.1
    losses = binary_cross_entropy_with_logits(logits, one_hot_targets(labels, num_classes, 255), reduction="none")
    pixel_weights = torch.empty(2, 5, 6)
    for picture, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(6)).tolist():
        label = int(labels[picture, row, column])
        if label == 255:
            weight = float(ignored_as_negatives)
        else:
            weight = float(weights[picture, label] if of_each_picture else weights[label])
        pixel_weights[picture, row, column] = weight
    expected = (losses.mean(dim=1) * pixel_weights).sum() / pixel_weights.sum().clamp(min=1e-6)
    ours = binary_cross_entropy_of_labels(logits, labels, 255, ignored_as_negatives, weights)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


def test_gradients_equal_those_of_the_one_hot_form():
    logits = torch.randn(2, 4, 6, 6, requires_grad=True)
    labels = torch.randint(0, 4, (2, 6, 6))
    labels[0, 0] = 255
    (ours,) = torch.autograd.grad(binary_cross_entropy_of_labels(logits, labels, 255, True), logits)
    expected_loss = binary_cross_entropy_with_logits(logits, one_hot_targets(labels, 4, 255))
    (theirs,) = torch.autograd.grad(expected_loss, logits)
    torch.testing.assert_close(ours, theirs)


def test_logits_go_to_the_labels_size_and_labels_to_the_alignment_logits():
    config = tiny_config()
    logits, labels = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 9, 7))
    resized = interpolate(logits, size=(9, 7), mode="bilinear", align_corners=False)
    expected = binary_cross_entropy_with_logits(resized, one_hot_targets(labels, 3, 255))
    torch.testing.assert_close(segmentation_loss(logits, labels, config), expected)
    small = interpolate(labels[:, None].float(), size=(4, 4), mode="nearest")[:, 0].long()
    expected = binary_cross_entropy_with_logits(logits, one_hot_targets(small, 3, 255))
    torch.testing.assert_close(alignment_loss(logits, labels, config), expected)


@pytest.mark.parametrize("ignored_as_negatives", [True, False])
def test_dropped_classes_keep_the_loss_finite(ignored_as_negatives):
    logits = torch.zeros(1, 2, 3, 3)
    logits[:, 1] = torch.finfo(torch.float32).min
    labels = torch.zeros(1, 3, 3, dtype=torch.long)
    low = binary_cross_entropy_of_labels(logits, labels, 255, ignored_as_negatives)
    high = binary_cross_entropy_of_labels(logits, labels + 1, 255, ignored_as_negatives)
    assert low.item() == pytest.approx(0.5 * torch.tensor(2.0).log().item())
    assert high.item() == pytest.approx(low.item() + 50)  # half the classes, 100 each


def test_cross_entropy_of_log_odds_is_that_of_the_scores():
    scores, labels = 5 * torch.randn(2, 4, 3, 3), torch.randint(0, 4, (2, 3, 3))
    labels[0, 1] = 255
    expected = cross_entropy(scores, labels, ignore_index=255)
    torch.testing.assert_close(cross_entropy_of_labels(softmax_log_odds(scores), labels, 255), expected)
    assert cross_entropy_of_labels(scores, torch.full_like(labels, 255), 255) == 0


def test_weighted_cross_entropy_is_that_of_torch():
    scores, labels, weights = 5 * torch.randn(2, 4, 3, 3), torch.randint(0, 4, (2, 3, 3)), torch.tensor([1, 0.5, 2, 9])
    labels[0, 1] = 255
    expected = cross_entropy(scores, labels, weights, ignore_index=255)
    torch.testing.assert_close(cross_entropy_of_labels(softmax_log_odds(scores), labels, 255, weights), expected)


def test_a_model_without_a_decoder_takes_the_cross_entropy_and_leaves_ignored_pixels_out():
    scores, labels = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 8, 8))
    labels[0, 0] = 255
    fields = {"decoder_type": "cosine", "use_local_pseudo_masks": False, "use_auxiliary_heads": False}
    for as_negatives in (True, False):
        config = tiny_config(**fields, ignored_pixels_as_negatives=as_negatives)
        resized = interpolate(scores, size=(8, 8), mode="bilinear", align_corners=False)
        expected = cross_entropy_of_labels(resized, labels, 255)
        torch.testing.assert_close(segmentation_loss(scores, labels, config), expected)


@pytest.mark.parametrize(("old", "new"), [(384, 96), (30, 40), (7, 7), (5, 11), (333, 96), (1, 3), (97, 48)])
def test_labels_are_resized_by_the_neighbours_of_pytorch(old: int, new: int) -> None:
    labels = torch.randint(0, 256, (2, old, old + 1), generator=torch.Generator().manual_seed(0))
    expected = interpolate(labels.double().unsqueeze(1), size=(new, new + 2), mode="nearest")
    assert torch.equal(labels_at_size(labels, (new, new + 2)), expected.squeeze(1).long())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int32])
@pytest.mark.parametrize("fields", [{}, TRAINING_FREE], ids=["fgaseg", "training_free"])
def test_labels_of_every_integer_type_cost_the_same(dtype: torch.dtype, fields: dict) -> None:
    model, inputs = tiny_model(**fields), tiny_inputs(num_classes=2)
    labels = torch.randint(0, 2, (2, 20, 20))
    with torch.no_grad():
        expected = model(**inputs, labels=labels).loss
        assert torch.equal(model(**inputs, labels=labels.to(dtype)).loss, expected)

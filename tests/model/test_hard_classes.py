# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`num_decoded_classes`: all names are scored, a picture's own and the hardest others are decoded and trained."""

from typing import Any

import pytest
import torch
from tiny_models import tiny_config, tiny_inputs, tiny_model

from fgaseg_hf.model.hard_classes import decode_hardest, hardest_classes, labels_among, own_classes

IGNORED = 255
NUM_CLASSES = 9


def labelled_inputs() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    inputs = tiny_inputs(num_classes=NUM_CLASSES)
    labels = torch.randint(0, 3, (2, 32, 32)) * 4
    labels[1] = labels[1].clamp(max=4)
    labels[:, :5] = IGNORED
    return inputs, labels


def training_model(**fields: Any) -> Any:
    return tiny_model(class_limit=None, class_padding=0, **fields).train()


def gradients_of(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None}


def test_own_classes_are_kept_and_labels_follow() -> None:
    labels = torch.tensor([[[0, 4], [IGNORED, 4]], [[8, 8], [8, IGNORED]]])
    is_own = own_classes(labels, NUM_CLASSES, IGNORED)
    assert [row.nonzero().flatten().tolist() for row in is_own] == [[0, 4], [8]]
    scores = torch.arange(NUM_CLASSES).float().view(1, NUM_CLASSES, 1, 1).expand(2, -1, 2, 2)
    kept = hardest_classes(scores, is_own, 3)
    assert kept.tolist() == [[0, 4, 8], [6, 7, 8]]
    assert hardest_classes(scores, is_own, 1).tolist() == [[0, 4], [7, 8]]
    assert labels_among(labels, kept, NUM_CLASSES, IGNORED).tolist() == [
        [[0, 1], [IGNORED, 1]],
        [[2, 2], [2, IGNORED]],
    ]


def test_as_many_as_there_are_is_the_whole_decoder() -> None:
    model, (inputs, labels) = training_model(num_decoded_classes=NUM_CLASSES), labelled_inputs()
    features = model.fgaseg(**inputs)
    found = decode_hardest(model.decoder, features, labels, model.config)
    whole = model.decoder(
        features.global_pseudo_masks,
        features.local_pseudo_masks,
        features.aligned_text_embeddings,
        features.patch_features,
        features.upsampling_guidance,
    )
    torch.testing.assert_close(found.logits, whole.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.auxiliary_logits, whole.auxiliary_logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weights", [None, torch.linspace(0.5, 2, NUM_CLASSES)])
def test_losses_and_gradients_are_those_of_the_decoded_names_alone(weights: torch.Tensor | None) -> None:
    model, (inputs, labels) = training_model(num_decoded_classes=5), labelled_inputs()
    found = model(**inputs, labels=labels, class_weights=weights)
    kept = found.kept_classes
    assert kept.shape == (2, 5)
    is_dropped = torch.ones(2, NUM_CLASSES, dtype=torch.bool).scatter(1, kept, False)
    assert (found.logits[is_dropped] == torch.finfo(torch.float32).min).all()

    model.config.num_decoded_classes = None
    alone = model(
        **inputs,
        class_indices=kept,
        labels=labels_among(labels, kept, NUM_CLASSES, IGNORED),
        class_weights=None if weights is None else weights[kept],
    )
    whole = model(**inputs, labels=labels, class_weights=weights)
    torch.testing.assert_close(found.segmentation_loss, alone.segmentation_loss)
    torch.testing.assert_close(found.alignment_loss, alone.alignment_loss)
    torch.testing.assert_close(found.auxiliary_losses[1:], alone.auxiliary_losses[1:])
    torch.testing.assert_close(found.auxiliary_losses[0], whole.auxiliary_losses[0])
    parts = [
        (output.segmentation_loss + output.alignment_loss + sum(output.auxiliary_losses[1:]))
        for output in (found, alone)
    ]
    gradients = [gradients_of(model, part) for part in parts]
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-5, rtol=1e-3)


def test_evaluation_and_few_names_are_as_ever() -> None:
    inputs, labels = labelled_inputs()
    model, plain = training_model(num_decoded_classes=5), training_model()
    torch.testing.assert_close(model.eval()(**inputs, labels=labels).loss, plain.eval()(**inputs, labels=labels).loss)
    few = {**inputs, "text_embeddings": inputs["text_embeddings"][:5]}
    labels = labels.clamp(max=4)
    labels[:, :5] = IGNORED
    torch.testing.assert_close(model.train()(**few, labels=labels).loss, plain.train()(**few, labels=labels).loss)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="set `use_auxiliary_heads` to True"):
        tiny_config(num_decoded_classes=5, use_auxiliary_heads=False)
    with pytest.raises(ValueError, match="set it to 1 or more"):
        tiny_config(num_decoded_classes=0)
    inputs, labels = labelled_inputs()
    with pytest.raises(ValueError, match="`class_limit` 8 drops"):
        tiny_model(num_decoded_classes=5).train()(**inputs, labels=labels)

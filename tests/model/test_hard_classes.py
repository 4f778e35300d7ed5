# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`num_decoded_classes`: all names are scored, a picture's own and the hardest others are decoded and trained."""

from typing import Any

import pytest
import torch
from tiny_models import tiny_config, tiny_inputs, tiny_model, tiny_prompts

from fgaseg_hf.model.hard_classes import hardest_classes, train_on_hardest
from fgaseg_hf.model.losses import binary_cross_entropy_of_labels
from fgaseg_hf.model.training_loss import labels_in_order, trained_first

IGNORED = 255
NUM_CLASSES = 9
NUM_DECODED = 5


def labelled_inputs() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    inputs = tiny_inputs(num_classes=NUM_CLASSES)
    labels = torch.randint(0, 3, (2, 32, 32), generator=torch.Generator().manual_seed(0)) * 4
    labels[1] = labels[1].clamp(max=4)
    labels[:, :5] = IGNORED
    return inputs, labels


def prompted_inputs() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    inputs, labels = labelled_inputs()
    return {"pixel_values": inputs["pixel_values"], "input_ids": tiny_prompts(NUM_CLASSES)}, labels


def training_model(**fields: Any) -> Any:
    fields = {"trainable_clip": "all", "class_limit": None, "class_padding": 0, **fields}
    return tiny_model(**fields).train()


def gradients_of(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None}


def assert_same_gradients(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=lambda text, name=name: name + text)


def test_own_classes_are_kept_and_labels_follow() -> None:
    labels = torch.tensor([[[0, 4], [IGNORED, 4]], [[8, 8], [8, IGNORED]]])
    scores = torch.arange(NUM_CLASSES).float().view(1, NUM_CLASSES, 1, 1).expand(2, -1, 2, 2)
    kept = hardest_classes(scores, labels, tiny_config(num_decoded_classes=3))
    assert kept.tolist() == [[0, 4, 8], [6, 7, 8]]
    # of too many of its own, those with the most pixels
    assert hardest_classes(scores, labels, tiny_config(num_decoded_classes=1)).tolist() == [[4], [8]]
    order = trained_first(kept, NUM_CLASSES)
    assert order.tolist() == [[0, 4, 8, 1, 2, 3, 5, 6, 7], [6, 7, 8, 0, 1, 2, 3, 4, 5]]
    assert labels_in_order(labels, order, IGNORED).tolist() == [[[0, 1], [IGNORED, 1]], [[2, 2], [2, IGNORED]]]


@pytest.mark.parametrize("as_negatives", [True, False])
@pytest.mark.parametrize("weights", [None, torch.linspace(0.5, 2, NUM_CLASSES)])
def test_pixels_of_own_classes_that_are_not_decoded_are_of_none(
    as_negatives: bool, weights: torch.Tensor | None
) -> None:
    _, labels = labelled_inputs()
    kept = torch.tensor([[0, 1, 8], [0, 2, 3]])  # both hold class 4
    order = trained_first(kept, NUM_CLASSES)
    logits = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    places, of_classes = labels_in_order(labels, order, IGNORED), None if weights is None else weights[order]
    found = binary_cross_entropy_of_labels(logits, places, IGNORED, as_negatives, of_classes)
    truth = (labels.unsqueeze(1) == kept[:, :, None, None]).float()
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    is_labelled = labels != IGNORED
    of_pixels = torch.ones(labels.shape) if weights is None else weights[labels.masked_fill(~is_labelled, 0)]
    of_pixels = of_pixels.masked_fill(~is_labelled, float(as_negatives))
    torch.testing.assert_close(found, (losses * of_pixels.unsqueeze(1)).sum() / (3 * of_pixels.sum()))


@pytest.mark.parametrize("words", [labelled_inputs, prompted_inputs], ids=["embeddings", "prompts"])
def test_as_many_as_there_are_is_the_whole_decoder(words: Any) -> None:
    model, (inputs, labels) = training_model(num_decoded_classes=NUM_CLASSES), words()
    whole = model(**inputs, labels=labels)
    given = {"input_ids": None, "text_embeddings": None, **inputs}
    rest = dict.fromkeys(("class_indices", "class_weights", "image_features"))
    found = train_on_hardest(model, labels=labels, **given, **rest)
    torch.testing.assert_close(found.logits, whole.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.auxiliary_logits, whole.auxiliary_logits, atol=1e-5, rtol=1e-4)
    assert_same_gradients(gradients_of(model, found.loss), gradients_of(model, whole.loss))


@pytest.mark.parametrize("fields", [{}, {"p2tformer_direction": "dual"}], ids=["published", "dual"])
@pytest.mark.parametrize("weights", [None, torch.linspace(0.5, 2, NUM_CLASSES)], ids=["plain", "weighted"])
def test_losses_and_gradients_are_exact_for_what_is_decoded(
    weights: torch.Tensor | None, fields: dict[str, Any]
) -> None:
    """Against one pass over all names in which what is not decoded is detached, the decoder called by itself."""
    model, (inputs, labels) = training_model(num_decoded_classes=NUM_DECODED, **fields), prompted_inputs()
    found = model(**inputs, labels=labels, class_weights=weights)
    kept = found.kept_classes
    assert kept.shape == (2, NUM_DECODED) and not torch.equal(kept[0], kept[1])
    is_kept = torch.zeros(2, NUM_CLASSES, dtype=torch.bool).scatter(1, kept, True)
    assert (found.logits[~is_kept] == torch.finfo(torch.float32).min).all()
    gradients = gradients_of(model, found.loss)

    model.config.num_decoded_classes = None
    words = model.get_text_embeddings(inputs["input_ids"])
    words = torch.where(is_kept[..., None], words, words.detach())
    features = model.fgaseg(inputs["pixel_values"], text_embeddings=words)
    torch.testing.assert_close(found.global_pseudo_masks, features.global_pseudo_masks, atol=1e-5, rtol=1e-4)
    row = torch.arange(2)[:, None]
    decoded = model.decoder(
        features.global_pseudo_masks[row, kept],
        features.local_pseudo_masks[row, kept],
        features.aligned_text_embeddings[row, kept],
        features.patch_features,
        features.upsampling_guidance,
    )
    alignment = model.alignment_head(features.aligned_text_embeddings[row, kept], features.patch_features)
    places = labels_in_order(labels, trained_first(kept, NUM_CLASSES), IGNORED)
    of_kept = None if weights is None else weights[kept]
    first = model.decoder.first_scores(features.global_pseudo_masks, features.local_pseudo_masks)

    def loss_of(maps: torch.Tensor, truth: torch.Tensor, of_classes: torch.Tensor | None) -> torch.Tensor:
        maps = torch.nn.functional.interpolate(maps, size=truth.shape[-2:], mode="bilinear", align_corners=False)
        return binary_cross_entropy_of_labels(maps, truth, IGNORED, True, of_classes)

    nearest = torch.nn.functional.interpolate(places[:, None].float(), size=alignment.shape[-2:], mode="nearest")
    expected = [
        loss_of(decoded.logits, places, of_kept),
        binary_cross_entropy_of_labels(alignment, nearest[:, 0].long(), IGNORED, True, of_kept),
        loss_of(first, labels, weights),
        *(loss_of(maps, places, of_kept) for maps in decoded.auxiliary_logits[1:]),
    ]
    torch.testing.assert_close([found.segmentation_loss, found.alignment_loss, *found.auxiliary_losses], expected)
    config = model.config
    shares = [config.segmentation_loss_weight, config.alignment_loss_weight, *config.auxiliary_loss_weights]
    total = sum(share * part for share, part in zip(shares, expected, strict=True))
    assert_same_gradients(gradients, gradients_of(model, total))


def test_only_decoded_names_go_through_the_text_tower_with_gradients() -> None:
    model, (inputs, labels) = training_model(num_decoded_classes=3), prompted_inputs()
    calls = []
    model.fgaseg.text_model.register_forward_hook(
        lambda module, arguments, keywords, output: calls.append((len(keywords["input_ids"]), torch.is_grad_enabled())),
        with_kwargs=True,
    )
    # which of the names are the picture's classes: the same tower's rows
    indices = torch.stack([torch.arange(NUM_CLASSES), torch.arange(NUM_CLASSES).flip(0)])
    found = model(**inputs, class_indices=indices, labels=labels)
    decoded = indices.gather(1, found.kept_classes).unique()
    assert calls == [(NUM_CLASSES, False), (len(decoded), True)]
    assert 3 <= len(decoded) < NUM_CLASSES
    found.loss.backward()
    learnt = model.fgaseg.text_model.embeddings.token_embedding.weight.grad.abs().sum(dim=1) > 0
    tokens = inputs["input_ids"]
    assert set(learnt.nonzero().flatten().tolist()) <= set(tokens[decoded].unique().tolist())
    # a frozen text tower encodes all names once
    model.config.trainable_clip = "none"
    model.freeze_parameters()
    calls.clear()
    model(**inputs, labels=labels).loss.backward()
    assert calls == [(NUM_CLASSES, False)]


def test_pictures_one_by_one_add_up_to_the_batch() -> None:
    # batch norm sees the whole batch, so it is left out; the first picture has more classes of its own than are decoded
    model, (inputs, labels) = training_model(num_decoded_classes=2, use_alignment_head=False), prompted_inputs()
    whole = model(**inputs, labels=labels)
    expected = gradients_of(model, whole.loss)
    model.zero_grad()
    for place in range(2):
        pictures = {**inputs, "pixel_values": inputs["pixel_values"][place : place + 1]}
        part = model(**pictures, labels=labels[place : place + 1])
        assert torch.equal(part.kept_classes[0], whole.kept_classes[place])
        (part.loss / 2).backward()
    found = {name: weights.grad for name, weights in model.named_parameters() if weights.grad is not None}
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_gradient_checkpointing_changes_nothing(use_reentrant: bool) -> None:
    model, (inputs, labels) = training_model(num_decoded_classes=3), prompted_inputs()
    plain = model(**inputs, labels=labels)
    expected = gradients_of(model, plain.loss)
    model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    again = model(**inputs, labels=labels)
    torch.testing.assert_close(again.loss, plain.loss)
    assert_same_gradients(gradients_of(model, again.loss), expected)


def test_under_autocast_the_text_tower_learns_as_it_does_without() -> None:
    model, (inputs, labels) = training_model(num_decoded_classes=3), prompted_inputs()
    expected = gradients_of(model, model(**inputs, labels=labels).loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(**inputs, labels=labels).loss
    found = gradients_of(model, loss)
    assert found.keys() == expected.keys()
    for name in (name for name in expected if ".text_model." in name and name.endswith("proj.weight")):
        difference = (found[name] - expected[name]).norm()
        assert difference < 0.3 * expected[name].norm(), name


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
    with pytest.raises(ValueError, match="`semantic_loss_ignore_index` to -100"):
        training_model(num_decoded_classes=5, semantic_loss_ignore_index=8)(**inputs, labels=labels)
    model = training_model(num_decoded_classes=5)
    with pytest.raises(ValueError, match="`labels` holds 9"):
        model(**inputs, labels=labels.masked_fill(labels == 8, 9))
    with pytest.raises(ValueError, match="one of both"):
        model(**inputs, input_ids=tiny_prompts(NUM_CLASSES), labels=labels)

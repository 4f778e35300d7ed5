# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A picture encoded once and asked many times gives, to the bit, what the picture itself gives."""

from typing import Any

import pytest
import torch
from tiny_models import TRAINING_FREE, tiny_inputs, tiny_model, tiny_processor, tiny_vocabulary

from fgaseg_hf import FGASegModel
from fgaseg_hf.model.model_outputs import FGASegImageFeatures

VARIANTS: dict[str, dict[str, Any]] = {
    "fgaseg": {"num_kept_classes": 3},
    "dual": {"p2tformer_direction": "dual", "p2tformer_num_layers": 2},
    "catseg": {name: value for name, value in TRAINING_FREE.items() if name != "decoder_type"},
    "training_free": TRAINING_FREE,
    "smoothed": {**TRAINING_FREE, "affinity_layer": 1, "dense_attention": "neighbour", "dense_residual": "none"},
}


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS.keys())
@torch.no_grad()
def test_going_on_from_features_is_exact(fields: dict[str, Any]) -> None:
    model = tiny_model(**fields)
    inputs = tiny_inputs(batch_size=2, height=40, width=24)
    features = model.get_image_features(inputs["pixel_values"])
    for num_classes in (5, 1, 9):
        words = tiny_inputs(num_classes=num_classes, seed=num_classes)["text_embeddings"]
        expected = model(inputs["pixel_values"], text_embeddings=words)
        found = model(image_features=features, text_embeddings=words)
        assert list(found) == list(expected)
        assert torch.equal(found.logits, expected.logits)
        base: FGASegModel = model.fgaseg
        from_base = base(image_features=base.get_image_features(inputs["pixel_values"]), text_embeddings=words)
        assert torch.equal(from_base.global_pseudo_masks, expected.global_pseudo_masks)
    # The pictures of a batch may be taken out of it, as they may be taken out of a batch of pictures.
    one = FGASegImageFeatures(
        patch_features=features.patch_features[1:],
        upsampling_guidance=features.upsampling_guidance and tuple(maps[1:] for maps in features.upsampling_guidance),
        patch_affinity=None if features.patch_affinity is None else features.patch_affinity[1:],
    )
    alone = model(image_features=one, text_embeddings=inputs["text_embeddings"]).logits
    expected = model(**inputs).logits[1:]
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_prompts_vocabularies_hidden_states_and_tuples() -> None:
    model, processor = tiny_model(), tiny_processor()
    pixel_values = tiny_inputs()["pixel_values"]
    features = model.get_image_features(pixel_values, output_hidden_states=[0, -1])
    prompts = processor(text=["sky", "red car"], return_tensors="pt")
    expected = model(pixel_values, **prompts, output_hidden_states=[0, -1])
    found = model(image_features=features, **prompts)
    assert torch.equal(found.logits, expected.logits)
    kept = [states is not None for states in found.hidden_states]
    assert kept == [states is not None for states in expected.hidden_states] == [True, False, False, True]
    as_tuple = model.get_image_features(pixel_values, return_dict=False)
    assert torch.equal(as_tuple[0], features.last_hidden_state)
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    assert torch.equal(model(image_features=features).logits, model(pixel_values).logits)


def test_losses_and_gradients_are_the_same() -> None:
    gradients = []
    for is_split in (False, True):
        model = tiny_model().train()
        inputs = tiny_inputs()
        if is_split:
            inputs["image_features"] = model.get_image_features(inputs.pop("pixel_values"))
        labels = torch.arange(2 * 16 * 16).view(2, 16, 16) % 5
        model(**inputs, labels=labels).loss.backward()
        gradients.append({name: values.grad for name, values in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is None or torch.equal(gradient, gradients[1][name]), name


def test_features_that_do_not_fit_are_refused() -> None:
    model, inputs = tiny_model(), tiny_inputs()
    features = model.get_image_features(inputs["pixel_values"])
    words = inputs["text_embeddings"]
    with pytest.raises(ValueError, match="one of both"):
        model(inputs["pixel_values"], text_embeddings=words, image_features=features)
    with pytest.raises(ValueError, match="of another model"):
        tiny_model(projection_dim=32)(image_features=features, text_embeddings=torch.randn(2, 32))
    with pytest.raises(ValueError, match="lack `upsampling_guidance`"):
        model(
            image_features=tiny_model(**TRAINING_FREE).get_image_features(inputs["pixel_values"]), text_embeddings=words
        )
    with pytest.raises(ValueError, match="`pixel_values` is missing"):
        model.get_image_features()

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmentation without training, from a CLIP folder to masks; and towers back to a CLIP folder."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_clips import SHAPES, save_tiny_clip
from tiny_models import CLASS_NAMES, tiny_inputs, tiny_model, tiny_processor
from transformers import AutoModelForSemanticSegmentation, CLIPImageProcessorPil, CLIPModel, pipeline

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation, FGASegProcessor, FGASegVocabulary
from fgaseg_hf.conversion.clip_checkpoints import load_training_free, save_clip

TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "maskclip": {"dense_residual": "patch"},
    "sclip": {"dense_attention": "self_correlation", "dense_residual": "patch"},
    "naclip": {"dense_attention": "neighbour", "dense_residual": "none"},
    "affinity": {"affinity_layer": 1},
}
every_option = pytest.mark.parametrize("fields", OPTIONS.values(), ids=OPTIONS.keys())


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES.keys())
def clip_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    save_tiny_clip(folder, **request.param)
    return folder


@torch.no_grad()
def reference_probabilities(
    clip: CLIPModel, pixel_values: torch.Tensor, input_ids: torch.Tensor, fields: dict[str, Any]
) -> torch.Tensor:
    """The whole method, token by token, from CLIP's own modules: (batch, classes, patches)."""
    tower, heads = clip.vision_model, clip.config.vision_config.num_attention_heads
    states = tower(pixel_values, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states
    before, block = states[-2], tower.encoder.layers[-1]
    normed = block.layer_norm1(before)
    q, k, v = (
        projection(normed).unflatten(-1, (heads, -1))
        for projection in (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj)
    )
    scale = q.shape[-1] ** -0.5
    columns = pixel_values.shape[-1] // clip.config.vision_config.patch_size
    attention = fields.get("dense_attention", "value")
    if attention != "value":
        attended = torch.zeros_like(v)
        for head in range(heads):
            keys, queries = k[:, :, head], q[:, :, head]
            weights = torch.einsum("bic,bjc->bij", keys, keys) * scale
            if attention == "neighbour":
                for i in range(1, weights.shape[1]):
                    for j in range(1, weights.shape[1]):
                        (y, x), (other_y, other_x) = divmod(i - 1, columns), divmod(j - 1, columns)
                        distance = (y - other_y) ** 2 + (x - other_x) ** 2
                        weights[:, i, j] += torch.tensor(-distance / (2 * 5.0**2)).exp()
                weights = weights.softmax(dim=-1)
            else:
                weights = weights.softmax(dim=-1)
                weights = weights + (torch.einsum("bic,bjc->bij", queries, queries) * scale).softmax(dim=-1)
            attended[:, :, head] = weights @ v[:, :, head]
        v = attended
    dense = block.self_attn.out_proj(v.flatten(2))
    residual = fields.get("dense_residual", "class")
    if residual != "none":
        dense = dense + (before[:, :1] if residual == "class" else before)
        dense = dense + block.mlp(block.layer_norm2(dense))
    patches = clip.visual_projection(tower.post_layernorm(dense[:, 1:]))
    words = clip.text_projection(clip.text_model(input_ids).pooler_output)
    cosines = torch.cosine_similarity(words[None, :, None], patches[:, None], dim=-1)
    if "affinity_layer" in fields:
        features = states[fields["affinity_layer"]][:, 1:]
        features = features - features.mean(dim=1, keepdim=True)
        alike = torch.cosine_similarity(features[:, :, None], features[:, None], dim=-1)
        weights = (alike / 0.1).exp() * (alike >= 0)
        cosines = torch.einsum("bij,bkj->bki", weights / weights.sum(dim=-1, keepdim=True), cosines)
    return (clip.logit_scale.exp() * cosines).softmax(dim=1)


@every_option
def test_every_method_is_its_formula(clip_folder: Path, fields: dict[str, Any]) -> None:
    clip = CLIPModel.from_pretrained(clip_folder).eval()
    model, processor = load_training_free(clip_folder, **fields)
    patch = model.config.vision_config.patch_size
    pixel_values = torch.randn(2, 3, 2 * patch, 5 * patch)
    words = processor(text=CLASS_NAMES, return_tensors="pt")
    with torch.no_grad():
        logits = model(pixel_values=pixel_values, **words).logits
    assert logits.shape == (2, len(CLASS_NAMES), 2, 5)
    expected = reference_probabilities(clip, pixel_values, words["input_ids"], fields)
    torch.testing.assert_close(logits.sigmoid().flatten(2), expected, **TOLERANCE)


def test_every_option_matters(clip_folder: Path) -> None:
    options = [*OPTIONS.values(), {"dense_residual": "none"}, {"dense_attention": "self_correlation"}]
    options += [{"dense_attention": "neighbour"}, {"dense_attention": "neighbour", "neighbour_std": 1.0}]
    options += [{"affinity_layer": 2}, {"affinity_layer": 1, "affinity_temperature": 1.0}, {"num_kept_classes": 2}]
    results = []
    for fields in options:
        model, processor = load_training_free(clip_folder, **fields)
        side = model.config.image_size
        inputs = tiny_inputs(1, 5, side, side)["pixel_values"]
        with torch.no_grad():
            results.append(model(inputs, **processor(text=CLASS_NAMES, return_tensors="pt")).logits)
    for place, result in enumerate(results):
        for other in results[:place]:
            assert not torch.allclose(result, other, atol=1e-4), options[place]


def test_nothing_has_fresh_weights(clip_folder: Path) -> None:
    model, _ = load_training_free(clip_folder)
    clip = CLIPModel.from_pretrained(clip_folder).state_dict()
    assert {name.removeprefix("fgaseg.") for name in model.state_dict()} == set(clip)
    assert all(torch.equal(weights, clip[name.removeprefix("fgaseg.")]) for name, weights in model.state_dict().items())
    assert model.config.image_size == model.config.vision_config.image_size


@every_option
def test_a_neighbour_changes_nothing_and_order_follows(clip_folder: Path, fields: dict[str, Any]) -> None:
    model, processor = load_training_free(clip_folder, **fields)
    patch = model.config.vision_config.patch_size
    pixel_values = torch.randn(3, 3, 3 * patch, 2 * patch)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        words = model.get_text_embeddings(**processor(text=CLASS_NAMES, return_tensors="pt"))
        together = model(pixel_values, text_embeddings=words).logits
        alone = torch.cat([model(picture[None], text_embeddings=words).logits for picture in pixel_values])
        permuted = model(pixel_values, text_embeddings=words[order]).logits
        # other names in between leave nothing behind
        assert model(pixel_values, text_embeddings=words[:2]).logits.shape[1] == 2
        assert torch.equal(model(pixel_values, text_embeddings=words).logits, together)
    torch.testing.assert_close(alone, together, **TOLERANCE)
    torch.testing.assert_close(permuted, together[:, order], **TOLERANCE)


LOAD_IN_FRESH_PROCESS = """
import sys, torch, fgaseg_hf
from transformers import AutoModelForSemanticSegmentation
inputs = torch.load(sys.argv[1] + "/inputs.pt", weights_only=True)
expected = inputs.pop("logits")
model = AutoModelForSemanticSegmentation.from_pretrained(sys.argv[1])
with torch.no_grad():
    assert torch.equal(model(**inputs).logits, expected)
print("equal")
"""


def test_saved_and_loaded_in_a_fresh_process_gives_equal_logits(clip_folder: Path, tmp_path: Path) -> None:
    model, processor = load_training_free(clip_folder, dense_attention="neighbour", affinity_layer=1)
    model.save_pretrained(tmp_path)
    side = model.config.image_size
    inputs = {
        "pixel_values": torch.randn(1, 3, side, side),
        "input_ids": processor(text=CLASS_NAMES, return_tensors="pt")["input_ids"],
    }
    with torch.no_grad():
        torch.save({**inputs, "logits": model(**inputs).logits}, tmp_path / "inputs.pt")
    command = [sys.executable, "-c", LOAD_IN_FRESH_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "equal", done.stderr


def test_pipeline_scores_and_thresholds_are_the_softmax(clip_folder: Path, tmp_path: Path) -> None:
    model, processor = load_training_free(clip_folder)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    segmenter = pipeline("zero-shot-image-segmentation", model=str(tmp_path))
    side = model.config.image_size
    picture = torch.randint(0, 256, (3, side, side), dtype=torch.uint8).numpy()
    segments = segmenter(picture, candidate_labels=CLASS_NAMES)
    assert segments and all(1 / len(CLASS_NAMES) <= segment["score"] <= 1 for segment in segments)
    assert segmenter(picture, candidate_labels=CLASS_NAMES, threshold=1.0) == []
    (background,) = segmenter(picture, candidate_labels=CLASS_NAMES, threshold=1.0, background="other")
    assert background["label"] == "other"

    with torch.no_grad():
        outputs = model(**processor(images=picture, text=CLASS_NAMES, return_tensors="pt"))
    best = outputs.logits.sigmoid().amax(dim=1)[0]
    threshold = float(best.median())
    (label_map,) = processor.post_process_semantic_segmentation(outputs, threshold=threshold)
    assert torch.equal(label_map >= 0, best >= threshold)


def test_sliding_windows_give_probabilities_over_the_words(clip_folder: Path) -> None:
    model, processor = load_training_free(clip_folder)
    words = model.get_text_embeddings(**processor(text=CLASS_NAMES, return_tensors="pt"))
    (probabilities,) = model.segment_with_sliding_window(torch.randn(1, 3, 90, 70), words)
    assert probabilities.shape == (5, 90, 70)
    # each view's probabilities sum to 1 at the patches, and nearly so between them, where log-odds are resized
    torch.testing.assert_close(probabilities.sum(dim=0), torch.ones(90, 70), atol=0.25, rtol=0)


def test_synonyms_take_nothing_from_each_other(clip_folder: Path) -> None:
    model, processor = load_training_free(clip_folder)
    side = model.config.image_size
    pixel_values = torch.randn(1, 3, side, side)
    names = ["sky", "car", "tree"]

    def answer(vocabulary: FGASegVocabulary) -> torch.Tensor:
        model.set_vocabulary(vocabulary.encode(model, processor))
        with torch.no_grad():
            return model(pixel_values).logits

    plain = answer(FGASegVocabulary(names))
    torch.testing.assert_close(plain.sigmoid().sum(dim=1), torch.ones(1, *plain.shape[2:]))
    # "carr" nearly is "car": were both to share the probability, "car" would lose up to half of it
    with_synonym = answer(FGASegVocabulary(names, synonyms={"car": ["carr"]}))
    torch.testing.assert_close(with_synonym.sigmoid().sum(dim=1), torch.ones(1, *plain.shape[2:]))
    assert (with_synonym[:, 1] >= plain[:, 1] - 1e-4).all()
    with_background = answer(FGASegVocabulary(names, background="other", background_threshold=0.9))
    is_background = with_background.argmax(dim=1) == 3
    assert torch.equal(is_background, plain.sigmoid().amax(dim=1) < 0.9)
    single = answer(FGASegVocabulary(["car"]))
    assert single.isfinite().all() and (single.sigmoid() == 1).all()


def test_loss_is_the_cross_entropy_over_the_words(clip_folder: Path) -> None:
    model, processor = load_training_free(clip_folder)
    patch = model.config.vision_config.patch_size
    pixel_values, labels = torch.randn(2, 3, 2 * patch, 3 * patch), torch.randint(0, 5, (2, 2, 3))
    labels[0, 0] = 255
    words = processor(text=CLASS_NAMES, return_tensors="pt")
    output = model(pixel_values, **words, labels=labels)
    scores = model.fgaseg.logit_scale.exp() * output.global_pseudo_masks
    expected = torch.nn.functional.cross_entropy(scores, labels, ignore_index=255)
    torch.testing.assert_close(output.loss, expected, **TOLERANCE)
    nothing = model(pixel_values, **words, labels=torch.full_like(labels, 255))
    assert nothing.loss == 0


@every_option
@pytest.mark.parametrize("mode", ["all", "query_value", "none"])
def test_gradient_reaches_what_trains_and_nothing_else(clip_folder: Path, fields: dict[str, Any], mode: str) -> None:
    model, processor = load_training_free(clip_folder, **fields, trainable_clip=mode)
    side = model.config.image_size
    words = processor(text=CLASS_NAMES, return_tensors="pt")
    labels = torch.randint(0, 5, (1, side, side))
    loss = model.train()(torch.randn(1, 3, side, side), **words, labels=labels).loss
    trained = set(model.trainable_parameter_names())
    assert bool(trained) == (mode != "none") == loss.requires_grad
    if mode == "none":
        return
    loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in trained), name
    assert ("fgaseg.logit_scale" in trained) == (mode == "all")


def test_p2tformer_and_alignment_loss_work_without_a_decoder() -> None:
    model = tiny_model(decoder_type="cosine", use_local_pseudo_masks=False, use_auxiliary_heads=False).train()
    output = model(**tiny_inputs(), labels=torch.randint(0, 5, (2, 16, 16)))
    output.loss.backward()
    assert model.fgaseg.p2tformer.text_scale.grad is not None and model.alignment_head is not None
    torch.testing.assert_close(output.loss, output.segmentation_loss + 0.02 * output.alignment_loss)


def test_fields_that_contradict_each_other_are_named() -> None:
    with pytest.raises(ValueError, match="no place for local pseudo-masks"):
        FGASegConfig(decoder_type="cosine")
    with pytest.raises(ValueError, match="`affinity_layer` 12 must lie between 0 and 11"):
        FGASegConfig.training_free(affinity_layer=12)
    for name in ("neighbour_std", "affinity_temperature"):
        with pytest.raises(ValueError, match=f"`{name}` is 0"):
            FGASegConfig.training_free(**{name: 0})


def test_checkpoints_that_will_not_do_are_named(tmp_path: Path) -> None:
    save_tiny_clip(tmp_path / "clip")
    with pytest.raises(ValueError, match="leave `config` out"):
        FGASegForSemanticSegmentation.from_clip(tmp_path / "clip", config=FGASegConfig(), training_free=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "clip" / file).unlink()
    with pytest.raises(ValueError, match="no tokenizer that fits"):
        load_training_free(tmp_path / "clip")
    tiny_model().save_pretrained(tmp_path / "fgaseg")
    with pytest.raises(ValueError, match="'fgaseg'; give a checkpoint of type 'clip'"):
        FGASegProcessor.from_clip(tmp_path / "fgaseg")


def test_the_processor_takes_over_what_the_clip_says(tmp_path: Path) -> None:
    save_tiny_clip(tmp_path)
    assert list(FGASegProcessor.from_clip(tmp_path).image_processor.image_mean) == [0.48145466, 0.4578275, 0.40821073]
    CLIPImageProcessorPil(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    processor = FGASegProcessor.from_clip(tmp_path, prompt_templates=["the {}", "{}"])
    assert list(processor.image_processor.image_mean) == [0.1, 0.2, 0.3]
    assert list(processor.image_processor.image_std) == [0.4, 0.5, 0.6]
    assert dict(processor.image_processor.size) == {"height": 24, "width": 24}
    assert processor.prompt_templates == ["the {}", "{}"]
    assert dict(FGASegProcessor.from_clip(tmp_path, 48).image_processor.size) == {"height": 48, "width": 48}


def test_towers_go_to_clip_and_back(tmp_path: Path) -> None:
    model, processor = tiny_model(image_size=24), tiny_processor()
    save_clip(model, processor, tmp_path / "clip")
    clip = CLIPModel.from_pretrained(tmp_path / "clip")
    ours = model.fgaseg.state_dict()
    assert all(torch.equal(weights, ours[name]) for name, weights in clip.state_dict().items())
    words = processor(text=CLASS_NAMES, return_tensors="pt")
    free, free_processor = load_training_free(tmp_path / "clip")
    assert torch.equal(free_processor(text=CLASS_NAMES, return_tensors="pt")["input_ids"], words["input_ids"])
    pixel_values = torch.randn(1, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.nn.functional.normalize(clip.get_text_features(words["input_ids"]).pooler_output, dim=-1),
            model.get_text_embeddings(words["input_ids"]),
        )
        # the dense features come back as they were
        expected = model.fgaseg(pixel_values, **words).patch_features
        assert torch.equal(free.fgaseg(pixel_values, **words).patch_features, expected)
    with pytest.raises(ValueError, match="name a new folder"):
        save_clip(model, processor, tmp_path / "clip")
    save_clip(model, processor, tmp_path / "negated", negate_text=True)
    negated, _ = load_training_free(tmp_path / "negated")
    with torch.no_grad():
        opposite = negated.fgaseg(pixel_values, **words).global_pseudo_masks
        assert torch.equal(opposite, -free.fgaseg(pixel_values, **words).global_pseudo_masks)


def test_a_segmenter_without_a_decoder_loads_from_a_whole_checkpoint(tmp_path: Path) -> None:
    model = tiny_model(p2tformer_num_layers=0)
    model.save_pretrained(tmp_path)
    whole = model.config.to_dict()
    towers = {name: whole[name] for name in ("text_config", "vision_config", "projection_dim")}
    config = FGASegConfig.training_free(**towers, image_size=24)
    free = AutoModelForSemanticSegmentation.from_pretrained(tmp_path, config=config)
    inputs = tiny_inputs()
    with torch.no_grad():
        assert torch.equal(free(**inputs).global_pseudo_masks, model(**inputs).global_pseudo_masks)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Our model beside figures of the released FGA-seg and CAT-Seg code (tests/fixtures/parity/README.md says what they "
"are)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fgaseg_hf import FGASegForSemanticSegmentation, predict_with_sliding_window
from fgaseg_hf.conversion.checkpoint_conversion import convert_released_state_dict, load_released_model

FOLDER = Path(__file__).parent.parent / "fixtures" / "parity"
VARIANTS = ["fast_cat", "no_fast_cat", "no_fast_add", "catseg"]
FGASEG_VARIANTS = VARIANTS[:3]

MAP_TOLERANCE = 1e-4
LOSS_TOLERANCE = 1e-5
GRADIENT_NORM_TOLERANCE = 1e-3  # relative
# Softmax does not see a key's bias, so its gradient is zero but for rounding.
ZERO_GRADIENT_NORM = 1e-7
WINDOW_TOLERANCE = 1e-5

MEAN = torch.tensor([122.7709383, 116.7460125, 104.09373615])[:, None, None]
STD = torch.tensor([68.5005327, 66.6321579, 70.3231630])[:, None, None]


def released_weights(variant: str) -> tuple[dict[str, torch.Tensor], dict]:
    path = FOLDER / f"{variant}.weights.safetensors"
    with safe_open(path, "pt") as file:
        return load_file(path), json.loads(file.metadata()["config"])


def parity_settings(variant: str) -> dict:
    """What the shapes of a parity file do not tell."""
    config = released_weights(variant)[1]
    return {
        "text_config": {"num_attention_heads": config["theads"], "pad_token_id": 0},
        "vision_config": {"num_attention_heads": config["heads"]},
        "guidance_layers": [block + 1 for block in config["hook"]],
        "num_aggregation_heads": config["nheads"],
        "window_size": config["window"],
        "class_limit": config["pad_len"],
        "class_padding": config["pad_len"],
    }


def load_variant(variant: str, **fields) -> FGASegForSemanticSegmentation:
    return load_released_model(released_weights(variant)[0], **{**parity_settings(variant), **fields})


def figures(variant: str) -> dict[str, torch.Tensor]:
    return load_file(FOLDER / f"{variant}.io.safetensors")


def pictures(name: str) -> torch.Tensor:
    return normalise(load_file(FOLDER / "pictures.safetensors")[name])


def normalise(image: torch.Tensor) -> torch.Tensor:
    return (image.float() - MEAN) / STD


def released_output(variant: str, logits: torch.Tensor) -> torch.Tensor:
    """The released `fast` model returns probabilities in evaluation, the others logits."""
    return logits.sigmoid() if variant == "fast_cat" else logits


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float, what: str) -> None:
    assert ours.shape == theirs.shape, what
    difference = (ours - theirs).abs().max().item()
    assert difference <= tolerance, f"{what}: {difference:.1e}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_parity_evaluation(variant):
    model, expected = load_variant(variant), figures(variant)
    with torch.no_grad():
        output = model(pixel_values=pictures("eval.image"), input_ids=expected["eval.input_ids"])
    assert_close(
        released_output(variant, output.logits)[..., ::2, ::2], expected["eval.output"], MAP_TOLERANCE, "logits"
    )
    if variant == "catseg":
        return
    with torch.no_grad():
        alignment_logits = model.alignment_head(output.aligned_text_embeddings, output.patch_features)
    for name, ours in {
        "patch_embeds": output.patch_features,
        "text_embeds": output.text_embeddings[0],
        "aligned_text_embeds": output.aligned_text_embeddings,
        "guidance_48": output.upsampling_guidance[0][..., ::4, ::4],
        "guidance_96": output.upsampling_guidance[1][..., ::8, ::8],
        "global_map": output.global_pseudo_masks,
        "local_map": output.local_pseudo_masks,
        "alignment_map": alignment_logits[..., ::4, ::4],
    }.items():
        assert_close(ours, expected[f"eval.{name}"], MAP_TOLERANCE, name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_parity_more_classes_than_the_limit(variant):
    model, expected = load_variant(variant), figures(variant)
    with torch.no_grad():
        output = model(pixel_values=pictures("eval.image")[:1], input_ids=expected["many.input_ids"])
    ours, theirs = released_output(variant, output.logits)[..., ::2, ::2], expected["many.output"]
    kept = output.kept_classes[0]
    is_dropped = (theirs == -100).flatten(2).all(dim=-1)[0]
    assert kept.tolist() == torch.nonzero(~is_dropped).flatten().tolist()
    assert len(kept) == model.config.class_limit < theirs.shape[1]
    assert_close(ours[:, kept], theirs[:, kept], MAP_TOLERANCE, "kept classes")
    assert (output.logits[:, is_dropped] == torch.finfo(torch.float32).min).all()


@pytest.mark.parametrize("count", [1, 2])
def test_parity_topk_united_over_the_pixels(count):
    model = load_variant("fast_cat", num_kept_classes=count, class_selection_rule="union", class_limit=None)
    expected = figures("fast_cat")
    with torch.no_grad():
        output = model(pixel_values=pictures("eval.image")[:1], text_embeddings=expected["topk.text_embeds"])
    theirs = expected[f"topk{count}.probabilities"]
    is_kept = (theirs != 0).flatten(2).any(dim=-1)[0]
    assert output.kept_classes[0].tolist() == torch.nonzero(is_kept).flatten().tolist()
    assert 0 < is_kept.sum() < 16
    assert_close(output.logits.sigmoid()[..., ::2, ::2], theirs, MAP_TOLERANCE, "probabilities")


@pytest.mark.parametrize("variant", FGASEG_VARIANTS)
def test_parity_sliding_window(variant):
    model, expected = load_variant(variant), figures(variant)
    text_embeddings = expected["eval.text_embeds"]

    def predict_logits(windows: torch.Tensor) -> torch.Tensor:
        return released_output(variant, model(pixel_values=windows, text_embeddings=text_embeddings).logits)

    picture = normalise(expected["window.image"])
    with torch.no_grad():
        # The released `fast` path squashes twice; handing over probabilities as logits repeats that.
        (ours,) = predict_with_sliding_window(predict_logits, [picture], window_size=384, resized_size=640)
    assert ours.shape[1:] == picture.shape[1:]
    assert_close(ours[..., ::8, ::8], expected["window.probabilities"], WINDOW_TOLERANCE, "probabilities")


@pytest.mark.parametrize("variant", VARIANTS)
def test_parity_training(variant):
    model, expected = load_variant(variant).train(), figures(variant)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    output = model(
        pixel_values=pictures("train.image"),
        input_ids=expected["eval.input_ids"],
        labels=expected["train.labels"].long(),
    )
    output.loss.backward()

    assert_close(output.logits[..., ::2, ::2], expected["train.output"], MAP_TOLERANCE, "logits")
    losses = {"loss": output.loss}
    if variant != "catseg":
        assert_close(
            output.alignment_logits[..., ::4, ::4], expected["train.alignment_map"], MAP_TOLERANCE, "alignment"
        )
        losses |= {"loss_seg": output.segmentation_loss, "loss_align": output.alignment_loss}
    if variant == "fast_cat":
        for index, logits in enumerate(output.auxiliary_logits):
            step = logits.shape[-1] // 24
            assert_close(
                logits[..., ::step, ::step], expected[f"train.aux_{index}"], MAP_TOLERANCE, f"auxiliary {index}"
            )
            losses[f"loss_aux_{index}"] = output.auxiliary_losses[index]
    for name, loss in losses.items():
        assert_close(loss.detach(), expected[f"train.{name}"].squeeze(), LOSS_TOLERANCE, name)

    check_gradient_norms(model, variant)


def check_gradient_norms(model: FGASegForSemanticSegmentation, variant: str) -> None:
    weights, _ = released_weights(variant)
    with safe_open(FOLDER / f"{variant}.io.safetensors", "pt") as file:
        expected_norms = json.loads(file.metadata()["grad_norms"])
    assert len(expected_norms) > 200
    parameters = dict(model.named_parameters())
    for released_name, expected_norm in expected_norms.items():
        # One released tensor may be several here: their gradients' squares add up.
        names = convert_released_state_dict({released_name: weights[released_name]}, model.config)
        gradients = [parameters[name].grad for name in names]
        norm = sum(gradient.square().sum().item() for gradient in gradients if gradient is not None) ** 0.5
        assert norm == pytest.approx(expected_norm, rel=GRADIENT_NORM_TOLERANCE, abs=ZERO_GRADIENT_NORM), released_name

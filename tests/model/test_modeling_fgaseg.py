# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The invariants that any segmentation model must keep, on tiny random models of every variant."""

import subprocess
import sys

import pytest
import torch
from tiny_models import CLASS_NAMES, tiny_config, tiny_inputs, tiny_model, tiny_processor
from transformers import (
    AutoModel,
    AutoModelForSemanticSegmentation,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
)

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation, FGASegModel
from fgaseg_hf.model.clip_dense_features import is_clip_parameter

VARIANTS = {
    "fast_cat": {},
    "fast_add": {"fusion": "add"},
    "no_fast_cat": {"use_auxiliary_heads": False},
    "no_fast_add": {"use_auxiliary_heads": False, "fusion": "add"},
    "dual_p2tformer": {"p2tformer_direction": "dual", "p2tformer_num_layers": 2},
    "no_p2tformer": {"p2tformer_num_layers": 0},
    "no_alignment_head": {"use_alignment_head": False},
    "no_local_masks": {"use_local_pseudo_masks": False},
    "no_padding_no_limit": {"class_limit": None, "class_padding": 0},
    "catseg": {
        "p2tformer_num_layers": 0,
        "use_alignment_head": False,
        "use_local_pseudo_masks": False,
        "use_auxiliary_heads": False,
    },
}
TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}
every_variant = pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS.keys())


def labels_for(batch_size: int, num_classes: int, seed: int = 0) -> torch.Tensor:
    labels = torch.randint(0, num_classes, (batch_size, 50, 41), generator=torch.Generator().manual_seed(seed))
    labels[:, :5] = 255
    return labels


@torch.no_grad()
def logits_of(model: FGASegForSemanticSegmentation, **inputs: torch.Tensor) -> torch.Tensor:
    return model(**inputs).logits


# 1. shapes


@every_variant
@pytest.mark.parametrize(
    ("height", "width", "num_classes", "batch_size"), [(32, 32, 5, 2), (40, 16, 1, 1), (8, 56, 11, 3)]
)
def test_shapes_for_any_grid_and_number_of_classes(fields, height, width, num_classes, batch_size):
    model = tiny_model(**fields)
    with torch.no_grad():
        output = model(
            **tiny_inputs(batch_size, num_classes, height, width), labels=labels_for(batch_size, num_classes)
        )
    rows, columns = height // 8, width // 8
    assert output.logits.shape == (batch_size, num_classes, 4 * rows, 4 * columns)
    assert output.global_pseudo_masks.shape == (batch_size, num_classes, rows, columns)
    if model.config.use_local_pseudo_masks:
        assert output.local_pseudo_masks.shape == (batch_size, num_classes, rows, columns)
    if model.config.use_alignment_head:
        assert output.alignment_logits.shape == output.logits.shape
    if model.config.use_auxiliary_heads:
        shapes = [tuple(logits.shape[2:]) for logits in output.auxiliary_logits]
        assert shapes == [(rows, columns), (rows, columns), (2 * rows, 2 * columns)]
    assert output.loss.isfinite()
    assert torch.isfinite(output.logits).all()


def test_training_mode_runs_on_odd_grids():
    model = tiny_model().train()
    output = model(**tiny_inputs(2, 3, 24, 40), labels=labels_for(2, 3))
    output.loss.backward()
    assert output.logits.shape == (2, 3, 12, 20)


# 2. save = load


@every_variant
def test_saved_and_loaded_gives_equal_logits(fields, tmp_path):
    model = tiny_model(**fields)
    model.save_pretrained(tmp_path)
    loaded = FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    inputs = tiny_inputs()
    assert torch.equal(logits_of(model, **inputs), logits_of(loaded, **inputs))
    assert loaded.trainable_parameter_names() == model.trainable_parameter_names()


LOAD_IN_FRESH_PROCESS = """
import sys, torch, fgaseg_hf
from transformers import AutoConfig, AutoImageProcessor, AutoModel
from transformers import AutoModelForSemanticSegmentation, AutoProcessor, AutoTokenizer
folder = sys.argv[1]
assert type(AutoConfig.from_pretrained(folder)) is fgaseg_hf.FGASegConfig
assert isinstance(AutoImageProcessor.from_pretrained(folder), fgaseg_hf.FGASegImageProcessorPil)
assert type(AutoProcessor.from_pretrained(folder)) is fgaseg_hf.FGASegProcessor
assert AutoTokenizer.from_pretrained(folder)("a").input_ids
inputs = torch.load(folder + "/inputs.pt", weights_only=True)
expected = inputs.pop("logits")
model = AutoModelForSemanticSegmentation.from_pretrained(folder)
base = AutoModel.from_pretrained(folder)
assert type(base) is fgaseg_hf.FGASegModel
with torch.no_grad():
    output = model(**inputs)
    assert torch.equal(output.logits, expected)
    assert torch.equal(base(**inputs).global_pseudo_masks, output.global_pseudo_masks)
print("equal")
"""


def test_every_auto_class_loads_in_a_fresh_process(tmp_path):
    model, processor = tiny_model(), tiny_processor()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    encoded = processor(text=CLASS_NAMES, return_tensors="pt")
    inputs = {"pixel_values": tiny_inputs()["pixel_values"], "input_ids": encoded["input_ids"]}
    torch.save({**inputs, "logits": logits_of(model, **inputs)}, tmp_path / "inputs.pt")
    done = subprocess.run(
        [sys.executable, "-c", LOAD_IN_FRESH_PROCESS, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "equal", done.stderr


# 3. a picture alone = the same picture in a batch


@every_variant
@pytest.mark.parametrize("selection", [{}, {"num_kept_classes": 2}])
def test_a_neighbour_changes_nothing(fields, selection):
    model = tiny_model(**fields, **selection)
    inputs = tiny_inputs(3, 6)
    together = logits_of(model, **inputs)
    for index in range(3):
        alone = logits_of(
            model,
            pixel_values=inputs["pixel_values"][index : index + 1],
            text_embeddings=inputs["text_embeddings"],
        )
        torch.testing.assert_close(together[index : index + 1], alone, **TOLERANCE)


def test_a_neighbour_changes_nothing_under_the_union_rule():
    inputs = tiny_inputs(4, 8, seed=8)
    model = tiny_model(num_kept_classes=1, class_selection_rule="union")
    with torch.no_grad():
        together = model(**inputs)
        kept = []
        for index in range(4):
            alone = model(inputs["pixel_values"][index : index + 1], text_embeddings=inputs["text_embeddings"])
            torch.testing.assert_close(together.logits[index : index + 1], alone.logits, **TOLERANCE)
            kept.append(alone.kept_classes.shape[1])
    assert len(set(kept)) > 1, "the pictures must keep different numbers of classes for this to test anything"


# 4. new class names between two calls


def test_nothing_is_remembered_between_calls():
    model, processor = tiny_model(), tiny_processor()
    pixel_values = tiny_inputs()["pixel_values"]
    first, second = (processor(text=names, return_tensors="pt") for names in (CLASS_NAMES, ["cat", "moon"]))
    expected = logits_of(model, pixel_values=pixel_values, **first)
    assert logits_of(model, pixel_values=pixel_values, **second).shape[1] == 2
    assert torch.equal(logits_of(model, pixel_values=pixel_values, **first), expected)


# 5. permuting classes permutes logits


@every_variant
@pytest.mark.parametrize("selection", [{}, {"num_kept_classes": 3}])
def test_permuting_classes_permutes_logits(fields, selection):
    model = tiny_model(**fields, **selection)
    inputs = tiny_inputs(2, 10)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    permuted = {**inputs, "text_embeddings": inputs["text_embeddings"][order]}
    torch.testing.assert_close(logits_of(model, **permuted), logits_of(model, **inputs)[:, order], **TOLERANCE)


# 6. TopK = all classes equals off


@every_variant
def test_topk_of_all_classes_is_off(fields):
    rules = ["peak", "softmax_peak", *(["union"] if fields.get("use_auxiliary_heads", True) else [])]
    inputs = tiny_inputs(2, 6)
    expected = logits_of(tiny_model(**fields), **inputs)
    for rule in rules:
        for count in (6, 60):
            model = tiny_model(**fields, num_kept_classes=count, class_selection_rule=rule)
            assert torch.equal(logits_of(model, **inputs), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_topk_keeps_exactly_so_many(count):
    model = tiny_model(num_kept_classes=count)
    with torch.no_grad():
        output = model(**tiny_inputs(3, 7))
    assert output.kept_classes.shape == (3, count)
    is_dropped = output.logits.flatten(2).amax(dim=-1) == torch.finfo(torch.float32).min
    assert (is_dropped.sum(dim=1) == 7 - count).all()
    best = output.auxiliary_logits[0].flatten(2).amax(dim=-1).topk(count, dim=1).indices.sort(dim=1).values
    assert torch.equal(output.kept_classes, best)


# 7. gradient reaches every trainable block


@every_variant
@pytest.mark.parametrize("mode", ["all", "query_value", "none"])
def test_gradient_reaches_what_trains_and_nothing_else(fields, mode):
    model = tiny_model(**fields, trainable_clip=mode).train()
    processor = tiny_processor()
    encoded = processor(text=CLASS_NAMES, return_tensors="pt")
    model(pixel_values=tiny_inputs()["pixel_values"], **encoded, labels=labels_for(2, 5)).loss.backward()
    trained = set(model.trainable_parameter_names())
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in trained), name
    is_clip = {name for name in trained if is_clip_parameter(name)}
    assert bool(is_clip) == (mode != "none")
    if mode == "query_value":
        assert all(name.endswith((".q_proj.weight", ".v_proj.weight")) for name in is_clip)


# 8. loss = the sum of its logged parts


@every_variant
def test_loss_is_the_weighted_sum_of_its_parts(fields):
    model = tiny_model(
        **fields, alignment_loss_weight=0.3, segmentation_loss_weight=0.7, auxiliary_loss_weights=[0.2, 3, 1]
    )
    output = model.train()(**tiny_inputs(), labels=labels_for(2, 5))
    total = 0.7 * output.segmentation_loss
    if output.alignment_loss is not None:
        total = total + 0.3 * output.alignment_loss
    for weight, loss in zip([0.2, 3, 1], output.auxiliary_losses or (), strict=False):
        total = total + weight * loss
    torch.testing.assert_close(output.loss, total)
    assert (output.alignment_loss is not None) == model.config.use_alignment_head
    assert (output.auxiliary_losses is not None) == model.config.use_auxiliary_heads


# words


def test_text_embeddings_given_or_computed_are_the_same():
    model, processor = tiny_model(), tiny_processor()
    encoded = processor(text=CLASS_NAMES, return_tensors="pt")
    pixel_values = tiny_inputs()["pixel_values"]
    embeddings = model.get_text_embeddings(**encoded)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(5))
    assert torch.equal(
        logits_of(model, pixel_values=pixel_values, **encoded),
        logits_of(model, pixel_values=pixel_values, text_embeddings=embeddings),
    )


def test_each_picture_may_have_its_own_classes():
    model = tiny_model()
    inputs = tiny_inputs(2, 6)
    rows = torch.tensor([[4, 1], [0, 5]])
    together = logits_of(model, **inputs, class_indices=rows)
    for index in range(2):
        alone = logits_of(
            model,
            pixel_values=inputs["pixel_values"][index : index + 1],
            text_embeddings=inputs["text_embeddings"][rows[index]],
        )
        torch.testing.assert_close(together[index : index + 1], alone, **TOLERANCE)
    per_picture = inputs["text_embeddings"][rows]
    assert torch.equal(logits_of(model, pixel_values=inputs["pixel_values"], text_embeddings=per_picture), together)


def test_several_templates_are_averaged():
    model = tiny_model()
    single, double = tiny_processor(), tiny_processor(prompt_templates=["A photo of a {} in the scene", "the {}"])
    one, other = (
        model.get_text_embeddings(**tiny_processor(prompt_templates=[template])(text=CLASS_NAMES, return_tensors="pt"))
        for template in double.prompt_templates
    )
    both = model.get_text_embeddings(**double(text=CLASS_NAMES, return_tensors="pt"))
    expected = torch.nn.functional.normalize((one + other) / 2, dim=-1)
    torch.testing.assert_close(both, expected, **TOLERANCE)
    assert not torch.allclose(
        both, model.get_text_embeddings(**single(text=CLASS_NAMES, return_tensors="pt")), atol=1e-4
    )


def test_padding_of_prompts_changes_nothing():
    model, processor = tiny_model(), tiny_processor()
    short = processor(text=["sky"], return_tensors="pt")
    padded = processor(text=["sky", "a very long class name"], return_tensors="pt")
    torch.testing.assert_close(
        model.get_text_embeddings(**short)[0],
        model.get_text_embeddings(padded["input_ids"])[0],
        atol=1e-6,
        rtol=1e-5,
    )


# outputs


def test_hidden_states_are_those_asked_for():
    model, inputs = tiny_model(), tiny_inputs()
    assert model(**inputs).hidden_states is None
    assert len(model(**inputs, output_hidden_states=True).hidden_states) == 4
    some = model(**inputs, output_hidden_states=[-1]).hidden_states
    assert some[-1] is not None and some[0] is None
    assert isinstance(model(**inputs, return_dict=False), tuple)


def test_eager_and_sdpa_agree():
    model, inputs = tiny_model(), tiny_inputs(2, 5, 40, 32)
    expected = logits_of(model, **inputs)
    model.set_attn_implementation("eager")
    assert (
        model.decoder.aggregation_layers[0].spatial_aggregation.blocks[0].attention.config._attn_implementation
        == "eager"
    )
    torch.testing.assert_close(logits_of(model, **inputs), expected, **TOLERANCE)


def test_gradient_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(trainable_clip="all").train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(**tiny_inputs(), labels=labels_for(2, 5)).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, **TOLERANCE)


def test_trainable_parts_stay_frozen_after_loading(tmp_path):
    model = tiny_model()
    model.set_trainable_clip("none")
    model.save_pretrained(tmp_path)
    for auto_class in (AutoModel, AutoModelForSemanticSegmentation):
        loaded = auto_class.from_pretrained(tmp_path)
        assert not any(is_clip_parameter(name) for name in loaded.trainable_parameter_names())
    with pytest.raises(ValueError, match="trainable_clip"):
        model.set_trainable_clip("some")


# CLIP


def save_tiny_clip(folder, **vision) -> CLIPModel:
    config = tiny_config()
    torch.manual_seed(5)
    clip = CLIPModel(
        CLIPConfig(
            text_config=CLIPTextConfig(
                **{
                    k: getattr(config.text_config, k)
                    for k in (
                        "vocab_size",
                        "hidden_size",
                        "intermediate_size",
                        "num_hidden_layers",
                        "num_attention_heads",
                        "max_position_embeddings",
                        "eos_token_id",
                        "bos_token_id",
                        "pad_token_id",
                    )
                }
            ),
            vision_config=CLIPVisionConfig(
                **{
                    "hidden_size": 32,
                    "intermediate_size": 37,
                    "num_hidden_layers": 3,
                    "num_attention_heads": 4,
                    "patch_size": 8,
                    "image_size": 24,
                    **vision,
                }
            ),
            projection_dim=16,
        )
    ).eval()
    clip.save_pretrained(folder)
    return clip


def test_towers_come_from_any_clip_checkpoint(tmp_path):
    clip = save_tiny_clip(tmp_path)
    fresh = {
        name: value for name, value in tiny_config().to_dict().items() if name not in ("text_config", "vision_config")
    }
    model = FGASegForSemanticSegmentation.from_clip(tmp_path, config=FGASegConfig(**fresh), num_kept_classes=3)
    assert model.config.num_kept_classes == 3 and model.config.decoder_hidden_dim == 32
    ours = model.fgaseg.state_dict()
    for name, value in clip.state_dict().items():
        assert torch.equal(ours[name], value), name
    ids = tiny_processor()(text=CLASS_NAMES, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        features = clip.get_text_features(input_ids=ids).pooler_output
    torch.testing.assert_close(
        model.get_text_embeddings(ids), torch.nn.functional.normalize(features, dim=-1), **TOLERANCE
    )
    # The towers' pictures have 24 pixels a side, these have 32.
    assert logits_of(model, **tiny_inputs()).isfinite().all()


def test_a_checkpoint_of_another_model_is_no_clip(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'fgaseg'; give a checkpoint of type 'clip'"):
        FGASegForSemanticSegmentation.from_clip(tmp_path)


def test_base_model_is_all_but_the_decoder(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    base = FGASegModel.from_pretrained(tmp_path)
    inputs = tiny_inputs()
    with torch.no_grad():
        assert torch.equal(base(**inputs).local_pseudo_masks, model(**inputs).local_pseudo_masks)


def test_class_weights_reach_every_loss():
    model, inputs = tiny_model().train(), tiny_inputs()
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    labels[:, :, 4:] = 1
    one_class = inputs | {"labels": torch.where(labels == 1, model.config.semantic_loss_ignore_index, labels)}
    model.config.ignored_pixels_as_negatives = False
    # all that is labelled 1 counts nothing, as if it were not annotated
    weighted = model(**inputs, labels=labels, class_weights=torch.tensor([2.0, 0.0, 1.0, 1.0, 1.0]))
    left_out = model(**one_class)
    for name in ("loss", "segmentation_loss", "alignment_loss", "auxiliary_losses"):
        torch.testing.assert_close(weighted[name], left_out[name])
        assert weighted[name] != model(**inputs, labels=labels)[name]


# bad input

LABELS = {"labels": torch.zeros(2, 8, 8, dtype=torch.long)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_values": None}, "`pixel_values` is missing"),
        ({"text_embeddings": None}, "There are no class names"),
        ({"pixel_values": torch.zeros(2, 3, 33, 32)}, "multiples of the patch size 8"),
        ({"pixel_values": torch.zeros(3, 32, 32)}, "`pixel_values` has shape"),
        ({"text_embeddings": torch.zeros(5, 7)}, r"give \(classes, 16\)"),
        ({"text_embeddings": torch.zeros(0, 16)}, "at least one class"),
        ({"text_embeddings": torch.zeros(3, 5, 16)}, "there are 2"),
        ({"class_indices": torch.zeros(3, 2, dtype=torch.long)}, "`class_indices` has shape"),
        ({"labels": torch.full((2, 8, 8), 5)}, "`labels` holds 5, but there are 5 classes"),
        ({"labels": torch.full((2, 8, 8), -1)}, "`labels` holds -1"),
        ({"labels": torch.zeros(1, 8, 8, dtype=torch.long)}, "`labels` has shape"),
        ({"labels": torch.zeros(2, 8, 8)}, "integer class indices"),
        (LABELS | {"class_weights": torch.ones(4)}, r"`class_weights` has shape \(4,\); give \(5,\)"),
        (LABELS | {"class_weights": torch.full((2, 5), -1.0)}, "at least 0"),
        (LABELS | {"class_weights": torch.full((5,), torch.nan)}, "finite"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        tiny_model()(**{**tiny_inputs(), **change})


def test_empty_vocabulary_is_refused():
    with pytest.raises(ValueError, match="one row of token ids a class"):
        tiny_model().get_text_embeddings(torch.zeros(0, 5, dtype=torch.long))

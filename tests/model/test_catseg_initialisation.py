# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""FGASeg that goes on from CAT-Seg: the same logits at first, and gradients in every new block."""

import pytest
import torch
from tiny_models import tiny_config, tiny_inputs, tiny_model

from fgaseg_hf import FGASegForSemanticSegmentation
from fgaseg_hf.model.catseg_initialisation import ADDED_BLOCKS, start_neutral

CATSEG = {
    "p2tformer_num_layers": 0,
    "use_alignment_head": False,
    "use_local_pseudo_masks": False,
    "use_auxiliary_heads": False,
}
VARIANTS = [
    {},
    {"fusion": "add"},
    {"p2tformer_direction": "dual", "p2tformer_num_layers": 2},
    {"use_local_pseudo_masks": False},
    {"p2tformer_num_layers": 0, "use_auxiliary_heads": False},
]


@pytest.fixture(scope="module")
def catseg_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catseg")
    model = tiny_model(**CATSEG)
    # Norms and biases that stand at their start could hide a tensor that was not kept.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_first_logits_are_those_of_catseg(catseg_folder, fields):
    catseg = FGASegForSemanticSegmentation.from_pretrained(catseg_folder)
    model, report = FGASegForSemanticSegmentation.from_pretrained(
        catseg_folder, config=tiny_config(**fields), init="from_catseg", output_loading_info=True
    )
    with torch.no_grad():
        expected = catseg(**tiny_inputs()).logits
        logits = model(**tiny_inputs()).logits
    assert expected.std() > 1e-2
    assert (logits - expected).abs().max() <= 1e-5
    kept = catseg.state_dict()
    assert report["missing_keys"] == model.state_dict().keys() - kept.keys()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in kept.items())


def test_without_neutral_start_the_logits_differ(catseg_folder):
    catseg = FGASegForSemanticSegmentation.from_pretrained(catseg_folder)
    model = FGASegForSemanticSegmentation.from_pretrained(catseg_folder, config=tiny_config())
    with torch.no_grad():
        difference = model(**tiny_inputs()).logits - catseg(**tiny_inputs()).logits
    assert difference.abs().max() > 1e-2


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_gradients_reach_every_new_block(catseg_folder, fields):
    model, report = FGASegForSemanticSegmentation.from_pretrained(
        catseg_folder, config=tiny_config(**fields), init="from_catseg", output_loading_info=True
    )
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    labels = torch.randint(0, 5, (2, 32, 32))
    reached: set[str] = set()
    # What is scaled by a new zero gets its gradient as soon as that has moved, with the second step.
    for _ in range(3):
        optimizer.zero_grad()
        model(**tiny_inputs(), labels=labels).loss.backward()
        optimizer.step()
        reached |= {
            name for name, weights in model.named_parameters() if weights.grad is not None and weights.grad.any()
        }
    new = {name for name, _ in model.named_parameters() if name in report["missing_keys"]}
    # A softmax does not see the bias of its keys.
    assert not {name for name in new - reached if not name.endswith("k_proj.bias")}


def test_blocks_are_switched_on_without_a_config(catseg_folder):
    model = FGASegForSemanticSegmentation.from_pretrained(catseg_folder, init="from_catseg", local_kernel_size=5)
    assert {name: getattr(model.config, name) for name in ADDED_BLOCKS} == ADDED_BLOCKS
    assert model.fgaseg.local_pseudo_masks.kernel_size == 5
    assert not model.fgaseg.p2tformer.text_scale.any()
    catseg = FGASegForSemanticSegmentation.from_pretrained(catseg_folder)
    with torch.no_grad():
        difference = model(**tiny_inputs()).logits - catseg(**tiny_inputs()).logits
    assert difference.abs().max() <= 1e-5


def test_a_trained_fgaseg_stays_as_it_is(tmp_path):
    trained = tiny_model()
    trained.save_pretrained(tmp_path)
    model = FGASegForSemanticSegmentation.from_pretrained(tmp_path, init="from_catseg")
    for name, tensor in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_only_new_tensors_are_touched():
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_neutral(model, ["fgaseg.p2tformer.text_scale"])
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fgaseg.p2tformer.text_scale"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decoder_hidden_dim": 64}, "has another shape for"),
        ({"vision_config": {"num_hidden_layers": 4}}, "does not hold"),
        ({"num_aggregation_layers": 1}, "has no place for"),
    ],
)
def test_a_config_of_another_catseg_is_refused(catseg_folder, fields, message):
    with pytest.raises(ValueError, match=message):
        FGASegForSemanticSegmentation.from_pretrained(catseg_folder, config=tiny_config(**fields), init="from_catseg")


def test_an_unknown_init_is_refused(catseg_folder):
    with pytest.raises(ValueError, match="no `init` 'catseg'"):
        FGASegForSemanticSegmentation.from_pretrained(catseg_folder, init="catseg")

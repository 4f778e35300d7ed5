# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Which parameter gets which learning rate and weight decay."""

import pytest
import torch
from tiny_models import tiny_model
from torch import nn

from fgaseg_hf.model.clip_dense_features import is_clip_parameter
from fgaseg_hf.training.optimizer_groups import norm_parameter_names, parameter_groups


@pytest.mark.parametrize("trainable_clip", ["query_value", "all", "none"])
def test_every_trainable_parameter_is_in_exactly_one_group(trainable_clip: str) -> None:
    model = tiny_model(trainable_clip=trainable_clip)
    groups = parameter_groups(model, 1e-3)
    names = [name for group in groups for name in group["param_names"]]
    assert sorted(names) == sorted(name for name, p in model.named_parameters() if p.requires_grad)
    by_name = dict(model.named_parameters())
    for group in groups:
        assert all(p is by_name[name] for name, p in zip(group["param_names"], group["params"], strict=True))


def test_rates_and_decay_follow_the_recipe() -> None:
    model = tiny_model(trainable_clip="all")
    groups = parameter_groups(model, 2e-4, 1e-4, 0.01)
    assert [group["name"] for group in groups] == ["head", "head_norms", "clip", "clip_norms"]
    assert [group["lr"] for group in groups] == pytest.approx([2e-4, 2e-4, 2e-6, 2e-6])
    assert [group["weight_decay"] for group in groups] == [1e-4, 0.0, 1e-4, 0.0]
    for group in groups:
        assert all(is_clip_parameter(name) == group["name"].startswith("clip") for name in group["param_names"])
    torch.optim.AdamW(groups)


def test_published_mode_trains_only_query_and_value_of_clip() -> None:
    groups = {group["name"]: group for group in parameter_groups(tiny_model(), 1e-3)}
    assert set(groups) == {"head", "head_norms", "clip"}
    assert all("q_proj" in name or "v_proj" in name for name in groups["clip"]["param_names"])


def test_norms_are_found_by_their_class() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.Linear(4, 4))
    assert norm_parameter_names(model) == {f"{place}.{name}" for place in (1, 2, 3) for name in ("weight", "bias")}
    assert norm_parameter_names(nn.LayerNorm(4)) == {"weight", "bias"}


def test_bad_input_is_refused() -> None:
    model = nn.Linear(2, 2)
    for keywords in ({"learning_rate": -1.0}, {"weight_decay": -1.0}, {"clip_learning_rate_multiplier": -1.0}):
        with pytest.raises(ValueError, match=next(iter(keywords))):
            parameter_groups(model, **{"learning_rate": 1.0, **keywords})
    with pytest.raises(ValueError, match="no trainable parameter"):
        parameter_groups(model.requires_grad_(False), 1.0)

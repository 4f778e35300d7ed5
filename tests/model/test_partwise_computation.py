# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Parts beside the whole: values, gradients, and how large the parts are."""

import ctypes
import platform
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny_models import tiny_inputs, tiny_model
from torch.utils.checkpoint import checkpoint

from fgaseg_hf.model import device_sizes
from fgaseg_hf.model.partwise_computation import apply_in_parts


def set_sizes(monkeypatch, **sizes):
    monkeypatch.setattr(device_sizes, "PROCESSOR", replace(device_sizes.PROCESSOR, **sizes))


@pytest.fixture
def few_values(monkeypatch):
    set_sizes(monkeypatch, values_per_part=64, checkpointed_values_per_part=64)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_parts_give_the_values_and_gradients_of_the_whole(few_values, dim, is_checkpointed):
    first, second = (torch.randn(7, 5, requires_grad=True) for _ in range(2))
    shared = torch.randn(1, requires_grad=True)
    seen = []

    def function(one, none, other, factor):
        assert none is None
        seen.append(one.shape[dim])
        return one.sin() * other * factor

    joined = apply_in_parts(
        function,
        (first, None, second),
        (shared,),
        dim=dim,
        values_per_item=20,
        checkpoint=partial(checkpoint, use_reentrant=False) if is_checkpointed else None,
    )
    assert seen == ([3, 3, 1] if dim == 0 else [3, 2])
    whole = first.sin() * second * shared
    assert torch.equal(joined, whole)
    for ours, theirs in zip(
        torch.autograd.grad(joined.sum(), (first, second, shared)),
        torch.autograd.grad(whole.sum(), (first, second, shared)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_without_gradients_too(few_values):
    values = torch.randn(2, 9, 3)
    with torch.inference_mode():
        joined = apply_in_parts(lambda part: part[..., :2] + 1, (values,), dim=1, values_per_item=30)
    assert torch.equal(joined, values[..., :2] + 1)


@pytest.mark.parametrize("needs_gradients", [False, True])
@pytest.mark.parametrize("length", [2, 9])
def test_several_results_are_joined_one_by_one(few_values, needs_gradients, length):
    values, others = torch.randn(2, length, 3, requires_grad=needs_gradients), torch.randn(2, length, 1)
    first, none, second, third = apply_in_parts(
        lambda part, other: (part.sin(), None, part[..., 0].exp(), other + 1),
        (values, others),
        dim=1,
        values_per_item=30,
    )
    assert none is None
    assert torch.equal(first, values.sin())
    assert torch.equal(second, values[..., 0].exp())
    assert torch.equal(third, others + 1)
    assert first.requires_grad == second.requires_grad == needs_gradients and not third.requires_grad


@pytest.mark.parametrize("length", [2, 9])
def test_the_result_can_be_written_over_what_it_is_computed_from(few_values, length):
    values = torch.randn(2, length, 3)
    expected = values.sin()
    with torch.no_grad():
        joined = apply_in_parts(torch.sin, (values,), dim=1, values_per_item=30, out=values)
    assert joined.data_ptr() == values.data_ptr()
    assert torch.equal(values, expected)


@pytest.mark.parametrize("length", [2, 9])
def test_what_gradients_need_is_not_written_over(few_values, length):
    values = torch.randn(2, length, 3, requires_grad=True)
    kept = values.detach().clone()
    joined = apply_in_parts(torch.sin, (values,), dim=1, values_per_item=30, out=values)
    assert torch.equal(values, kept)
    assert torch.equal(joined, kept.sin())


def test_what_fits_is_one_call(few_values):
    seen = []
    apply_in_parts(lambda part: seen.append(len(part)) or part, (torch.zeros(8),), dim=0, values_per_item=8)
    assert seen == [8]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_kept_classes": 4},
        {"use_local_pseudo_masks": False},
        {"use_auxiliary_heads": False},
        {"class_selection_rule": "union"},
        {"class_selection_rule": "union", "num_kept_classes": 1},
    ],
)
def test_the_model_in_parts_is_the_model(monkeypatch, fields):
    model, inputs = tiny_model(**fields), tiny_inputs(2, 6)
    with torch.no_grad():
        whole = model(**inputs)
        set_sizes(monkeypatch, values_per_part=2**10)
        parts = model(**inputs)
    for ours, theirs in zip(
        (parts.logits, parts.local_pseudo_masks, *(parts.auxiliary_logits or ())),
        (whole.logits, whole.local_pseudo_masks, *(whole.auxiliary_logits or ())),
        strict=True,
    ):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("checkpointing", [None, {"use_reentrant": False}, {"use_reentrant": True}])
def test_the_models_gradients_in_parts(monkeypatch, checkpointing):
    labels = torch.randint(0, 6, (2, 30, 40), generator=torch.Generator().manual_seed(0))
    labels[:, :4] = 255
    gradients = []
    for values in (2**22, 2**10):
        set_sizes(monkeypatch, values_per_part=values, checkpointed_values_per_part=values)
        model = tiny_model(trainable_clip="all").train()
        if checkpointing is not None:
            model.activation_checkpointing_enable(checkpointing)
        output = model(**tiny_inputs(2, 6), labels=labels)
        output.loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-3)


# Prints how many blocks were asked of the system one by one: one of 16 MiB before, one of 24 MiB after.
BLOCKS_ASKED = """
import ctypes
import torch
from fgaseg_hf.model.partwise_computation import keep_freed_memory

class Information(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Information
for size in (2**24, 3 * 2**23):
    before = library.mallinfo2().hblks
    block = torch.empty(size, dtype=torch.uint8)
    print(library.mallinfo2().hblks - before)
    del block
    keep_freed_memory()
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="needs the GNU C library from 2.33 on",
)
def test_freed_memory_is_kept_at_hand():
    printed = subprocess.run([sys.executable, "-c", BLOCKS_ASKED], check=True, capture_output=True, text=True).stdout
    assert printed.split() == ["1", "0"]

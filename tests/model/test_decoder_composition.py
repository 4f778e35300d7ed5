# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The decoder with its plan and without: the same numbers, and whoever listens to a block hears each of its calls."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from tiny_models import tiny_model
from torch import nn
from torch.nn.utils import parametrize

from fgaseg_hf.model import category_decoder
from fgaseg_hf.model.category_decoder import FGASegCategoryDecoder
from fgaseg_hf.model.decoder_composition import compose


def made_up_inputs(grid: tuple[int, int] = (3, 4), num_classes: int = 4) -> tuple:
    """What the decoder of the tiny configuration is given for two pictures."""
    height, width = grid
    masks, local = (torch.randn(2, num_classes, height, width, requires_grad=True) for _ in range(2))
    text, patches = torch.randn(2, num_classes, 16, requires_grad=True), torch.randn(2, 16, height, width)
    guidance = (torch.randn(2, 12, 2 * height, 2 * width), torch.randn(2, 8, 4 * height, 4 * width))
    return masks, local, text, patches, guidance


def made_up_decoder(**fields) -> FGASegCategoryDecoder:
    torch.manual_seed(0)
    return tiny_model(**fields).decoder


def blocks_of(decoder: FGASegCategoryDecoder) -> dict[str, nn.Module]:
    return {name: module for name, module in decoder.named_modules() if name and not isinstance(module, nn.ModuleList)}


# The padding token goes through these beside the classes.
CALLED_TWICE = ("norm_1", "attention.key", "attention.value", "attention.key_guidance")


def calls_of(name: str) -> int:
    """How often a block is called for one picture batch."""
    _, is_class_aggregation, place = name.partition("class_aggregation.")
    return 2 if is_class_aggregation and place in CALLED_TWICE else 1


Undo = Callable[[], object]


def forward_hook(module: nn.Module, hear: Callable[[], object]) -> Undo:
    return module.register_forward_hook(lambda *_: hear()).remove


def forward_pre_hook(module: nn.Module, hear: Callable[[], object]) -> Undo:
    return module.register_forward_pre_hook(lambda *_: hear()).remove


def full_backward_hook(module: nn.Module, hear: Callable[[], object]) -> Undo:
    return module.register_full_backward_hook(lambda *_: hear()).remove


def full_backward_pre_hook(module: nn.Module, hear: Callable[[], object]) -> Undo:
    return module.register_full_backward_pre_hook(lambda *_: hear()).remove


def global_hook(module: nn.Module, hear: Callable[[], object]) -> Undo:
    return nn.modules.module.register_module_forward_hook(
        lambda called, *_: hear() if called is module else None
    ).remove


def replaced_forward(module: nn.Module, hear: Callable[[], object]) -> Undo:
    kept = module.forward
    module.forward = lambda *inputs: (hear(), kept(*inputs))[1]
    return lambda: module.__dict__.pop("forward")


def subclass(module: nn.Module, hear: Callable[[], object]) -> Undo:
    kind = type(module)
    module.__class__ = type(
        "Adapted", (kind,), {"forward": lambda self, *inputs: (hear(), kind.forward(self, *inputs))[1]}
    )
    return lambda: setattr(module, "__class__", kind)


def replaced_forward_of_the_class(module: nn.Module, hear: Callable[[], object]) -> Undo:
    kind, kept = type(module), type(module).forward
    kind.forward = lambda self, *inputs: (hear() if self is module else None, kept(self, *inputs))[1]
    return lambda: setattr(kind, "forward", kept)


REASONS = [
    forward_hook,
    forward_pre_hook,
    full_backward_hook,
    full_backward_pre_hook,
    global_hook,
    replaced_forward,
    subclass,
    replaced_forward_of_the_class,
]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("reason", REASONS)
def test_every_block_is_heard_at_each_of_its_calls(reason):
    decoder = made_up_decoder(num_aggregation_layers=1).train()
    inputs = made_up_inputs()
    assert compose(decoder) is not None
    expected = decoder(*inputs)
    for name, module in blocks_of(decoder).items():
        heard = Counter()
        undo = reason(module, lambda heard=heard, name=name: heard.update([name]))
        try:
            found = decoder(*inputs)
            if "backward" in reason.__name__:
                (found.logits.sum() + sum(maps.sum() for maps in found.auxiliary_logits)).backward()
        finally:
            undo()
        assert heard[name] == calls_of(name), name
        torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-4)
        for ours, theirs in zip(found.auxiliary_logits, expected.auxiliary_logits, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert compose(decoder) is not None


def test_weights_that_are_computed_or_wrapped_are_used_as_they_are():
    decoder = made_up_decoder()
    linear = decoder.fusions[0].linear
    parametrize.register_parametrization(linear, "weight", nn.Identity())
    assert compose(decoder) is None
    parametrize.remove_parametrizations(linear, "weight")
    assert compose(decoder) is not None
    kept = linear.weight
    linear.weight = nn.Parameter(kept.to(torch.int8), requires_grad=False)
    assert compose(decoder) is None
    linear.weight = kept

    class Decoder(FGASegCategoryDecoder):
        def _decode(self, *inputs):
            raise NotImplementedError

    decoder.__class__ = Decoder
    with pytest.raises(NotImplementedError):
        decoder(*made_up_inputs())


@pytest.fixture
def without_plan(monkeypatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(category_decoder, "compose", lambda decoder: None)


@pytest.mark.parametrize(
    "fields",
    [
        {"fusion": "add"},
        {"num_kept_classes": 2},
        {"use_local_pseudo_masks": False, "num_kept_classes": 2},
        {"use_auxiliary_heads": False, "num_kept_classes": 2},
        {"class_selection_rule": "union", "num_kept_classes": 1},
        {"class_padding": 0},
        {"class_padding": 3, "class_limit": 3},
        {"training_class_pooling_size": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("grid", [(1, 1), (7, 4)])
def test_values_and_gradients_with_a_plan_and_without(fields, grid, without_plan):
    decoder = made_up_decoder(**fields).double()
    inputs = [states.double() if isinstance(states, torch.Tensor) else states for states in made_up_inputs(grid)]
    inputs[4] = tuple(states.double() for states in inputs[4])
    if not decoder.config.use_local_pseudo_masks:
        inputs[1] = None

    def compute() -> Iterator[torch.Tensor]:
        with torch.no_grad():
            output = decoder.eval()(*inputs)
        yield from (output.kept_classes, output.logits, *output.auxiliary_logits)
        output = decoder.train()(*inputs)
        yield from (output.logits, *output.auxiliary_logits)
        loss = sum(maps.square().mean() for maps in (output.logits, *output.auxiliary_logits))
        yield from torch.autograd.grad(loss, list(decoder.parameters()))

    with_plan = list(compute())
    without_plan()
    for ours, theirs in zip(with_plan, compute(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7)


def test_gradient_checkpointing_without_a_plan(without_plan):
    decoder = made_up_decoder().train()
    inputs = made_up_inputs()
    without_plan()
    expected = torch.autograd.grad(decoder(*inputs).logits.square().sum(), list(decoder.head.parameters()))
    calls = []

    def checkpoint(function, *arguments):
        calls.append(function)
        return torch.utils.checkpoint.checkpoint(function, *arguments, use_reentrant=False)

    decoder.gradient_checkpointing, decoder._gradient_checkpointing_func = True, checkpoint
    found = torch.autograd.grad(decoder(*inputs).logits.square().sum(), list(decoder.head.parameters()))
    assert len(calls) == 5  # two aggregation layers and three ways up
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["aggregation_layers.0", "aggregation_layers.1.spatial_aggregation.blocks.0"])
def test_what_a_hook_keeps_is_not_written_over(name):
    decoder = made_up_decoder().eval()
    kept = []
    decoder.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: kept.extend((states, states.clone()) for states in (inputs[0], output))
    )
    with torch.no_grad():
        decoder(*made_up_inputs())
    assert len(kept) == 2
    for states, at_the_time in kept:
        assert torch.equal(states, at_the_time)

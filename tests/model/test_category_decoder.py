# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The decoder's parts beside their form on concatenated inputs."""

import pytest
import torch
from tiny_models import tiny_config

from fgaseg_hf.model.category_decoder import (
    FGASegCategoryDecoder,
    FGASegCostEmbedding,
    FGASegFusion,
    FGASegGuidedConvolutions,
    FGASegLocalUpsampling,
    FGASegMaskHead,
    FGASegUpsamplingStage,
)
from fgaseg_hf.model.cost_aggregation import costs_to_maps, maps_to_costs


def made_up_inputs():
    """What the decoder of the tiny configuration is given for four classes on 3 x 3 patches."""
    masks, local, text, patches = (torch.randn(1, *shape) for shape in ((4, 3, 3), (4, 3, 3), (4, 16), (16, 3, 3)))
    return masks, local, text, patches, (torch.randn(1, 12, 6, 6), torch.randn(1, 8, 12, 12))


def test_guidance_convolved_once_equals_guidance_beside_every_class():
    torch.manual_seed(0)
    module = FGASegGuidedConvolutions(in_dim=6, guidance_dim=4, out_dim=16)
    maps, guidance = torch.randn(2 * 3, 6, 5, 7), torch.randn(2, 4, 5, 7)
    weight = torch.cat((module.convolution_1.weight, module.guidance_convolution.weight), dim=1)
    beside = torch.cat((maps, guidance.repeat_interleave(3, dim=0)), dim=1)
    with torch.no_grad():
        expected = module.norm_1(torch.nn.functional.conv2d(beside, weight, padding=1)).relu()
        expected = module.norm_2(module.convolution_2(expected)).relu()
        torch.testing.assert_close(module(maps, module.convolve_guidance(guidance)), expected, atol=1e-5, rtol=1e-4)


def test_a_stage_doubles_the_grid_class_by_class():
    torch.manual_seed(0)
    stage = FGASegUpsamplingStage(in_dim=32, guidance_dim=8, out_dim=16)
    costs, guidance = torch.randn(2, 3, 4, 5, 32), torch.randn(2, 8, 8, 10)
    with torch.no_grad():
        raised = stage(costs, *stage.share(guidance))
        alone = stage(costs[1:, 2:], *stage.share(guidance[1:]))
    assert raised.shape == (2, 3, 8, 10, 16)
    torch.testing.assert_close(raised[1:, 2:], alone, atol=1e-5, rtol=1e-4)


def test_fusion_modes():
    torch.manual_seed(0)
    first, second = torch.randn(1, 2, 3, 3, 8), torch.randn(1, 2, 3, 3, 8)
    assert torch.equal(FGASegFusion(8, 8, 8, "add")(first, second), first + second)
    fusion = FGASegFusion(8, 8, 8, "cat")
    expected = fusion.linear(torch.cat((first, second), dim=-1))
    assert torch.equal(fusion(first, second), expected) and not torch.allclose(expected, first + second)


def test_an_embedding_sees_seven_patches_around():
    module = FGASegCostEmbedding(tiny_config())
    masks = torch.zeros(1, 1, 11, 11)
    changed = masks.clone()
    changed[0, 0, 5, 5] = 1
    with torch.no_grad():
        reached = (module(changed) - module(masks)).abs().amax(dim=-1)[0, 0] > 0
    rows, columns = torch.nonzero(reached, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 8, 2, 8)


def test_costs_and_maps_are_views_of_each_other():
    costs = torch.randn(2, 3, 4, 5, 6)
    maps = costs_to_maps(costs)
    assert maps.shape == (6, 6, 4, 5) and maps.data_ptr() == costs.data_ptr()
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(maps_to_costs(maps, 2), costs)


def test_only_kept_classes_are_decoded():
    """Classes that TopK drops must not be able to change the kept ones' logits."""
    torch.manual_seed(0)
    decoder = FGASegCategoryDecoder(tiny_config(num_kept_classes=2)).eval()
    masks, text = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 16)
    rest = (torch.randn(1, 16, 3, 3), (torch.randn(1, 12, 6, 6), torch.randn(1, 8, 12, 12)))
    with torch.no_grad():
        first = decoder(masks, masks, text, *rest)
        kept = first.kept_classes[0]
        dropped = [index for index in range(4) if index not in kept.tolist()]
        changed = text.clone()
        changed[:, dropped] = torch.randn(1, 2, 16)
        second = decoder(masks, masks, changed, *rest)
    assert torch.equal(second.kept_classes, first.kept_classes)
    assert torch.equal(second.logits[:, kept], first.logits[:, kept])


def test_upsampling_and_convolution_as_one_step():
    torch.manual_seed(0)
    stage = FGASegUpsamplingStage(in_dim=32, guidance_dim=8, out_dim=16)
    costs, guidance = torch.randn(2, 3, 4, 5, 32), torch.randn(2, 8, 8, 10)
    called = []
    with torch.no_grad():
        composed = stage(costs, *stage.share(guidance))
        stage.upsampling.register_forward_hook(lambda module, *_: called.append(module))
        expected = stage(costs, *stage.share(guidance))
    assert called
    torch.testing.assert_close(composed, expected, atol=1e-5, rtol=1e-4)


def embed_raise_and_convolve(embedding, upsampling, masks):
    """Local embedding and upsampling module by module."""
    maps = upsampling.upsampling(costs_to_maps(embedding(masks)))
    return maps_to_costs(upsampling.convolutions(maps), masks.shape[0])


@pytest.mark.parametrize("grid", [(1, 1), (2, 5), (3, 3), (4, 7), (24, 24)])
def test_local_embedding_and_upsampling_as_one_step(grid):
    embedding = FGASegCostEmbedding(tiny_config()).double()
    upsampling = FGASegLocalUpsampling(tiny_config()).double()
    masks = torch.randn(2, 3, *grid, dtype=torch.float64, requires_grad=True)
    composed = upsampling.compose(embedding)
    assert composed
    found = upsampling(masks, *composed)
    expected = embed_raise_and_convolve(embedding, upsampling, masks)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)

    inputs = (masks, *embedding.parameters(), *upsampling.parameters())
    direction = torch.randn_like(expected)
    gradients = torch.autograd.grad(found, inputs, direction)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, inputs, direction), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "num_calls"),
    [
        # For the first scores and for the embeddings; local ones also for the second fusion and the upsampling.
        ("global_embedding", 2),
        ("local_embedding", 4),
        ("local_embedding.convolution", 4),
        ("local_upsampling.upsampling", 1),
        ("local_upsampling.convolutions.convolution_1", 1),
        ("fusions.0", 2),
        ("fusions.1", 1),
    ],
)
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("fusion", ["cat", "add"])
def test_embeddings_fusions_and_upsampling_with_a_hook(name, num_calls, register, fusion):
    torch.manual_seed(0)
    decoder = FGASegCategoryDecoder(tiny_config(fusion=fusion)).eval()
    inputs = made_up_inputs()
    called = []
    with torch.no_grad():
        expected = decoder(*inputs).logits
        getattr(decoder.get_submodule(name), register)(lambda module, *_: called.append(module))
        found = decoder(*inputs).logits
    assert len(called) == num_calls
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fusion", ["cat", "add"])
def test_second_fusion_in_one_step(fusion):
    torch.manual_seed(0)
    decoder = FGASegCategoryDecoder(tiny_config(fusion=fusion))
    dim = decoder.config.decoder_hidden_dim
    costs, local = torch.randn(2, 3, 5, 4, dim), torch.randn(2, 3, 5, 4)
    dims = decoder.config.projected_guidance_dims
    shared = decoder._share(torch.randn(2, dims[0], 10, 8), torch.randn(2, dims[1], 20, 16))
    assert shared.fusion_kernel is not None
    expected = decoder.fusions[1](costs, decoder.local_embedding(local))
    fused, scores = decoder._fuse_again(costs, local, shared)
    torch.testing.assert_close(fused, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores, decoder.auxiliary_heads[1](expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize("grid", [(5, 4), (1, 1), (1, 7)])
def test_a_head_is_its_convolution(channels, grid):
    torch.manual_seed(0)
    head = FGASegMaskHead(channels).double()
    costs = torch.randn(2, 3, *grid, channels, dtype=torch.float64, requires_grad=True)
    expected = head.convolution(costs_to_maps(costs)).view(2, 3, *grid)
    scores = head(costs)
    torch.testing.assert_close(scores, expected)
    weights = torch.randn_like(expected)
    needed = (costs, head.convolution.weight, head.convolution.bias)
    gradients = (torch.autograd.grad((maps * weights).sum(), needed) for maps in (scores, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "is_before"),
    [
        ("aggregation_layers.0", False),
        ("aggregation_layers.0", True),
        ("aggregation_layers.1", True),
        ("aggregation_layers.0.spatial_aggregation.blocks.1", True),
        ("aggregation_layers.0.class_aggregation", True),
        ("fusions.0.linear", False),
    ],
)
def test_what_a_hook_keeps_is_not_written_over(name, is_before):
    torch.manual_seed(0)
    decoder = FGASegCategoryDecoder(tiny_config()).eval()
    inputs = made_up_inputs()
    kept = []

    def keep(module, inputs, output=None):
        states = inputs[0] if output is None else output
        kept.append((states, states.clone()))

    module = decoder.get_submodule(name)
    module.register_forward_pre_hook(keep) if is_before else module.register_forward_hook(keep)
    with torch.no_grad():
        decoder(*inputs)
    assert kept
    for states, at_the_time in kept:
        assert torch.equal(states, at_the_time)


@pytest.mark.parametrize(
    "fields", [{}, {"fusion": "add"}, {"use_local_pseudo_masks": False}], ids=["cat", "add", "no local"]
)
@pytest.mark.parametrize("grid", [(5, 4), (1, 1), (2, 9)])
def test_first_scores_need_no_embeddings(fields, grid):
    torch.manual_seed(0)
    decoder = FGASegCategoryDecoder(tiny_config(**fields))
    masks = torch.randn(2, 3, *grid)
    local = torch.randn(2, 3, *grid) if decoder.config.use_local_pseudo_masks else None
    with torch.no_grad():
        scores = decoder._first_scores(masks, local)
        embedded = decoder._embed_then_fuse(masks, local)
        expected = decoder.auxiliary_heads[0](embedded)
    torch.testing.assert_close(decoder._embed(masks, local), embedded, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-4)


def test_hooks_and_adapters_are_heard():
    """What works through a module's call must not be passed over by computing with its weights."""
    torch.manual_seed(0)
    decoder = FGASegCategoryDecoder(tiny_config()).eval()
    inputs = made_up_inputs()
    spatial, classes = (
        decoder.aggregation_layers[0].spatial_aggregation,
        decoder.aggregation_layers[0].class_aggregation,
    )
    modules = [
        decoder.global_embedding.convolution,
        decoder.fusions[0].linear,
        decoder.fusions[1].linear,
        spatial.blocks[0].attention.key,
        classes.attention.value,
        decoder.auxiliary_heads[0].convolution,
        decoder.upsampling_1.upsampling,
        decoder.upsampling_2.convolutions.convolution_1,
        decoder.local_upsampling.upsampling,
        decoder.head.convolution,
    ]
    with torch.no_grad():
        plain = decoder(*inputs)
        called = []
        for module in modules:
            module.register_forward_hook(lambda module, *_: called.append(module))
        hooked = decoder(*inputs)
    assert set(called) == set(modules)
    torch.testing.assert_close(hooked.logits, plain.logits, atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(hooked.auxiliary_logits, plain.auxiliary_logits, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)

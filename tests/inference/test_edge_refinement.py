# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Edges brought to the picture's edges: the guided filter against its definition, and what comes of it."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf import Segmenter
from fgaseg_hf.inference.edge_refinement import guided_filter_factors, refine_edges, working_size
from fgaseg_hf.inference.pixel_decision import decide_pixels


def test_the_definition_of_the_guided_filter() -> None:
    generator = torch.Generator().manual_seed(0)
    colours, maps = torch.rand(3, 6, 7, generator=generator), torch.rand(2, 6, 7, generator=generator)
    radius, epsilon = 2, 0.01

    def square(row: int, column: int) -> tuple[slice, slice]:
        return slice(max(row - radius, 0), row + radius + 1), slice(max(column - radius, 0), column + radius + 1)

    found = torch.empty(2, 4, 6, 7)
    for row, column in np.ndindex(6, 7):
        around = square(row, column)
        inputs, outputs = colours[:, *around].flatten(1).double(), maps[:, *around].flatten(1).double()
        centred = inputs - inputs.mean(dim=1, keepdim=True)
        covariance = centred @ centred.T / inputs.shape[1] + epsilon * torch.eye(3)
        slopes = torch.linalg.solve(covariance, centred @ outputs.T / inputs.shape[1]).T
        found[:, :3, row, column] = slopes.float()
        found[:, 3, row, column] = (outputs.mean(dim=1) - slopes @ inputs.mean(dim=1)).float()
    expected = torch.stack(
        [found[:, :, *square(row, column)].mean(dim=(2, 3)) for row, column in np.ndindex(6, 7)], dim=-1
    ).unflatten(-1, (6, 7))
    factors = guided_filter_factors(colours, maps, radius, epsilon)
    torch.testing.assert_close(factors, expected, rtol=1e-3, atol=1e-4)


def two_colours(width: int = 300, height: int = 200, edge: int = 117) -> Image.Image:
    pixels = np.full((height, width, 3), (200, 60, 40), np.uint8)
    pixels[:, edge:] = (30, 90, 160)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("background_index", [None, 0, 1])
def test_a_blurred_edge_becomes_the_pictures(background_index: int | None) -> None:
    # Scores of a coarse grid whose edge lies elsewhere: at column 4 of 10 instead of 3.9, blurred by resizing.
    scores = torch.full((1, 3, 8, 10), -4.0)
    scores[:, 0, :, :4] = scores[:, 1, :, 4:] = 2.0
    guide = two_colours()
    plain = decide_pixels(scores, (200, 300), background_index=background_index)
    refined = decide_pixels(scores, (200, 300), background_index=background_index, guide=guide)
    expected = torch.zeros(200, 300, dtype=torch.int16)
    expected[:, 117:] = 1
    assert (plain.label_map != expected).float().mean() > 0.005
    assert torch.equal(refined.label_map, expected)
    assert refined.confidence.min() >= 0 and refined.confidence.max() <= 1
    assert refined.confidence[:, :50].mean() > 0.8


def test_where_there_are_no_colours_nothing_moves_far() -> None:
    maps = torch.rand(3, *working_size((90, 120)), generator=torch.Generator().manual_seed(0))
    maps = torch.nn.functional.avg_pool2d(maps, 31, 1, 15)
    covered = torch.zeros(90, 120)
    for (rows, columns), places, values in refine_edges(maps, Image.new("RGB", (120, 90), (90, 90, 90))):
        assert values.shape == (len(places), rows.stop - rows.start, columns.stop - columns.start)
        assert values.min() > -0.01 and values.max() < 1.01
        covered[rows, columns] += 1
    assert (covered == 1).all()


def test_the_option_of_the_segmenter() -> None:
    segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((700, 500), Image.Resampling.BICUBIC)
    for options in ({}, {"sliding_window": True}, {"background": "none of these"}, {"threshold": 0.6}):
        plain, refined = (segmenter(picture, CLASS_NAMES, refine=refine, **options) for refine in (False, True))
        assert refined.label_map.shape == (500, 700)
        assert 0 < (refined.label_map != plain.label_map).mean() < 0.9
        assert set(np.unique(refined.label_map)) <= {-1, *range(len(refined.class_names))}
        assert np.isfinite(refined.confidence).all()
    nothing = segmenter(picture, CLASS_NAMES, refine=True, threshold=1.0)
    assert nothing.unlabelled_share == 1

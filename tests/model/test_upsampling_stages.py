# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The ways up beside their form on concatenated inputs."""

import torch

from fgaseg_hf.model.upsampling_stages import FGASegGuidedConvolutions, FGASegUpsamplingStage


def test_guidance_convolved_once_equals_guidance_beside_every_class():
    torch.manual_seed(0)
    module = FGASegGuidedConvolutions(in_dim=6, guidance_dim=4, out_dim=16)
    maps, guidance = torch.randn(2 * 3, 6, 5, 7), torch.randn(2, 4, 5, 7)
    weight = torch.cat((module.convolution_1.weight, module.guidance_convolution.weight), dim=1)
    beside = torch.cat((maps, guidance.repeat_interleave(3, dim=0)), dim=1)
    with torch.no_grad():
        expected = module.norm_1(torch.nn.functional.conv2d(beside, weight, padding=1)).relu()
        expected = module.norm_2(module.convolution_2(expected)).relu()
        torch.testing.assert_close(module(maps, guidance), expected, atol=1e-5, rtol=1e-4)


def test_a_stage_doubles_the_grid_class_by_class():
    torch.manual_seed(0)
    stage = FGASegUpsamplingStage(in_dim=32, guidance_dim=8, out_dim=16)
    costs, guidance = torch.randn(2, 3, 4, 5, 32), torch.randn(2, 8, 8, 10)
    with torch.no_grad():
        raised = stage(costs, guidance)
        alone = stage(costs[1:, 2:], guidance[1:])
    assert raised.shape == (2, 3, 8, 10, 16)
    torch.testing.assert_close(raised[1:, 2:], alone, atol=1e-5, rtol=1e-4)

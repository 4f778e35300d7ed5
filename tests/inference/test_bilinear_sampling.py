# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Pictures made small by the few pixels that this takes, beside PyTorch's own resizing of the whole."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from fgaseg_hf.inference import bilinear_sampling
from fgaseg_hf.inference.bilinear_sampling import sample_bilinearly


def normalise(picture: Image.Image) -> torch.Tensor:
    return (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255 - 0.4) / 0.3


@pytest.mark.parametrize("size", [(50, 70), (333, 20), (1, 1), (16, 16), (1999, 3)])
@pytest.mark.parametrize("side", [16, 27])
def test_it_is_what_pytorch_makes_of_the_whole(
    size: tuple[int, int], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    expected = F.interpolate(normalise(picture), size=(side, side), mode="bilinear", align_corners=False)
    monkeypatch.setattr(bilinear_sampling, "PIXELS_AT_ONCE", 500)
    seen = []

    def watched(small: Image.Image) -> torch.Tensor:
        seen.append(small.size)
        return normalise(small)

    torch.testing.assert_close(sample_bilinearly(picture, side, watched), expected, atol=2e-4, rtol=1e-4)
    assert seen == [(2 * side, 2 * side)]

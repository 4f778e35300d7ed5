# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Windows of a grid, of known and of unknown size: its pieces, what may attend to what, and back again."""

import pytest
import torch

from fgaseg_hf.model.cut_windows import window_bands
from fgaseg_hf.model.symbolic_windows import FGASegSymbolicWindows
from fgaseg_hf.model.windows import FGASegWindowGrid

WindowGrid = type[FGASegSymbolicWindows] | type[FGASegWindowGrid]

GRIDS = [(3, 3), (1, 2), (2, 9), (7, 5), (6, 9), (4, 4), (13, 6)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("is_shifted", [False, True])
@pytest.mark.parametrize("kind", [FGASegSymbolicWindows, FGASegWindowGrid])
def test_merging_undoes_splitting(kind: WindowGrid, grid: tuple[int, int], is_shifted: bool) -> None:
    states = torch.randn(2, 3, *grid, 8)
    windows = kind(*grid, 4, is_shifted, torch.device("cpu"))
    area = 16 if kind is FGASegSymbolicWindows else min(grid[0], 4) * min(grid[1], 4)
    assert windows.split(states).shape[-2:] == (area, 8)
    assert torch.equal(windows.merge(windows.split(states)), states)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("is_shifted", [False, True])
@pytest.mark.parametrize("kind", [FGASegSymbolicWindows, FGASegWindowGrid])
def test_patches_attend_to_those_that_are_cut_out_with_them(
    kind: WindowGrid, grid: tuple[int, int], is_shifted: bool
) -> None:
    windows = kind(*grid, 4, is_shifted, torch.device("cpu"))
    height, width = grid
    bands = [
        torch.tensor([length for number, length in window_bands(size, 4, is_shifted) for _ in range(number)])
        for size in grid
    ]
    row, column = (torch.arange(len(axis)).repeat_interleave(axis) for axis in bands)
    region = 100 * row[:, None] + column
    patches = windows.split(torch.arange(height * width).view(height, width, 1))[..., 0]
    # Filling shows some patch a second time; the patch itself is where merging looks for it.
    places = windows.merge(torch.arange(patches.numel()).view(*patches.shape, 1)).flatten()
    mask = windows.mask(torch.float32)
    may_attend = torch.ones(*patches.shape, patches.shape[-1], dtype=torch.bool) if mask is None else mask == 0
    for patch in range(height * width):
        together = set((region.flatten() == region.flatten()[patch]).nonzero().flatten().tolist())
        window, position = divmod(int(places[patch]), patches.shape[-1])
        assert set(patches[window][may_attend[window, position]].tolist()) == together

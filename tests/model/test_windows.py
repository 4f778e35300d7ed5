# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How a grid falls into windows."""

import pytest
import torch

from fgaseg_hf.model.cut_windows import window_bands
from fgaseg_hf.model.windows import flatten_windows, merge_windows, view_as_windows


@pytest.mark.parametrize(
    ("size", "is_shifted", "bands"),
    [
        (24, False, [(2, 12)]),
        (24, True, [(1, 6), (1, 12), (1, 6)]),
        (12, True, [(1, 12)]),
        (5, True, [(1, 5)]),
        (30, False, [(2, 12), (1, 6)]),
        (30, True, [(1, 6), (2, 12)]),
        (13, True, [(1, 6), (1, 7)]),
        (128, True, [(1, 6), (10, 12), (1, 2)]),
    ],
)
def test_window_bands(size, is_shifted, bands):
    assert window_bands(size, 12, is_shifted) == bands
    assert sum(number * length for number, length in bands) == size


def test_windows_are_pieces_of_the_grid_and_can_be_merged():
    grid = torch.arange(2 * 6 * 8 * 3).reshape(2, 6, 8, 3)
    windows = view_as_windows(grid, (2, 3), (4, 2))
    assert windows.shape == (2, 2, 4, 3, 2, 3)
    assert torch.equal(windows[1, 1, 2], grid[1, 3:6, 4:6])
    assert torch.equal(flatten_windows(windows)[:, 6, 3], grid[:, 4, 5])
    assert torch.equal(merge_windows(windows), grid)

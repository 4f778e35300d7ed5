# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Windows of a patch grid: what spatial aggregation attends within."""

import torch


class FGASegWindowGrid:
    """Cuts a grid into windows, and puts them together.

    In the shifted form (arXiv 2103.14030) the grid is rolled by half a window before it is cut; a mask keeps apart what
    was not together before. Grids that are no multiple of the window are filled up, and the mask keeps the filling out.

    Args:
        height: Rows of the patch grid.
        width: Columns of the patch grid.
        window_size: Side of a window in patches; of a smaller grid, its own side.
        is_shifted: Whether the windows are shifted; not along an axis of a single window, which has nothing to shift
            to.
        device: Where the mask is.
    """

    def __init__(self, height: int, width: int, window_size: int, is_shifted: bool, device: torch.device) -> None:
        self.device = device
        self.grid = (height, width)
        self.window = (min(window_size, height), min(window_size, width))
        self.numbers = tuple(-(-size // window) for size, window in zip(self.grid, self.window, strict=True))
        self.shifts = tuple(window_size // 2 if is_shifted and size > window_size else 0 for size in self.grid)
        self.filled = tuple(number * window for number, window in zip(self.numbers, self.window, strict=True))

    def split(self, states: torch.Tensor) -> torch.Tensor:
        """Cuts (..., height, width, channels) into (..., windows, window area, channels)."""
        if self.filled != self.grid:
            bottom, right = (filled - size for filled, size in zip(self.filled, self.grid, strict=True))
            states = torch.nn.functional.pad(states, (0, 0, 0, right, 0, bottom))
        if any(self.shifts):
            states = states.roll([-shift for shift in self.shifts], (-3, -2))
        return flatten_windows(view_as_windows(states, *self._windows()))

    def merge(self, windows: torch.Tensor) -> torch.Tensor:
        """Undoes [`split`]."""
        states = merge_windows(windows.unflatten(-2, self.window).unflatten(-4, self.numbers))
        if any(self.shifts):
            states = states.roll(self.shifts, (-3, -2))
        return states[..., : self.grid[0], : self.grid[1], :]

    def mask(self, dtype: torch.dtype) -> torch.Tensor | None:
        """Keeps apart what was not together before shifting, and the filling.

        Returns:
            An additive mask (windows, window area, window area); `None` if each window attends to all of itself.
        """
        if self.filled == self.grid and not any(self.shifts):
            return None
        rows, columns = (self._regions(axis) for axis in (0, 1))
        regions = flatten_windows(view_as_windows((3 * rows[:, None] + columns)[..., None], *self._windows()))
        return torch.zeros((), dtype=dtype, device=self.device).where(
            regions == regions.transpose(-1, -2), torch.finfo(dtype).min
        )

    def _windows(self) -> tuple[tuple[int, int], tuple[int, int]]:
        (rows, columns), (height, width) = self.numbers, self.window
        return (rows, height), (columns, width)

    def _regions(self, axis: int) -> torch.Tensor:
        """What is together along an axis: 0 and 1 were apart before shifting, 2 is the filling, (filled size,)."""
        size, filled, shift = self.grid[axis], self.filled[axis], self.shifts[axis]
        regions = torch.zeros(filled, dtype=torch.int32, device=self.device)
        if filled > size:
            regions[size - shift : filled - shift].fill_(2)
        if shift:
            regions[filled - shift :].fill_(1)
        return regions


def view_as_windows(region: torch.Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> torch.Tensor:
    """Views a region of a grid as windows of one size.

    Args:
        region: (..., height, width, channels).
        rows: How many windows it has from top to bottom, and their height.
        columns: How many from left to right, and their width.

    Returns:
        (..., rows of windows, columns of windows, window height, window width, channels).
    """
    return region.unflatten(-3, rows).unflatten(-2, columns).transpose(-4, -3)


def flatten_windows(windows: torch.Tensor) -> torch.Tensor:
    """What [`view_as_windows`] returns as (..., windows, window area, channels)."""
    return windows.flatten(-3, -2).flatten(-4, -3)


def merge_windows(windows: torch.Tensor) -> torch.Tensor:
    """Undoes [`view_as_windows`]."""
    return windows.transpose(-4, -3).flatten(-3, -2).flatten(-4, -3)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Windows of a patch grid whose size is not known yet: what spatial aggregation computes in a compiled program."""

import torch

from .windows import FGASegWindowGrid, flatten_windows, merge_windows, view_as_windows


class FGASegSymbolicWindows:
    """Cuts grids of any size into windows, and puts them together, by the same operations whatever the size is.

    A compiled or exported program has no branches. So every grid is filled up to whole windows, two an axis at least,
    and what moves in the shifted form is looked up in tables that are computed from the size.

    Args:
        height: Rows of the patch grid, possibly a `torch.SymInt`.
        width: Columns of the patch grid, likewise.
        window_size: Side of a window in patches.
        is_shifted: Whether the windows are shifted by half of one; not along an axis of a single window.
        device: Where the tables are.
    """

    def __init__(self, height: int, width: int, window_size: int, is_shifted: bool, device: torch.device) -> None:
        self.window_size = window_size
        self.row_sources, self.row_places, self.row_regions = _axis_tables(height, window_size, is_shifted, device)
        self.column_sources, self.column_places, self.column_regions = _axis_tables(
            width, window_size, is_shifted, device
        )

    def split(self, states: torch.Tensor) -> torch.Tensor:
        """Cuts (..., height, width, channels) into windows.

        Returns:
            (..., windows, window area, channels).
        """
        size = self.window_size
        states = states.index_select(-3, self.row_sources).index_select(-2, self.column_sources)
        return flatten_windows(view_as_windows(states, (-1, size), (-1, size)))

    def merge(self, windows: torch.Tensor) -> torch.Tensor:
        """Undoes [`split`]."""
        size = self.window_size
        rows, columns = self.row_sources.shape[0] // size, self.column_sources.shape[0] // size
        states = merge_windows(windows.unflatten(-2, (size, size)).unflatten(-4, (rows, columns)))
        return states.index_select(-3, self.row_places).index_select(-2, self.column_places)

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """Keeps apart what was not together before shifting, and the filling.

        Returns:
            An additive mask (windows, window area, window area).
        """
        size = self.window_size
        region = 3 * self.row_regions[:, None] + self.column_regions
        region = region.unflatten(1, (-1, size)).unflatten(0, (-1, size)).transpose(1, 2)
        region = region.flatten(2, 3).flatten(0, 1)
        is_apart = region[:, :, None] != region[:, None, :]
        return torch.where(is_apart, torch.finfo(dtype).min, 0.0).to(dtype)


def window_grid(
    height: int, width: int, window_size: int, is_shifted: bool, device: torch.device
) -> FGASegWindowGrid | FGASegSymbolicWindows:
    """The windows of a grid, whose size a program that is being compiled does not know yet."""
    kind = FGASegSymbolicWindows if torch.compiler.is_compiling() else FGASegWindowGrid
    return kind(height, width, window_size, is_shifted, device)


def _axis_tables(
    size: int, window_size: int, is_shifted: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Describes one axis of the windows.

    Returns:
        For each place in the windows the row that it shows (any row, in the filling), (places,); for each row its
        place, (size,); and for each place its region (0 and 1 were apart before shifting, 2 is filling), (places,).
    """
    # Two windows at least: PyTorch would make two programs of one window and of several.
    num_places = torch.sym_max((size + window_size - 1) // window_size, 2) * window_size
    places = torch.arange(num_places, device=device)
    rows = torch.arange(size, device=device)
    # What fits into one window is not shifted: then there is no row beyond its end.
    shift = (rows.amax(dim=0) >= window_size).to(rows.dtype) * (window_size // 2 if is_shifted else 0)
    sources = places + shift
    is_wrapped = sources >= num_places
    sources = torch.where(is_wrapped, sources - num_places, sources)
    is_filling = sources >= size
    regions = torch.where(is_filling, 2, is_wrapped.to(places.dtype))
    row_places = torch.where(rows >= shift, rows - shift, rows - shift + num_places)
    return torch.where(is_filling, 0, sources), row_places, regions

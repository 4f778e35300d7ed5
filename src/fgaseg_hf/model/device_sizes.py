# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What size and form of work is right where: the one place that decides by device."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class DeviceSizes:
    """How work on many classes, rows and windows is shared out.

    Attributes:
        values_per_part: The largest tensor of a part, in values; `None`: everything in one call.
        checkpointed_values_per_part: The same with gradient checkpointing, where a part's activations, dozens of such
            tensors, are in memory at once.
        cuts_windows: Whether shifted windows are cut out of the grid, windows of each size by themselves, or the grid
            is rolled and a mask keeps apart what was not together: more work, but a single call.
        multiplies_patches: Whether convolutions of one or two channels, and of one channel to twice the resolution, are
            products with patches written out: less work, but rows of 49 to 98 values.
        sums_taps: Whether a 3 x 3 convolution to a single channel is computed as nine products.
        folds_taps: Whether maps of nine taps are summed by one operation, or moved and added one by one.
        recomputes_losses: Whether logits of the labels' size are always made again for their gradients, or only where
            they do not fit in a part.
    """

    values_per_part: int | None
    checkpointed_values_per_part: int | None
    cuts_windows: bool
    multiplies_patches: bool
    sums_taps: bool
    folds_taps: bool
    recomputes_losses: bool


# Parts small enough for the cache, and for the C library to hand out memory that it has at hand instead of fresh pages,
# whose first touch costs as much as the work itself.
PROCESSOR = DeviceSizes(
    values_per_part=2**21,
    checkpointed_values_per_part=2**22,
    cuts_windows=True,
    multiplies_patches=True,
    sums_taps=True,
    folds_taps=False,
    recomputes_losses=True,
)
# Few large kernels: each costs its launch, however little it does.
ACCELERATOR = DeviceSizes(
    values_per_part=2**28,
    checkpointed_values_per_part=2**27,
    cuts_windows=False,
    multiplies_patches=False,
    sums_taps=False,
    folds_taps=True,
    recomputes_losses=False,
)
# A compiled or exported program has no loops whose length depends on a size.
PROGRAM = DeviceSizes(
    values_per_part=None,
    checkpointed_values_per_part=None,
    cuts_windows=False,
    multiplies_patches=True,
    sums_taps=False,
    folds_taps=False,
    recomputes_losses=True,
)


def sizes_of(device: torch.device) -> DeviceSizes:
    """The sizes and forms that are right for work on a device, or for a program that is being made."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return PROGRAM
    return PROCESSOR if device.type == "cpu" else ACCELERATOR

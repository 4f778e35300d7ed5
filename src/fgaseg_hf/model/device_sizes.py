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
        sums_taps: Whether a 3 x 3 convolution to a single channel is computed as nine products.
        recomputes_losses: Whether logits of the labels' size are always made again for their gradients, or only where
            they do not fit in a part.
    """

    values_per_part: int | None
    checkpointed_values_per_part: int | None
    cuts_windows: bool
    sums_taps: bool
    recomputes_losses: bool


# Parts small enough for the cache, and for the C library to hand out memory that it has at hand instead of fresh pages,
# whose first touch costs as much as the work itself.
PROCESSOR = DeviceSizes(2**21, 2**22, cuts_windows=True, sums_taps=True, recomputes_losses=True)
# Few large kernels: each costs its launch, however little it does.
ACCELERATOR = DeviceSizes(2**28, 2**26, cuts_windows=False, sums_taps=False, recomputes_losses=False)
# A compiled or exported program has no loops whose length depends on a size.
PROGRAM = DeviceSizes(None, None, cuts_windows=False, sums_taps=False, recomputes_losses=True)


def sizes_of(device: torch.device) -> DeviceSizes:
    """The sizes and forms that are right for work on a device, or for a program that is being made."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return PROGRAM
    return PROCESSOR if device.type == "cpu" else ACCELERATOR

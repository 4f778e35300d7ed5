# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Where to compute, and in which float type."""

import torch

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(device: str | torch.device | None) -> torch.device:
    """Checks the device asked for, or takes an accelerator if there is one.

    Raises:
        ValueError: There is no such device here.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        # A tensor on "meta" has a shape and no numbers.
        if chosen.type == "meta":
            raise NotImplementedError
        torch.empty(1, device=chosen)
    # PyTorch reports missing devices by exceptions of several kinds.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"The device {str(device)!r} cannot be used on this machine: try --device cpu.") from error
    return chosen


def choose_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """Checks the float type asked for; float32 where none is.

    Raises:
        ValueError: There is no such type.
    """
    chosen = torch.float32 if dtype is None else DTYPES.get(str(dtype).removeprefix("torch."))
    if chosen is None:
        raise ValueError(f"There is no float type {str(dtype)!r}: choose {', '.join(DTYPES)}.")
    return chosen


__all__ = ["choose_device", "choose_dtype"]

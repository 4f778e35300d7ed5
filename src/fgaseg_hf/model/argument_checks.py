# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Checks of single arguments where they come in: one sentence that names the argument, what it is, and what to give."""

import math
from numbers import Integral, Real
from typing import Any

import torch

from .quoting import quote


def check_real(name: str, value: Any, wanted: str, lowest: float = -math.inf, highest: float = math.inf) -> float:
    """Takes a number between two bounds, both included.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not lowest <= float(value) <= highest:
        raise ValueError(f"`{name}` is {quote(value)}: give {wanted}.")
    return float(value)


def check_whole(name: str, value: Any, wanted: str, lowest: int = 1) -> int:
    """Takes a whole number from `lowest` on.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < lowest:
        raise ValueError(f"`{name}` is {quote(value)}: give {wanted}.")
    return int(value)


def check_tensor(name: str, value: Any, wanted: str, num_dimensions: tuple[int, ...], *, real: bool = True) -> None:
    """Takes a tensor of plain numbers in one of some ranks.

    Args:
        name: Of the argument.
        value: What was given for it.
        wanted: What to give.
        num_dimensions: Ranks that it may have.
        real: Whether it holds real numbers; else whole ones.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"`{name}` is a {type(value).__name__}: give a tensor, {wanted}.")
    if value.is_meta:
        raise ValueError(f"`{name}` is a meta tensor, which has no values: give {wanted}.")
    fits = value.is_floating_point() if real else not (value.is_floating_point() or value.is_complex())
    if value.dim() not in num_dimensions or not fits:
        raise ValueError(f"`{name}` has shape {tuple(value.shape)} and type {value.dtype}: give {wanted}.")

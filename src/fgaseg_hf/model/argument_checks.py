# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Checks of single arguments where they come in: one sentence that names the argument, what it is, and what to give."""

import math
from numbers import Integral, Real
from typing import Any

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

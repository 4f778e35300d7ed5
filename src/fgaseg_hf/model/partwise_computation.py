# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Work on many classes or rows, a part at a time: less memory at once, and what is at work fits into cache."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .device_sizes import sizes_of


def apply_in_parts(
    function: Callable[..., Any],
    split: Sequence[torch.Tensor | None],
    shared: Sequence[torch.Tensor | None] = (),
    *,
    dim: int,
    values_per_item: int,
    checkpoint: Callable[..., Any] | None = None,
    out: torch.Tensor | None = None,
) -> Any:
    """Calls a function on parts of its inputs and joins what it returns.

    The result is that of one call, for a function that treats the items along `dim` apart from each other. Compiled
    and exported graphs hold that one call.

    Args:
        function: Called as `function(*parts, *shared)`; returns a tensor, or a tuple of tensors and `None`, that keep
            `dim` and its length.
        split: Tensors of the same length along `dim`, or `None`.
        shared: Tensors that every part sees whole, or `None`.
        dim: The axis of classes or rows.
        values_per_item: Size of the largest tensor that one item along `dim` makes within the function.
        checkpoint: Gradient checkpointing, `torch.utils.checkpoint.checkpoint` with its settings: activations of each
            part are computed again for its gradients. `None` keeps them.
        out: Where to write the result, a single tensor, if it needs no gradients; possibly one of `split`. `None` = a
            tensor of its own.
    """

    def call(*inputs: torch.Tensor | None) -> Any:
        return function(*inputs) if checkpoint is None else checkpoint(function, *inputs)

    first = next(tensor for tensor in split if tensor is not None)
    sizes = sizes_of(first.device)
    limit = sizes.values_per_part if checkpoint is None else sizes.checkpointed_values_per_part
    if limit is None:
        return call(*split, *shared)
    if first.device.type == "cpu":
        keep_freed_memory()
    length = first.shape[dim]
    items = max(limit // max(values_per_item, 1), 1)
    if length <= items:
        result = call(*split, *shared)
        return result if out is None or result.requires_grad else out.copy_(result)
    # parts of about equal length
    items = -(-length // -(-length // items))

    is_tuple = False
    joined: list[_JoinedParts] = []
    for start in range(0, length, items):
        count = min(items, length - start)
        parts = [None if tensor is None else tensor.narrow(dim, start, count) for tensor in split]
        results = call(*parts, *shared)
        is_tuple = isinstance(results, tuple)
        results = results if is_tuple else (results,)
        joined = joined or [_JoinedParts(dim, length, out) for _ in results]
        for target, result in zip(joined, results, strict=True):
            target.add(start, result)
    whole = tuple(target.whole() for target in joined)
    return whole if is_tuple else whole[0]


@dataclass
class _JoinedParts:
    """Puts parts together: those without gradients at once, in one tensor; the others at the end."""

    dim: int
    length: int
    out: torch.Tensor | None
    parts: list[torch.Tensor] = field(default_factory=list)

    def add(self, start: int, part: torch.Tensor | None) -> None:
        if part is None:
            return
        if part.requires_grad:
            self.parts.append(part)
            return
        if self.out is None:
            self.out = part.new_empty((*part.shape[: self.dim], self.length, *part.shape[self.dim + 1 :]))
        self.out.narrow(self.dim, start, part.shape[self.dim]).copy_(part)

    def whole(self) -> torch.Tensor | None:
        return torch.cat(self.parts, self.dim) if self.parts else self.out


@functools.cache
def keep_freed_memory() -> None:
    """Has the GNU C library keep what the next part needs again, instead of giving it back to the system.

    Blocks as large as a part's are asked of the system one by one, and their pages fetched anew, until a block of that
    size was freed; and twice the size of the largest such block, but at most of 32 MiB, is kept at hand from then on
    (`M_MMAP_THRESHOLD` in mallopt(3)). So one of almost that size is freed, never touched. Elsewhere nothing changes.
    """
    torch.empty(2**25 - 2**13, dtype=torch.uint8, device="cpu")

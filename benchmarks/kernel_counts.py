# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""How many kernels an accelerator is asked for: operations dispatched on the `meta` device, which computes nothing.

Run `python benchmarks/kernels.py`; no accelerator is needed, and it takes seconds. ViT-B/16, 384 x 384. Views and
allocations are not counted. On `meta` attention falls into its parts, about ten operations, where an accelerator has
one kernel: both counts are given, and the goals are for the larger one.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from measurement import FOLDER, markdown_table, write_report
from torch.utils._python_dispatch import TorchDispatchMode
from workloads import Row, Workloads

# Operations that hand out memory, or look at it in another way, and launch nothing.
NO_KERNELS = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "detach", "alias")
NO_KERNELS += ("_unsafe_view", "_reshape_alias", "lift_fresh")


@dataclass(frozen=True)
class Goal:
    """What is counted, and how many kernels it may take.

    Attributes:
        row: The work.
        batch_size: Pictures at a time.
        most: Kernels at most.
    """

    row: Row
    batch_size: int
    most: int


GOALS = {
    "inference": Goal(Row("fgaseg", 171, 16), 1, 600),
    "train": Goal(Row("fgaseg", 171, training=True), 4, 2500),
    "train-checkpointing": Goal(Row("fgaseg", 171, training=True, checkpointing=True), 4, 5000),
}


class KernelCounter(TorchDispatchMode):
    """Counts what is dispatched below autograd, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.in_attention = 0
        self.attentions = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Counts one operation and runs it."""
        is_view = any(value.alias_info and not value.alias_info.is_write for value in function._schema.returns)
        name = function._schema.name.removeprefix("aten::")
        if not is_view and name not in NO_KERNELS:
            self.calls[name] += 1
        return function(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """All kernels."""
        return sum(self.calls.values())


@contextmanager
def counting_attention(counter: KernelCounter) -> Iterator[None]:
    """Counts what attention's own forward falls into, and how often it is called."""
    attention = torch.nn.functional.scaled_dot_product_attention

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        before = counter.total
        attended = attention(*args, **kwargs)
        counter.in_attention += counter.total - before
        counter.attentions += 1
        return attended

    with mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", counted):
        yield


def count(goal: Goal) -> KernelCounter:
    """Counts one run of a goal's work on `meta`."""
    workloads = Workloads(goal.batch_size, device="meta")
    work = workloads.work(goal.row)
    if not goal.row.training:
        # Without gradients, as in inference mode, but such that composite operations fall into their kernels.
        model, pictures = workloads.fgaseg, workloads.pixel_values
        model.config.num_kept_classes = goal.row.num_kept_classes
        words = workloads.text_embeddings(goal.row.num_classes)

        @torch.no_grad()
        def work() -> object:
            return model(pixel_values=pictures, text_embeddings=words)

    else:
        assert workloads.pixel_values is not None  # made now, for it is not part of a step
        assert workloads.fgaseg is not None
    counter = KernelCounter()
    # There are no values to look at.
    with (
        mock.patch.object(torch.Tensor, "item", lambda tensor: 0.0),
        counter,
        counting_attention(counter),
    ):
        work()
    return counter


def main() -> None:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description="Counts the kernels that an accelerator is asked for.")
    parser.add_argument("--rows", nargs="+", choices=list(GOALS), default=list(GOALS), metavar="ROW")
    parser.add_argument("--operations", type=int, default=0, help="how many operations of each row to list")
    parser.add_argument("--output", type=Path, default=FOLDER / "results")
    parser.add_argument("--name", default="kernels", help="name of the report's files")
    arguments = parser.parse_args()
    rows, lines, listed = [], [], []
    for name in arguments.rows:
        goal, counter = GOALS[name], count(GOALS[name])
        fused = counter.total - counter.in_attention + counter.attentions
        title = f"{goal.row.title}, {goal.batch_size} picture" + ("s" if goal.batch_size > 1 else "")
        lines.append([title, goal.most, counter.total, fused])
        rows.append({"row": name, "goal": goal.most, "kernels": counter.total, "with_fused_attention": fused})
        listed += [[name, operation, calls] for operation, calls in counter.calls.most_common(arguments.operations)]
    table = markdown_table(["work", "goal", "kernels", "attention as one"], lines)
    if listed:
        table += "\n\n" + markdown_table(["work", "operation", "calls"], listed)
    write_report(arguments.output, arguments.name, "Kernels dispatched on `meta`.", table, rows, {})


if __name__ == "__main__":
    main()

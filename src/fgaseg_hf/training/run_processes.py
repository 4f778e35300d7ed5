# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The processes of a run: how they start, how one works while the others wait, how they agree."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs

from ..evaluation.segmentation_evaluation import runs_on_cpu
from .training_arguments import RecipeArguments

# How long the others wait for what one process does alone: fetching tens of gigabytes, say.
PATIENCE = timedelta(hours=24)


def start_accelerator(recipe: RecipeArguments) -> Accelerator:
    """Starts Accelerate as the recipe says.

    Raises:
        ValueError: the processes were started to share the model out among them, which this loop does not do.
    """
    accelerator = Accelerator(
        cpu=runs_on_cpu(),
        mixed_precision=recipe.mixed_precision,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        log_with=None if recipe.report_to == "none" else recipe.report_to,
        project_dir=recipe.output_dir,
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=recipe.find_unused_parameters),
            InitProcessGroupKwargs(timeout=timedelta(minutes=recipe.timeout_minutes)),
        ],
    )
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise ValueError(
            f"Accelerate was configured to {accelerator.distributed_type.value}, but every process trains a whole copy "
            "of the model here: start with `accelerate launch --multi_gpu`."
        )
    return accelerator


class RunProcesses:
    """The processes of one run.

    They wait for each other in a group of their own, by gloo, for hours: what is done by one process, such as fetching
    a data set, may take longer than a lost process should go unnoticed in a step.

    Args:
        accelerator: the run's; every process makes its object at the same place.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.index = accelerator.process_index
        self.number = accelerator.num_processes
        self._patient = None
        if self.number > 1:
            self._patient = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.accelerator.is_main_process

    def wait(self) -> None:
        """Waits for all processes, for hours if one has much to do."""
        if self._patient is not None:
            torch.distributed.monitored_barrier(self._patient, timeout=PATIENCE)

    def share(self, value: Any) -> list[Any]:
        """Returns the values of all processes, in their order."""
        values = [value] * self.number
        if self._patient is not None:
            torch.distributed.all_gather_object(values, value, group=self._patient)
        return values

    def add(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum of the arrays of all processes."""
        total = torch.from_numpy(values.copy())
        if self._patient is not None:
            torch.distributed.all_reduce(total, group=self._patient)
        return total.numpy()

    @contextmanager
    def first_on_each_machine(self) -> Iterator[None]:
        """Lets one process of each machine go first, whose files the others then find."""
        if not self.accelerator.is_local_main_process:
            self.wait()
        try:
            yield
        finally:
            if self.accelerator.is_local_main_process:
                self.wait()

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Makes bad input that one process finds in its share end all of them, with the same sentence."""
        sentence = None
        try:
            yield
        except ValueError as error:
            sentence = str(error)
        found = [other for other in self.share(sentence) if other is not None]
        if found:
            raise ValueError(found[0])

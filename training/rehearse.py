# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Rehearses the published run on the machine at hand, in about ten minutes, without any data set.

    python training/rehearse.py --output rehearsal.json

It says what the machine has; whether the model computes the same there as on its processor, in every precision, eager
and compiled; how much memory and time a training step takes on 1, 2, 4 and 8 GPUs; which batch fits; and how long the
published run will take, if reading pictures keeps up. Weights and pictures are random: the numbers say nothing of mIoU.

Everything is computed in processes of its own: what hangs, crashes or has no time left is said, and the rest goes on.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rehearsal_model import random_batch, random_model
from rehearsal_plan import plan_run

from fgaseg_hf.evaluation.command_line_arguments import parse_arguments, run_script
from fgaseg_hf.evaluation.run_description import describe_device, describe_run, write_atomically
from fgaseg_hf.evaluation.segmentation_evaluation import runs_on_cpu
from fgaseg_hf.training.optimizer_groups import parameter_groups
from fgaseg_hf.training.synchronised_batch_norm import synchronise_batch_norms
from fgaseg_hf.training.training_arguments import RecipeArguments
from fgaseg_hf.training.training_step import train_step

# Greatest distance from the processor's float32, as a share of the values' size, that rounding explains.
TOLERANCES = {"fp32": 1e-3, "tf32": 2e-2, "bf16": 2e-1, "fp16": 5e-2}
# Which share of the time is over when eager parity, compiled parity and the steps must be done.
SHARES = {"eager": 0.35, "compiled": 0.6, "steps": 0.97}
RESULT_MARK = "REHEARSED "


@dataclass
class RehearsalArguments:
    """What is rehearsed."""

    output: str | None = field(default=None, metadata={"help": "JSON file for the report"})
    tiny: bool = field(
        default=False, metadata={"help": "a model of a few thousand parameters, for a look at the script"}
    )
    precisions: list[str] = field(
        default_factory=lambda: list(TOLERANCES), metadata={"help": "some of fp32, tf32, bf16 and fp16"}
    )
    no_compile: bool = field(default=False, metadata={"help": "leave out what torch.compile takes its minutes for"})
    minutes: float = field(default=10.0, metadata={"help": "how long the whole may take; what is left over is named"})
    process_counts: list[int] = field(
        default_factory=lambda: [1, 2, 4, 8], metadata={"help": "GPUs to take steps on; more than there are, never"}
    )
    pictures_per_process: list[int] = field(
        default_factory=lambda: [1, 2], metadata={"help": "two batch sizes of a process, to tell a picture's memory by"}
    )
    step_precision: str = field(default="no", metadata={"help": "mixed precision of the steps: no, bf16 or fp16"})
    worker: str | None = field(
        default=None,
        metadata={"help": "used by the script itself: compute parity (eager, compiled) or steps of so many pictures"},
    )

    def __post_init__(self) -> None:
        unknown = sorted(set(self.precisions) - set(TOLERANCES))
        if unknown:
            raise ValueError(f"--precisions holds {unknown[0]!r}, but knows {', '.join(TOLERANCES)}.")
        if min([*self.process_counts, *self.pictures_per_process]) < 1:
            raise ValueError("--process_counts and --pictures_per_process must be at least 1.")
        if len(set(self.pictures_per_process)) < 2:
            raise ValueError(
                "--pictures_per_process must be two numbers, of whose difference a picture's memory follows."
            )


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Rehearses as the arguments say; returns the report."""
    started = time.monotonic()
    (options,) = parse_arguments((RehearsalArguments,), arguments, description=__doc__)
    device = torch.device("cpu" if runs_on_cpu() else torch.accelerator.current_accelerator() or "cpu")
    if options.worker is not None:
        work(options, device)
        return {}
    report: dict[str, Any] = {**describe_run(arguments), "tiny": options.tiny, **describe_machine(device)}
    print(describe_in_words(report), flush=True)
    ends = {name: started + 60 * options.minutes * share for name, share in SHARES.items()}
    report["parity"] = rehearse_parity(options, ends)
    report["steps"] = rehearse_steps(options, report, ends["steps"])
    report["plan"] = plan_run(report)
    print("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in report["plan"].items()))
    report["seconds"] = round(time.monotonic() - started)
    print(f"The rehearsal took {report['seconds']} s.")
    if options.output:
        write_atomically(Path(options.output), json.dumps(report, indent=2) + "\n")
    return report


def work(options: RehearsalArguments, device: torch.device) -> None:
    """What a process that the script has started computes; it prints a line a result."""
    if options.worker in ("eager", "compiled"):
        expected = numbers_of(random_model(options.tiny), options.tiny, "fp32", torch.device("cpu"))
        for precision in options.precisions:
            tell(compare(precision, options.worker == "compiled", options.tiny, device, expected))
    else:
        take_steps(options, int(str(options.worker)))


def tell(row: dict[str, Any]) -> None:
    """Hands a result to the process that started this one."""
    print(RESULT_MARK + json.dumps(row), flush=True)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Returns the accelerators, their memory and what they can do."""
    machine: dict[str, Any] = {"device": describe_device(device), "gpus": []}
    if hasattr(os, "sysconf"):  # not on Windows
        machine["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    if device.type == "cuda":
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            machine["gpus"].append({"name": properties.name, "gib": round(properties.total_memory / 2**30, 1)})
        machine["cuda"] = torch.version.cuda
        machine["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))
        machine["bf16"] = torch.cuda.is_bf16_supported()
    return machine


def describe_in_words(report: dict[str, Any]) -> str:
    """Writes the machine in a few lines."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    gpus = ", ".join(f"{gpu['name']} ({gpu['gib']} GiB)" for gpu in report["gpus"]) or "no GPU"
    memory = f", {report['memory_gib']} GiB" if "memory_gib" in report else ""
    machine = report["machine"]
    return f"{versions}\n{gpus}; {machine['processor']}, {machine['cpu_count']} processors{memory}"


@contextmanager
def precision_of(name: str, device: torch.device) -> Iterator[None]:
    """Sets what matrices are multiplied in."""
    before = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name)
    try:
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = cudnn


def compare(
    precision: str, compiled: bool, tiny: bool, device: torch.device, expected: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """Compares logits, loss and gradient of one picture with those of the processor in float32.

    Args:
        precision: one of `TOLERANCES`.
        compiled: whether through torch.compile.
        tiny: whether of the tiny model.
        device: where to.
        expected: what the processor computes.

    Returns:
        The distances as shares of the values' norm, and whether rounding explains those of the logits.
    """
    model: Any = random_model(tiny)
    model = model.to(device)
    row: dict[str, Any] = {"precision": precision, "compiled": compiled}
    started = time.monotonic()
    try:
        if compiled:
            model.compile()
        found = numbers_of(model, tiny, precision, device)
    except Exception as error:  # a rehearsal says what fails, and goes on
        row |= {"ok": False, "error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    else:
        row |= {name: float((found[name] - value).norm() / value.norm()) for name, value in expected.items()}
        row["ok"] = row["logits"] <= TOLERANCES[precision]
    row["seconds"] = round(time.monotonic() - started, 1)
    return row


def rehearse_parity(options: RehearsalArguments, ends: dict[str, float]) -> list[dict[str, Any]]:
    """Compares every precision with the processor's float32, eager and compiled: a row each."""
    rows = []
    for kind in ("eager",) if options.no_compile else ("eager", "compiled"):
        found, error = run_workers(options, kind, 1, ends[kind])
        missing = {name: {"precision": name, "compiled": kind == "compiled"} for name in options.precisions}
        for row in found:
            missing.pop(row["precision"])
        found += [{**row, "ok": None if error == NO_TIME else False, "error": error} for row in missing.values()]
        for row in found:
            numbers = [f"{name} {row[name]:.1e}" for name in ("logits", "loss", "gradient") if name in row]
            judgement = "ok" if row["ok"] else "NOT OK" if row["ok"] is not None else "not known"
            print(f"{row['precision']} {kind}: {judgement}, {', '.join(numbers) or row['error']}", flush=True)
        rows += found
    return rows


def numbers_of(model: Any, tiny: bool, precision: str, device: torch.device) -> dict[str, torch.Tensor]:
    """Returns logits, loss and gradient of one picture, on the processor in float64."""
    batch = {name: value.to(device) for name, value in random_batch(model.config, 1, tiny).items()}
    model.train()
    for module in model.modules():
        # what batch norm does with one picture is not what is compared
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    if device.type == "cpu":
        spare_memory(model)
    with precision_of(precision, device):
        outputs = model(**batch)
    outputs.loss.float().backward()
    gradients = [weights.grad.flatten() for weights in model.parameters() if weights.grad is not None]
    numbers = {"logits": outputs.logits.detach(), "loss": outputs.loss.detach()[None], "gradient": torch.cat(gradients)}
    return {name: value.cpu().double().flatten() for name, value in numbers.items()}


def spare_memory(model: Any) -> None:
    """Has activations computed twice: a processor's memory is seldom large enough for all of them at once."""
    model.activation_checkpointing_enable()


def rehearse_steps(options: RehearsalArguments, report: dict[str, Any], end: float) -> list[dict[str, Any]]:
    """Takes training steps in processes of their own: a row each number of processes and pictures."""
    rows = []
    # a processor takes a minute for a step of the published size, and many minutes for several at once
    most = len(report["gpus"]) or (max(options.process_counts) if options.tiny else 1)
    for num_processes in sorted({count for count in options.process_counts if count <= most}):
        for pictures in options.pictures_per_process:
            found, error = run_workers(options, str(pictures), num_processes, end)
            row: dict[str, Any] = {"num_processes": num_processes, "pictures_per_process": pictures}
            row |= found[0] if found and error is None else {"error": error or "it said nothing"}
            rows.append(row)
            said = row.get("error") or f"{row['pictures_per_second']:.3g} pictures a second, {row['peak_gib']:.2f} GiB"
            print(f"{num_processes} x {pictures} pictures: {said}", flush=True)
    return rows


NO_TIME = "no time was left (--minutes)"


def run_workers(
    options: RehearsalArguments, task: str, num_processes: int, end: float
) -> tuple[list[dict[str, Any]], str | None]:
    """Starts this script on some processes.

    Args:
        options: this script's.
        task: the processes' `--worker`.
        num_processes: how many.
        end: when they are ended, by the monotonic clock.

    Returns:
        What they told, and why there is no more of it; None if they ended well.
    """
    if time.monotonic() > end:
        return [], NO_TIME
    words = [sys.executable, __file__, "--worker", task, "--step_precision", options.step_precision]
    words += ["--precisions", *options.precisions, *(["--tiny"] if options.tiny else [])]
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    shared = {"WORLD_SIZE": num_processes, "LOCAL_WORLD_SIZE": num_processes, "MASTER_PORT": port}
    environment = {**os.environ, "MASTER_ADDR": "localhost", **{name: str(value) for name, value in shared.items()}}
    with tempfile.TemporaryFile("w+") as output:
        workers = [
            subprocess.Popen(
                words,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(num_processes)
        ]
        codes = wait_for(workers, end)
        output.seek(0)
        lines = output.read().splitlines()
    rows = [json.loads(line.removeprefix(RESULT_MARK)) for line in lines if line.startswith(RESULT_MARK)]
    if not any(codes):
        return rows, None
    reasons = [line.strip() for line in lines if "Error" in line and not line.startswith(RESULT_MARK)]
    return rows, NO_TIME if time.monotonic() > end else reasons[0] if reasons else f"exit codes {codes}"


def wait_for(workers: Sequence["subprocess.Popen[str]"], end: float) -> list[int]:
    """Returns the processes' exit codes; one that fails ends all, and so does the time when they must be done."""
    while any(worker.poll() is None for worker in workers):
        if any(worker.poll() for worker in workers) or time.monotonic() > end:
            for worker in workers:
                worker.kill()
        time.sleep(0.05)
    return [worker.wait() for worker in workers]


def take_steps(options: RehearsalArguments, pictures: int) -> None:
    """Takes a step to warm up and two that are timed; the first process prints how it went."""
    accelerator = Accelerator(cpu=runs_on_cpu(), mixed_precision=options.step_precision)
    recipe = RecipeArguments(output_dir="nowhere", batch_size=pictures * accelerator.num_processes)
    model = random_model(options.tiny)
    if accelerator.num_processes > 1:
        synchronise_batch_norms(model, accelerator.device.type)
    if accelerator.device.type == "cpu":
        spare_memory(model)
    groups = parameter_groups(model, recipe.learning_rate)
    rates = [group["lr"] for group in groups]
    batch = random_batch(model.config, pictures, options.tiny, seed=accelerator.process_index)
    prepared, optimizer = accelerator.prepare(model, torch.optim.AdamW(groups))
    started = 0.0
    for step in range(3):
        if step == 1:
            started = time.monotonic()
        train_step(prepared, optimizer, rates, iter([batch]), accelerator, recipe, step=step, stop=False).read()
    seconds = time.monotonic() - started
    row = {"pictures_per_second": 2 * recipe.batch_size / seconds, "peak_gib": peak_gib(accelerator.device)}
    if accelerator.is_main_process:
        tell(row)
    accelerator.end_training()


def peak_gib(device: torch.device) -> float:
    """Returns the most memory that the steps have taken: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


if __name__ == "__main__":
    run_script(main)

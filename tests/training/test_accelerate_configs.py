# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files of `training/accelerate_configs`: Accelerate reads them, and they fit the model."""

import argparse
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

CONFIGS = Path(__file__).parent.parent.parent / "training" / "accelerate_configs"


def launch_arguments(name: str, *words: str) -> argparse.Namespace:
    """What `accelerate launch` makes of a file; it refuses wrong ones here."""
    words = ("--config_file", str(CONFIGS / name), *words, "train.py")
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    return arguments


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_every_file(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert config.num_processes > 1
    assert launch_arguments(path.name).num_processes == config.num_processes


def test_the_files_ask_for_what_they_are_named_after() -> None:
    ddp = launch_arguments("ddp_8_gpus.yaml")
    assert (ddp.multi_gpu, ddp.use_fsdp, ddp.num_processes, ddp.num_machines) == (True, False, 8, 1)
    assert ddp.mixed_precision == "no"
    nodes = launch_arguments("ddp_2x8_gpus.yaml", "--main_process_ip", "10.0.0.1", "--machine_rank", "1")
    assert (nodes.num_processes, nodes.num_machines, nodes.machine_rank) == (16, 2, 1)
    assert nodes.main_process_ip == "10.0.0.1"
    assert nodes.main_process_port == 29500
    cpu = launch_arguments("cpu_2_processes.yaml")
    assert (cpu.multi_gpu, cpu.num_processes, cpu.mixed_precision) == (True, 2, "no")

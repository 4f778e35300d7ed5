# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The files of `training/accelerate_configs`: Accelerate reads them, and they fit the model."""

import argparse
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from tiny_models import tiny_model

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
    assert ddp.mixed_precision == "bf16"
    nodes = launch_arguments("ddp_2x8_gpus.yaml", "--main_process_ip", "10.0.0.1", "--machine_rank", "1")
    assert (nodes.num_processes, nodes.num_machines, nodes.machine_rank) == (16, 2, 1)
    assert nodes.main_process_ip == "10.0.0.1"
    assert nodes.main_process_port == 29500
    cpu = launch_arguments("cpu_2_processes.yaml")
    assert (cpu.multi_gpu, cpu.num_processes, cpu.mixed_precision) == (True, 2, "no")
    fsdp = launch_arguments("fsdp_8_gpus.yaml")
    assert (fsdp.use_fsdp, fsdp.num_processes) == (True, 8)
    assert load_config_from_file(str(CONFIGS / "fsdp_8_gpus.yaml")).distributed_type == DistributedType.FSDP


def test_fsdp_wraps_the_layers_that_the_model_names(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config_from_file(str(CONFIGS / "fsdp_8_gpus.yaml")).fsdp_config
    monkeypatch.setenv("FSDP_AUTO_WRAP_POLICY", config["fsdp_auto_wrap_policy"])
    monkeypatch.setenv("FSDP_VERSION", str(config["fsdp_version"]))
    plugin = FullyShardedDataParallelPlugin()
    model = tiny_model()
    plugin.set_auto_wrap_policy(model)
    names = {type(module).__name__ for module in model.modules()}
    assert set(model._no_split_modules) <= names
    assert plugin.auto_wrap_policy is not None
    wrapped = [m for m in model.modules() if type(m).__name__ in model._no_split_modules]
    # both towers, the decoder: what is wrapped holds most of the model
    share = sum(p.numel() for m in wrapped for p in m.parameters()) / sum(p.numel() for p in model.parameters())
    assert share > 0.3
    assert isinstance(wrapped[0], torch.nn.Module)

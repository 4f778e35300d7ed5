# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Batch norm over several processes on the CPU against the stock layer on the whole batch."""

import multiprocessing
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from fgaseg_hf.training.synchronised_batch_norm import SynchronisedBatchNorm2d, synchronise_batch_norms


def example() -> tuple[nn.BatchNorm2d, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    layer = nn.BatchNorm2d(3, momentum=0.3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, generator=generator))
        layer.bias.copy_(torch.randn(3, generator=generator))
    pictures = 5 + 3 * torch.randn(4, 3, 5, 6, generator=generator)
    return layer, pictures, torch.randn(4, 3, 5, 6, generator=generator)


def one_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    layer, pictures, weights = example()
    model = nn.Sequential(layer)
    synchronise_batch_norms(model, "cpu")
    mine = pictures[2 * rank : 2 * rank + 2].requires_grad_()
    (model(mine) * weights[2 * rank : 2 * rank + 2]).sum().backward()
    results = {"input": mine.grad, "weight": layer.weight.grad, "bias": layer.bias.grad}
    torch.save(results | dict(layer.named_buffers()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_one_process_is_the_stock_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    names = list(model.state_dict())
    synchronise_batch_norms(model, "cpu")
    assert isinstance(model[1], SynchronisedBatchNorm2d)
    assert list(model.state_dict()) == names
    layer, pictures, _ = example()
    expected = layer(pictures)
    again = nn.Sequential(example()[0])
    synchronise_batch_norms(again, "cpu")
    assert torch.equal(again(pictures), expected)
    assert torch.equal(again.eval()(pictures), layer.eval()(pictures))


def test_gpus_get_the_layer_of_torch() -> None:
    model = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3)))
    synchronise_batch_norms(model, "cuda")
    assert isinstance(model[0][0], nn.SyncBatchNorm)


@pytest.mark.slow
def test_two_processes_normalise_as_one(tmp_path: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=one_process, args=(rank, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    layer, pictures, weights = example()
    (layer(pictures.requires_grad_()) * weights).sum().backward()
    shards = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    torch.testing.assert_close(torch.cat([shard["input"] for shard in shards]), pictures.grad, atol=1e-5, rtol=1e-5)
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(sum(shard[name] for shard in shards), parameter.grad, atol=1e-4, rtol=1e-5)
    for shard in shards:
        for name, buffer in layer.named_buffers():
            torch.testing.assert_close(shard[name], buffer)

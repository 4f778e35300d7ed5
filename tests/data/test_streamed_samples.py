# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Streamed training samples: each reader its share, the same again, and no row lost or shown twice an epoch."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

from fgaseg_hf.data.augmentation import AugmentationConfig
from fgaseg_hf.data.dataset_loading import DatasetArguments, load_segmentation_splits
from fgaseg_hf.data.readable_samples import CollateReadable, without_unreadable_rows
from fgaseg_hf.data.segmentation_split import SegmentationSplit, UnreadableRow
from fgaseg_hf.data.streamed_samples import StreamedSamples
from fgaseg_hf.data.training_samples import TrainingSamples

NUM_ROWS = 24


@pytest.fixture(scope="module", params=[1, 4], ids=["one file", "four files"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of parquet files; the label of each picture is its number."""
    folder = tmp_path_factory.mktemp("data")
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    rows = Dataset.from_dict(
        {
            "image": [Image.new("RGB", (8, 8), (10 * number, 0, 0)) for number in range(NUM_ROWS)],
            "annotation": [Image.new("L", (8, 8), number) for number in range(NUM_ROWS)],
        },
        features=features,
    )
    (folder / "data").mkdir()
    for place in range(request.param):
        name = f"train-{place:05}-of-{request.param:05}.parquet"
        rows.shard(request.param, place, contiguous=True).to_parquet(folder / "data" / name)
    (folder / "class_names.txt").write_text("\n".join(f"thing {number}" for number in range(NUM_ROWS)) + "\n")
    return folder


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` sleeps for seconds at the end of each epoch, against a flaw of threads that read from a network."""
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)


def streamed_split(folder: Path) -> SegmentationSplit:
    return load_segmentation_splits(DatasetArguments(dataset=str(folder)), ["train"], ["train"])["train"]


def stream(folder: Path, **keywords: object) -> StreamedSamples:
    samples = TrainingSamples(
        streamed_split(folder),
        AugmentationConfig(crop_size=(8, 8), colour_jitter_probability=1.0),
        seed=5,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return StreamedSamples(samples, **{"shuffle_buffer": 10, "batch_size": 2, **keywords})  # type: ignore[arg-type]


def numbers_of(samples: Iterable[dict[str, torch.Tensor]]) -> list[int]:
    return [int(number) for sample in samples for number in sample["labels"].reshape(-1, 64)[:, 0]]


def test_a_streamed_split_is_never_read_as_a_whole(folder: Path) -> None:
    split = streamed_split(folder)
    assert split.is_streamed
    with pytest.raises(TypeError):
        len(split)


@pytest.mark.parametrize("num_processes", [1, 2, 4])
def test_processes_share_an_epoch_among_them(folder: Path, num_processes: int) -> None:
    share = NUM_ROWS // num_processes
    readers = [stream(folder, process_index=place, num_processes=num_processes) for place in range(num_processes)]
    two_epochs = [numbers_of(islice(reader, 2 * share)) for reader in readers]
    for epoch in range(2):
        seen = Counter(number for numbers in two_epochs for number in numbers[epoch * share : (epoch + 1) * share])
        assert seen == Counter(range(NUM_ROWS)), "each row once an epoch"
    assert two_epochs[0][:share] != two_epochs[0][share:], "an order of its own for each epoch"
    assert two_epochs[0][:share] != sorted(two_epochs[0][:share]), "shuffled"


def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_same_batches_again_and_from_their_middle(folder: Path, num_workers: int) -> None:
    def batches(count: int, state: str | None = None) -> tuple[list[dict[str, torch.Tensor]], str]:
        samples = stream(folder, process_index=1, num_processes=2)
        if state is not None:
            samples.load_state_dict(json.loads(state))
        found = list(islice(samples.batches(num_workers=num_workers, collate_fn=collate), count))
        return found, json.dumps(samples.state_dict())

    whole, _ = batches(11)
    begun, state = batches(3)
    further, later = batches(4, state)
    last, _ = batches(4, later)
    for first, second in zip(whole, begun + further + last, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_going_on_reads_no_more_than_a_buffer_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(samples: StreamedSamples, count: int) -> None:
        list(islice(samples.batches(collate_fn=collate), count))

    first = stream(folder, shuffle_buffer=4)
    batches(first, 9)  # 18 of the 24 rows
    second = stream(folder, shuffle_buffer=4)
    second.load_state_dict(first.state_dict())
    read = []
    iterate = datasets.IterableDataset.__iter__

    def counted(rows: datasets.IterableDataset) -> Iterator[Any]:
        for row in iterate(rows):
            read.append(row)
            yield row

    monkeypatch.setattr(datasets.IterableDataset, "__iter__", counted)
    batches(second, 1)
    assert 2 <= len(read) <= 8


def test_other_numbers_of_readers_begin_a_new_epoch(folder: Path) -> None:
    first = stream(folder, process_index=0, num_processes=2)
    list(islice(first.batches(collate_fn=collate), 2))
    second = stream(folder)
    second.load_state_dict(first.state_dict())
    found = list(islice(second.batches(collate_fn=collate), NUM_ROWS // 2))
    assert Counter(numbers_of(found)) == Counter(range(NUM_ROWS))
    assert second.state_dict()["positions"][0]["epoch"] == 1


def test_workers_share_what_their_process_reads(folder: Path) -> None:
    readers = [stream(folder, process_index=place, num_processes=2) for place in range(2)]
    epochs = [numbers_of(islice(reader.batches(num_workers=2, collate_fn=collate), 6)) for reader in readers]
    assert Counter(epochs[0] + epochs[1]) == Counter(range(NUM_ROWS))


def test_what_cannot_be_streamed_is_said(folder: Path) -> None:
    with pytest.raises(ValueError, match="--shuffle_buffer"):
        stream(folder, shuffle_buffer=0)
    with pytest.raises(ValueError, match="has no row of the training split"):
        next(iter(stream(folder, process_index=NUM_ROWS, num_processes=NUM_ROWS + 1)))


def test_label_maps_are_checked_as_they_come(tmp_path: Path) -> None:
    features = Features({"image": ImageFeature(), "annotation": ImageFeature()})
    label_map = Image.fromarray(np.full((8, 8), 9, dtype=np.uint8))
    rows = Dataset.from_dict({"image": [Image.new("RGB", (8, 8))], "annotation": [label_map]}, features=features)
    (tmp_path / "data").mkdir()
    rows.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    (tmp_path / "class_names.txt").write_text("sky\n")
    batches = stream(tmp_path).batches(collate_fn=CollateReadable(collate))
    with pytest.raises(UnreadableRow, match="holds the id 9"):
        next(without_unreadable_rows(batches, 0, print))

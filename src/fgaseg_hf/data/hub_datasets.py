# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Data sets on the Hub: which commit of one is meant, how large it is, and fetching it before it is needed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download

from .benchmarks import BENCHMARKS, find_benchmark
from .dataset_loading import DatasetArguments


@dataclass(frozen=True)
class HubDataset:
    """A data set on the Hub, at one commit.

    Attributes:
        name: `OWNER/NAME`.
        commit: which of its versions this is.
        num_files: how many files it has.
        num_bytes: what they take.
    """

    name: str
    commit: str
    num_files: int
    num_bytes: int


def hub_name_of(arguments: DatasetArguments) -> tuple[str | None, str | None]:
    """Returns the Hub id of the data set that the arguments mean, and the benchmark's revision of it if it has one.

    Without a Hub id it is a folder of this machine, or nothing is named.
    """
    if arguments.dataset is not None:
        return (None if Path(arguments.dataset).exists() else arguments.dataset), None
    if arguments.benchmark is None:
        return None, None
    benchmark = find_benchmark(arguments.benchmark)
    return benchmark.hub_id, benchmark.revision


def find_hub_dataset(name: str, revision: str | None = None) -> HubDataset:
    """Asks the Hub for a data set.

    Args:
        name: `OWNER/NAME`.
        revision: commit, tag or branch; the newest commit if None.

    Raises:
        ValueError: the Hub does not know it, or cannot be reached.
    """
    try:
        found = HfApi().dataset_info(name, revision=revision, files_metadata=True)
    except Exception as error:  # of the Hub's client, of what it sends with, of the name's form
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"The data set {name!r} cannot be found on the Hub ({reason}).") from error
    sizes = [file.size or 0 for file in found.siblings or ()]
    return HubDataset(name, str(found.sha), len(sizes), sum(sizes))


def fetch_dataset(name: str, revision: str | None = None, say: Callable[[str], None] = lambda text: None) -> HubDataset:
    """Brings a data set into the Hub's cache, from which training reads it; what is there already stays.

    A connection that breaks is taken up where it broke; a fetch that ended goes on with the files that are missing.

    Args:
        name: a benchmark, or `OWNER/NAME`.
        revision: commit, tag or branch; the benchmark's own, else the newest.
        say: is told the size before anything is fetched.

    Raises:
        ValueError: there is no such data set, it is larger than the disk's free space, or the fetch failed.
    """
    if name in BENCHMARKS:
        benchmark = find_benchmark(name)
        if benchmark.hub_id is None:
            raise ValueError(
                f"The benchmark {name} is on no Hub: make it of its published files with `fgaseg prepare {name}`."
            )
        name, revision = benchmark.hub_id, revision or benchmark.revision
    dataset = find_hub_dataset(name, revision)
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    there = cache / f"datasets--{name.replace('/', '--')}" / "blobs"
    num_there = sum(path.stat().st_size for path in there.glob("*")) if there.is_dir() else 0
    missing, free = max(dataset.num_bytes - num_there, 0), shutil.disk_usage(cache).free
    say(
        f"{name} at {dataset.commit}: {dataset.num_files} files, {in_gigabytes(dataset.num_bytes)}, of which "
        f"{in_gigabytes(min(num_there, dataset.num_bytes))} are there; {in_gigabytes(free)} are free in {cache}."
    )
    if missing > free:
        raise ValueError(
            f"{in_gigabytes(missing)} are missing but only {in_gigabytes(free)} free in {cache}; set HF_HOME to a "
            "larger disk."
        )
    try:
        snapshot_download(name, repo_type="dataset", revision=dataset.commit)
    except Exception as error:  # as above
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"The fetch of {name} was cut off ({reason}): the same command goes on.") from error
    return dataset


def in_gigabytes(num_bytes: int) -> str:
    """Writes a size, such as "12.3 GB"; small ones as "0.5 MB"."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Data sets on the Hub: fetched with a word about their size first, and pinned to a commit."""

from collections import namedtuple
from pathlib import Path

import pytest
from hub_server import HubRepository, local_hub, use_hub
from typer.testing import CliRunner

from fgaseg_hf.cli.main import app
from fgaseg_hf.data import hub_datasets
from fgaseg_hf.data.dataset_loading import DatasetArguments
from fgaseg_hf.data.hub_datasets import fetch_dataset, find_hub_dataset, hub_name_of

FILES = {"README.md": b"hello", "data/train-00000-of-00001.parquet": bytes(3_000_000)}


def test_a_fetch_says_the_size_first_and_takes_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_hub() as hub:
        use_hub(hub, tmp_path, monkeypatch)
        hub.repositories["some/scenes"] = repository = HubRepository(dict(FILES), ["first"])
        result = CliRunner().invoke(app, ["fetch", "some/scenes"])
        assert result.exit_code == 0, result.output
        said = result.stdout.splitlines()
        assert said[0].startswith(f"some/scenes at {repository.revision}: 2 files, 3.0 MB, of which 0.0 MB are there;")
        assert said[-1] == f"Fetched. To train on this very version: --dataset_revision {repository.revision}"
        (whole,) = tmp_path.rglob("*.parquet")
        assert whole.read_bytes() == FILES["data/train-00000-of-00001.parquet"]
        again: list[str] = []
        assert fetch_dataset("some/scenes", say=again.append).commit == repository.revision
        assert "3.0 MB, of which 3.0 MB are there" in again[0]
        assert find_hub_dataset("some/scenes").num_bytes == 3_000_005
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(hub_datasets.shutil, "disk_usage", lambda path: usage(2_000_000, 0, 2_000_000))
        repository.files["data/more.parquet"] = bytes(2_500_000)
        with pytest.raises(ValueError, match="2.5 MB are missing but only 2.0 MB free"):
            fetch_dataset("some/scenes")
        with pytest.raises(ValueError, match="'some/where' cannot be found on the Hub"):
            fetch_dataset("some/where")


def test_a_fetch_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    # what was received of a part when the connection broke is lost
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
    with local_hub() as hub:
        use_hub(hub, tmp_path, monkeypatch)
        hub.repositories["some/scenes"] = repository = HubRepository({first: bytes(range(256)) * 8192}, ["first"])
        # a connection that breaks amid a file goes on there
        hub.breaks_after[first] = 1_000_000
        fetch_dataset("some/scenes")
        assert hub.fetched == [(first, 0), (first, 1_000_000)]
        (whole,) = tmp_path.rglob(Path(first).name)
        assert whole.read_bytes() == repository.files[first]
        # a fetch that ended goes on with what is missing
        repository.files[second] = b"rows"
        repository.commits.append("second")
        repository.broken.add(second)
        with pytest.raises(ValueError, match="some/scenes was cut off .*: the same command goes on"):
            fetch_dataset("some/scenes")
        repository.broken.clear()
        hub.fetched.clear()
        fetch_dataset("some/scenes")
        assert hub.fetched == [(second, 0)]


def test_what_is_on_no_hub_is_said() -> None:
    with pytest.raises(ValueError, match="fgaseg prepare pc-459"):
        fetch_dataset("pc-459")
    assert hub_name_of(DatasetArguments(dataset=str(Path(__file__).parent))) == (None, None)
    assert hub_name_of(DatasetArguments(dataset="some/scenes", benchmark="a-150")) == ("some/scenes", None)
    assert hub_name_of(DatasetArguments(benchmark="coco-stuff"))[0] == "GATE-engine/COCOStuff164K"
    assert hub_name_of(DatasetArguments()) == (None, None)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What is said of a run, and files that are never half written."""

from pathlib import Path

import pytest
import torch

from fgaseg_hf.evaluation.run_description import describe_device, describe_run, write_atomically


def test_a_run_is_described() -> None:
    run = describe_run(["--name", "two words"])
    assert run["command"].endswith("--name 'two words'")
    assert run["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert run["machine"]["cpu_count"] >= 1
    assert describe_device(torch.device("cpu"))["torch_threads"] == torch.get_num_threads()


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "file", "old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("killed")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="killed"):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_text() == "old"
    monkeypatch.undo()
    write_atomically(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "new"

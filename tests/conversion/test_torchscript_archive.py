# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""TorchScript archives: every tensor arrives, no code runs."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from tiny_original_clips import save_torchscript
from torch import nn

from fgaseg_hf.conversion.torchscript_archive import is_torchscript_archive, read_torchscript_archive

# TorchScript's own notice that it will be replaced, which no archive that exists heeds.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class RefusesToLoad(nn.Module):
    """A module whose archive runs code of its own when TorchScript loads it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(6.0).view(2, 3))
        self.number = 7

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states @ self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        assert state[0].numel() == 0, "the archive's code ran"
        self.weight = state[0]
        self.training = state[1]


class Touch:
    """Unpickled carelessly, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def rewrite(path: Path, **members: bytes | None) -> None:
    """Replaces members of an archive, named by their last part without suffix; `None` drops them."""
    with zipfile.ZipFile(path) as archive:
        contents = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            replacement = members.get(Path(name).stem, content)
            if replacement is not None:
                archive.writestr(name, replacement)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_tensor_of_the_archive_arrives(tmp_path, dtype):
    save_torchscript(tmp_path / "clip.pt", dtype)
    assert is_torchscript_archive(tmp_path / "clip.pt")
    tensors, others = read_torchscript_archive(tmp_path / "clip.pt")
    expected = torch.jit.load(tmp_path / "clip.pt").state_dict()
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype, name
    assert tensors["visual.proj"].dtype == dtype
    assert not [name for name in others if name in expected]


def test_views_of_one_storage_arrive(tmp_path):
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.arange(24.0).view(4, 6)
            self.register_buffer("transposed", whole.T)
            self.register_buffer("part", whole[1:3, 2:4])
            self.register_buffer("empty", torch.zeros(0, 3))

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return states + self.part

    torch.jit.script(Views()).save(tmp_path / "views.pt")
    tensors, _ = read_torchscript_archive(tmp_path / "views.pt")
    for name, tensor in Views().state_dict().items():
        assert torch.equal(tensors[name], tensor), name


def test_code_of_the_archive_does_not_run(tmp_path):
    torch.jit.script(RefusesToLoad()).save(tmp_path / "code.pt")
    with pytest.raises(Exception, match="the archive's code ran"):
        torch.jit.load(tmp_path / "code.pt")
    # The state that such a module saves has no names: it is refused, and nothing ran to find that out.
    tensors, others = read_torchscript_archive(tmp_path / "code.pt")
    assert tensors == {} and others == [""]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, protocol):
    save_torchscript(tmp_path / "clip.pt")
    canary = tmp_path / "canary"
    rewrite(tmp_path / "clip.pt", data=pickle.dumps(Touch(canary), protocol))
    with pytest.raises(ValueError, match=r"refused \(it calls (posix|nt)\.system"):
        read_torchscript_archive(tmp_path / "clip.pt")
    assert not canary.exists()
    with zipfile.ZipFile(tmp_path / "clip.pt") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        pickle.load(io.BytesIO(archive.read(name)))
    assert canary.exists(), "the canary must sing where code runs"


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "it calls builtins.eval"),
        (b"ctorch\nload\n(S'x'\ntR.", "it calls torch.load"),
        (b"c__torch__.clip\nCLIP\n)\x81.", None),
        (
            b"c__torch__.clip\nCLIP\n)\x81}S'w'\nctorch._utils\n_rebuild_tensor_v2\n((S'x'\nK\x00tK\x00)))tRsb.",
            "without",
        ),
        (b"N.", "it holds no module"),
        (b"c__torch__.clip\nCLIP\n)\x81", "[Rr]an out of input|truncated"),
        (b"\x80\x02Xgarbage", "."),
    ],
)
def test_only_tensors_are_built(tmp_path, pickled, reason):
    save_torchscript(tmp_path / "clip.pt")
    rewrite(tmp_path / "clip.pt", data=pickled)
    if reason is None:
        assert read_torchscript_archive(tmp_path / "clip.pt") == ({}, [])
        return
    with pytest.raises(ValueError, match=f"is refused .*{reason}"):
        read_torchscript_archive(tmp_path / "clip.pt")


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    save_torchscript(tmp_path / "clip.pt")
    with zipfile.ZipFile(tmp_path / "clip.pt") as archive:
        names = [name for name in archive.namelist() if "/data/" in name]
        largest = Path(max(names, key=lambda name: archive.getinfo(name).file_size)).stem
    rewrite(tmp_path / "clip.pt", **{largest: b"\0" * 8})
    with pytest.raises(ValueError, match=f"data/{largest} is too short"):
        read_torchscript_archive(tmp_path / "clip.pt")
    rewrite(tmp_path / "clip.pt", **{largest: None})
    with pytest.raises(ValueError, match=f"data/{largest} is missing"):
        read_torchscript_archive(tmp_path / "clip.pt")

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Where checkpoints come from: files in every container, and the Hub."""

import os

import numpy as np
import pytest
import torch
from hub_server import HubRepository, local_hub
from safetensors.torch import save_file
from test_model_conversion import parity_settings
from test_parity import released_weights
from typer.testing import CliRunner

from fgaseg_hf.cli.main import app
from fgaseg_hf.conversion.checkpoint_sources import read_checkpoint
from fgaseg_hf.conversion.conversion_plan import plan_conversion

TENSORS = {"visual.proj": torch.arange(6.0).view(2, 3), "logit_scale": torch.tensor(2.0, dtype=torch.float16)}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_weights_are_taken_out_of_what_is_around_them(tmp_path, is_zip, prefix, wrapper):
    content = {f"{prefix}{name}": tensor for name, tensor in TENSORS.items()}
    if wrapper is not None:
        content = {wrapper: content, "optimizer": {"state": {}}, "epoch": 3}
    torch.save(content, tmp_path / "m.pth", _use_new_zipfile_serialization=is_zip)
    checkpoint = read_checkpoint(tmp_path / "m.pth")
    assert checkpoint.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in TENSORS.items())
    assert checkpoint.left_out == ([] if wrapper is None else ["optimizer", "epoch"])
    assert checkpoint.container == "pytorch" and checkpoint.config is None


@pytest.mark.parametrize("is_zip", [True, False])
def test_numbers_of_numpy_are_no_code(tmp_path, is_zip):
    content = {"model": TENSORS, "best": np.float64(0.5), "epoch": np.int64(3), "is_last": np.bool_(True)}
    torch.save(content, tmp_path / "m.pth", _use_new_zipfile_serialization=is_zip)
    checkpoint = read_checkpoint(tmp_path / "m.pth")
    assert checkpoint.tensors.keys() == TENSORS.keys() and checkpoint.left_out == ["best", "epoch", "is_last"]


def test_a_prefix_of_some_names_is_a_part_of_them(tmp_path):
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1), "note": "text"}, tmp_path / "m.pth")
    checkpoint = read_checkpoint(tmp_path / "m.pth")
    assert checkpoint.tensors.keys() == {"module.a", "b"} and checkpoint.left_out == ["note"]


def test_the_container_is_told_by_what_is_in_it(tmp_path):
    save_file(TENSORS, tmp_path / "model.pth")
    checkpoint = read_checkpoint(tmp_path / "model.pth")
    assert checkpoint.container == "safetensors" and checkpoint.tensors.keys() == TENSORS.keys()


def test_files_of_the_hub(tmp_path, monkeypatch):
    """A Space's file by id, as `hamacojr/CAT-Seg-weights/model_base.pth`, and a model's."""
    import huggingface_hub.constants
    import huggingface_hub.file_download

    torch.save({"model": released_weights("catseg")[0]}, tmp_path / "model_base.pth")
    content = (tmp_path / "model_base.pth").read_bytes()
    with local_hub() as hub:
        hub.repositories["spaces/hamacojr/CAT-Seg-weights"] = HubRepository({"model_base.pth": content})
        hub.repositories["someone/clip"] = HubRepository({"clip.bin": content})
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        for source in (
            "hamacojr/CAT-Seg-weights/model_base.pth",
            "spaces/hamacojr/CAT-Seg-weights/model_base.pth",
            "someone/clip/clip.bin",
        ):
            plan = plan_conversion(source, overrides=parity_settings("catseg"))
            assert plan.kind.startswith("CAT-Seg") and not plan.missing
        for source in ("hamacojr/CAT-Seg-weights/model_huge.pth", "nobody/nothing/model.pth", "nobody/nothing"):
            with pytest.raises(ValueError, match="the Hugging Face Hub does not give it"):
                plan_conversion(source)


def test_without_network_an_id_is_one_sentence():
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    result = CliRunner().invoke(app, ["convert", "hamacojr/CAT-Seg-weights/model_base.pth", "--dry-run"])
    assert result.exit_code == 2
    assert "download it where there is a network" in result.stderr and len(result.stderr.splitlines()) == 1

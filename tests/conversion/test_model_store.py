# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Models by name, fetched from a stand-in Hub, converted once and found offline; files of weights; adapters."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import Hub, HubRepository, local_hub, use_hub
from PIL import Image
from test_command_line import run
from test_model_conversion import parity_settings, parity_tokenizer
from test_parity import released_weights
from tiny_clips import save_tiny_clip
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor
from tiny_original_clips import save_torchscript
from tiny_tokenizer import tiny_tokenizer
from transformers import AutoModelForSemanticSegmentation

from fgaseg_hf import FGASegForSemanticSegmentation, Segmenter
from fgaseg_hf.conversion import model_conversion, model_store
from fgaseg_hf.conversion.model_store import cached_folder, fetch_named_model, origin_of, store_folder
from fgaseg_hf.conversion.named_models import NAMED_MODELS

__all__ = ["parity_tokenizer"]  # a fixture

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
# The tiny CAT-Seg takes 16 letters.
ALONE = ["{}"]
CATSEG = "spaces/hamacojr/CAT-Seg-weights"
CLIP = "openai/clip-vit-base-patch16"


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def tiny_conversion(parity_tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tiny released weights need to be told, which the real ones tell by their shapes."""
    settings = parity_settings("catseg")
    convert = model_store.convert_checkpoint

    def convert_tiny(path: Path, out: Path, overrides: dict | None = None) -> object:
        return convert(path, out, tokenizer=parity_tokenizer, overrides={**settings, **(overrides or {})})

    monkeypatch.setattr(model_store, "convert_checkpoint", convert_tiny)
    monkeypatch.setattr(model_store, "plan_conversion", partial(model_store.plan_conversion, overrides=settings))


def serve_catseg(hub: Hub, path: Path) -> bytes:
    torch.save({"model": released_weights("catseg")[0]}, path)
    content = path.read_bytes()
    hub.repositories[CATSEG] = HubRepository({"model_base.pth": content})
    return content


def serve_clip(hub: Hub, folder: Path) -> None:
    save_tiny_clip(folder)
    hub.repositories[CLIP] = HubRepository({path.name: path.read_bytes() for path in folder.iterdir()})


def test_a_name_is_fetched_once_and_found_offline(
    tmp_path: Path, tiny_conversion: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with local_hub() as hub:
        content = serve_catseg(hub, tmp_path / "model_base.pth")
        use_hub(hub, tmp_path / "cache", monkeypatch)
        assert cached_folder("catseg-base") is None
        segmenter = Segmenter("catseg-base", templates=ALONE)
        assert not segmenter.is_plain_clip
        assert "about 700 MB" in caplog.text and "licence mit" in caplog.text
    # The stand-in is gone.
    result = segmenter(PICTURE, CLASS_NAMES)
    folder = fetch_named_model("catseg-base")
    assert cached_folder("catseg-base") == folder
    assert origin_of(folder)["sha256"] == {"model_base.pth": hashlib.sha256(content).hexdigest()}
    assert [path.name for path in store_folder().iterdir() if path.is_dir()] == [folder.name]
    model = AutoModelForSemanticSegmentation.from_pretrained(folder)
    assert isinstance(model, FGASegForSemanticSegmentation)
    np.testing.assert_array_equal(Segmenter(folder, templates=ALONE)(PICTURE, CLASS_NAMES).label_map, result.label_map)
    listing = run("models")
    rows = {line.split()[0]: line for line in listing.stdout.splitlines()}
    assert set(rows) == {"name", *NAMED_MODELS}
    assert " yes " in rows["catseg-base"] and " no " in rows["catseg-large"] and " yes " in rows["scenes"]
    assert "12.0 19.0 31.8 57.5 94.6 77.3" in rows["catseg-base"]
    assert run("models", "--path", "catseg-base").stdout.strip() == str(folder)
    assert "catseg-huge" in run("models", "--path", "catseg-huge").stderr


def test_what_was_tampered_with_is_refused(
    tmp_path: Path, tiny_conversion: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_hub() as hub:
        serve_catseg(hub, tmp_path / "model_base.pth")
        use_hub(hub, tmp_path / "cache", monkeypatch)
        entry = NAMED_MODELS["catseg-base"]
        with monkeypatch.context() as patch:
            recorded = replace(entry, sha256={"model_base.pth": "0" * 64})
            patch.setitem(NAMED_MODELS, "catseg-base", recorded)
            with pytest.raises(ValueError, match="not the one that this package knows"):
                Segmenter("catseg-base")
        assert not any(path.is_dir() for path in store_folder().iterdir())
        with monkeypatch.context() as patch:
            patch.setattr(model_store, "_sha256_by_the_hub", lambda url: "0" * 64)
            with pytest.raises(ValueError, match="not the one that the Hub names"):
                Segmenter("catseg-base")
        # What was fetched first is what counts from then on, also when its folder is made anew.
        shutil.rmtree(fetch_named_model("catseg-base"))
        fetch_named_model("catseg-base")
        shutil.rmtree(fetch_named_model("catseg-base"))
        (record,) = store_folder().glob("*.sha256")
        record.write_text(f"{'0' * 64}  model_base.pth\n")
        with pytest.raises(ValueError, match=f"fetched the first time .delete {record} if"):
            Segmenter("catseg-base")


def test_a_strangers_path_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PICTURE.save(tmp_path / "street.png")
    arguments = ["segment", tmp_path / "street.png", "--labels", ", ".join(CLASS_NAMES), "--overwrite", "--model"]

    def segmented(model: str | Path) -> np.ndarray:
        result = run(*arguments, model, "--output", tmp_path / "out")
        assert result.exit_code == 0, result.output
        return np.asarray(Image.open(tmp_path / "out" / "street_labels.png"))

    with local_hub() as hub:
        serve_clip(hub, tmp_path / "clip")
        use_hub(hub, tmp_path / "cache", monkeypatch)
        by_name = segmented("clip-base")
    # The stand-in is gone; the name, the folder that it stands for, and the CLIP itself are one model.
    np.testing.assert_array_equal(segmented("clip-base"), by_name)
    np.testing.assert_array_equal(segmented(run("models", "--path", "clip-base").stdout.strip()), by_name)
    np.testing.assert_array_equal(segmented(tmp_path / "clip"), by_name)
    refusal = run(*arguments, "clip-large", "--output", tmp_path / "out")
    assert refusal.exit_code == 2
    assert "'clip-large' is not on this machine" in refusal.stderr


def test_without_a_network_a_name_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"'clip-large' is not on this machine .* where there is a network"):
        Segmenter("clip-large")
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "full"))
    with pytest.raises(ValueError, match="HF_HUB_CACHE"):
        Segmenter("clip-large")


def test_two_processes_at_once_leave_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_hub() as hub:
        serve_clip(hub, tmp_path / "clip")
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
        environment |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-m", "fgaseg_hf", "models", "--path", "clip-base"]
        processes = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    (folder,) = {answer[0].strip() for answer in answers}
    # One of them said what it fetches, the other waited.
    assert sum("fetching about 600 MB" in answer[1] for answer in answers) == 1
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert [path.name for path in store_folder().iterdir() if path.is_dir()] == [Path(folder).name]
    segmenter = Segmenter("clip-base")
    assert segmenter.is_plain_clip
    expected = Segmenter(tmp_path / "clip")(PICTURE, CLASS_NAMES)
    np.testing.assert_array_equal(segmenter(PICTURE, CLASS_NAMES).label_map, expected.label_map)


def test_files_of_weights_are_models(
    tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        # The tiny CLIP's tokenizer, in the place of CLIP's own.
        patch.setattr(model_conversion, "STANDARD_TOKENIZER", str(tokenizer_folder))
        patch.setattr(model_conversion, "STANDARD_VOCABULARY_SIZE", len(tiny_tokenizer()))
        save_torchscript(tmp_path / "ViT.pt")
        segmenter = Segmenter(tmp_path / "ViT.pt")
        assert segmenter.is_plain_clip
        assert segmenter(PICTURE, CLASS_NAMES).label_map.shape == (40, 50)
    request.getfixturevalue("tiny_conversion")
    torch.save({"model": released_weights("catseg")[0]}, tmp_path / "model.pth")
    first = Segmenter(tmp_path / "model.pth", templates=ALONE)
    assert not first.is_plain_clip
    # The second time nothing is converted; another file of the same name is another model.
    monkeypatch.setattr(model_store, "convert_checkpoint", None)
    again = Segmenter(str(tmp_path / "model.pth"), templates=ALONE)
    np.testing.assert_array_equal(again(PICTURE, CLASS_NAMES).label_map, first(PICTURE, CLASS_NAMES).label_map)
    (tmp_path / "model.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="no checkpoint"):
        Segmenter(tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"no/such\.pth"):
        Segmenter("no/such.pth")


def test_an_adapter_is_a_model(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base, out = tmp_path / "base", tmp_path / "lora"
    tiny_model().save_pretrained(base)
    tiny_processor().save_pretrained(base)
    model = FGASegForSemanticSegmentation.from_pretrained(base)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(out)
    assert not (out / "config.json").exists()
    segmenter = Segmenter(out)
    plain = Segmenter(base)(PICTURE, CLASS_NAMES)
    result = segmenter(PICTURE, CLASS_NAMES)
    assert (result.label_map != plain.label_map).any()
    merged = Segmenter.from_model(adapted.merge_and_unload(), tiny_processor())(PICTURE, CLASS_NAMES)
    assert (result.label_map == merged.label_map).mean() > 0.999
    inspected = run("inspect", out, "--no-hashes")
    assert f"LORA of rank 2) of {base}" in inspected.stdout
    assert "image tower" in inspected.stdout
    settings = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": None}))
    with pytest.raises(ValueError, match="which model it belongs to"):
        Segmenter(out)
    (out / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "no/such/base"}))
    with pytest.raises(ValueError, match="no/such/base"):
        Segmenter(out)

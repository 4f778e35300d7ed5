# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Every source becomes a whole folder, bad ones one sentence, and released files come back bit by bit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from large_checkpoints import write_released_catseg, write_tokenizer
from safetensors.torch import load_file, save_file
from test_parity import (
    MAP_TOLERANCE,
    VARIANTS,
    assert_close,
    figures,
    parity_settings,
    pictures,
    released_output,
    released_weights,
)
from tiny_models import CLASS_NAMES, tiny_model
from tiny_original_clips import SMALL_HEAD, prompts, save_torchscript, tiny_hub_clip, tiny_openai_clip
from tiny_tokenizer import tiny_tokenizer
from torch import nn
from transformers import CLIPTokenizer

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegProcessor
from fgaseg_hf.conversion.conversion_plan import plan_conversion
from fgaseg_hf.conversion.model_conversion import convert_checkpoint, export_released_checkpoint
from fgaseg_hf.release.model_card import check_model_card


@pytest.fixture(scope="module")
def parity_tokenizer(tmp_path_factory) -> Path:
    """A tokenizer for the parity files' 64 tokens."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokens = [chr(ord("a") + index) for index in range(26)]
    tokens += [f"{token}</w>" for token in tokens]
    tokens += [str(index) for index in range(10)] + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer().save_pretrained(folder)
    return folder


def assert_whole(folder: Path) -> tuple[FGASegForSemanticSegmentation, FGASegProcessor]:
    model, report = FGASegForSemanticSegmentation.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert not [path for path in folder.parent.iterdir() if "unfinished" in path.name]
    return model.eval(), FGASegProcessor.from_pretrained(folder)


@pytest.mark.parametrize("variant", VARIANTS)
def test_released_files_give_the_released_figures(variant, tmp_path, parity_tokenizer):
    weights, _ = released_weights(variant)
    # As detectron2 saves after data-parallel training: prefixes, half precision, the optimiser beside.
    torch.save(
        {
            "model": {f"module.{name}": tensor for name, tensor in weights.items()},
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []},
            "iteration": 79999,
        },
        tmp_path / "model.pth",
    )
    plan = convert_checkpoint(
        tmp_path / "model.pth",
        tmp_path / "folder",
        tokenizer=parity_tokenizer,
        overrides=parity_settings(variant),
    )
    assert plan.left_out == ["optimizer", "iteration"]
    assert ("CAT-Seg" if variant == "catseg" else "FGA-seg") in plan.kind
    model, processor = assert_whole(tmp_path / "folder")
    expected = figures(variant)
    with torch.no_grad():
        output = model(pixel_values=pictures("eval.image"), input_ids=expected["eval.input_ids"])
    ours = released_output(variant, output.logits)[..., ::2, ::2]
    assert_close(ours, expected["eval.output"], MAP_TOLERANCE, "logits")
    assert processor.image_processor.size == {"height": 384, "width": 384}
    assert processor.tokenizer.model_max_length == 16


@pytest.mark.parametrize(
    ("variant", "dtype"), [*((variant, "float32") for variant in VARIANTS), ("fast_cat", "float16")]
)
def test_there_and_back_is_bit_equal(variant, dtype, tmp_path, parity_tokenizer):
    weights, _ = released_weights(variant)
    if dtype == "float32":
        # Numbers that need all of float32.
        weights = {
            name: tensor.float() + torch.rand_like(tensor.float()) * 1e-5 if tensor.is_floating_point() else tensor
            for name, tensor in weights.items()
        }
    torch.save({"model": weights}, tmp_path / "model.pth")
    convert_checkpoint(
        tmp_path / "model.pth", tmp_path / "folder", tokenizer=parity_tokenizer, overrides=parity_settings(variant)
    )
    layout = "catseg" if variant == "catseg" else "fga-seg"
    count = export_released_checkpoint(tmp_path / "folder", tmp_path / "back.pth", layout, dtype=dtype)
    back = torch.load(tmp_path / "back.pth", weights_only=True)["model"]
    assert count == len(back) == len(weights) and back.keys() == weights.keys()
    for name, tensor in weights.items():
        assert back[name].dtype == tensor.dtype and back[name].shape == tensor.shape, name
        assert torch.equal(back[name], tensor), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_openai_archive(tmp_path, tokenizer_folder, dtype, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the archive's code must not be loaded")

    monkeypatch.setattr(torch.jit, "load", refuse)
    save_torchscript(tmp_path / "ViT.pt", dtype)
    plan = convert_checkpoint(
        tmp_path / "ViT.pt", tmp_path / "folder", tokenizer=tokenizer_folder, overrides=SMALL_HEAD
    )
    assert "OpenAI" in plan.kind and "TorchScript" in plan.kind
    assert sorted(plan.left_out)[:2] == ["context_length", "input_resolution"]
    assert plan.new and not plan.missing and not plan.unexpected
    assert plan.config.vision_config.hidden_act == plan.config.text_config.hidden_act == "quick_gelu"
    model, _ = assert_whole(tmp_path / "folder")
    input_ids = prompts()
    clip = tiny_openai_clip().to(dtype).float()
    with torch.no_grad():
        text = nn.functional.normalize(clip.encode_text(input_ids), dim=-1)
        assert torch.allclose(model.get_text_embeddings(input_ids), text, atol=1e-5)


@pytest.mark.parametrize("container", ["bin", "training", "safetensors"])
def test_openclip_files(tmp_path, tokenizer_folder, container):
    clip = tiny_openai_clip()
    if container == "safetensors":
        save_file(clip.state_dict(), tmp_path / "clip")
    elif container == "training":
        state_dict = {f"module.{name}": tensor for name, tensor in clip.state_dict().items()}
        torch.save({"epoch": 3, "name": "run", "state_dict": state_dict, "optimizer": {}}, tmp_path / "clip")
    else:
        torch.save(clip.state_dict(), tmp_path / "clip")
    plan = plan_conversion(tmp_path / "clip", overrides=SMALL_HEAD)
    assert plan.config.vision_config.hidden_act == "gelu"
    assert any("--activation quick_gelu" in note for note in plan.notes)
    # As OpenCLIP's repositories have it beside their weights.
    settings = {"model_cfg": {"embed_dim": 64, "quick_gelu": True}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(settings))
    beside = plan_conversion(tmp_path / "clip", overrides=SMALL_HEAD)
    assert beside.config.vision_config.hidden_act == "quick_gelu" and not beside.notes
    (tmp_path / "open_clip_config.json").unlink()
    plan = convert_checkpoint(
        tmp_path / "clip",
        tmp_path / "folder",
        tokenizer=tokenizer_folder,
        activation="quick_gelu",
        overrides=SMALL_HEAD,
    )
    assert not plan.notes
    model, processor = assert_whole(tmp_path / "folder")
    input_ids = processor(text=CLASS_NAMES, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        text = nn.functional.normalize(clip.encode_text(input_ids), dim=-1)
        assert torch.allclose(model.get_text_embeddings(input_ids), text, atol=1e-5)


def save_hub_clip(folder: Path, **kwargs: object) -> Path:
    tiny_hub_clip("L/14").save_pretrained(folder, **kwargs)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("max_shard_size", ["5GB", "400KB"])
def test_clip_folder_is_as_from_clip(tmp_path, max_shard_size):
    clip = save_hub_clip(tmp_path / "clip", max_shard_size=max_shard_size)
    assert (clip / "model.safetensors.index.json").exists() == (max_shard_size == "400KB")
    plan = convert_checkpoint(clip, tmp_path / "folder", overrides=SMALL_HEAD, seed=3, max_shard_size="300KB")
    assert (tmp_path / "folder" / "model.safetensors.index.json").exists()
    model, processor = assert_whole(tmp_path / "folder")
    torch.manual_seed(3)
    expected = FGASegForSemanticSegmentation.from_clip(clip, **SMALL_HEAD)
    assert model.config.image_size == expected.config.image_size == 336
    assert set(plan.new) == {name for name in expected.state_dict() if "fgaseg." + name not in plan.state_dict} - set(
        plan.state_dict
    )
    for name, tensor in expected.state_dict().items():
        if name in plan.state_dict:
            assert torch.equal(model.state_dict()[name], tensor), name
    assert processor.tokenizer.get_vocab() == tiny_tokenizer().get_vocab()


def test_the_card_says_what_was_converted(tmp_path, parity_tokenizer):
    weights, _ = released_weights("catseg")
    torch.save({"model": weights}, tmp_path / "model_base.pth")
    settings = parity_settings("catseg")
    convert_checkpoint(tmp_path / "model_base.pth", tmp_path / "catseg", tokenizer=parity_tokenizer, overrides=settings)
    card = check_model_card((tmp_path / "catseg" / "README.md").read_text(encoding="utf-8"), [])
    assert card.data.model_name == "catseg" and card.data.license == "unknown" and "catseg" in card.data.tags
    assert "`model_base.pth` (CAT-Seg, released layout)" in card.text and "not trained yet" not in card.text
    assert "head" in card.text and "It was not measured." in card.text
    assert str(tmp_path) not in card.text and "unfinished" not in card.text

    convert_checkpoint(save_hub_clip(tmp_path / "clip"), tmp_path / "segmenter", overrides=SMALL_HEAD)
    card = check_model_card((tmp_path / "segmenter" / "README.md").read_text(encoding="utf-8"), [])
    assert "not trained yet" in card.text and 'source, trust = "segmenter"' in card.text


def test_from_here_and_to_here(tmp_path, monkeypatch):
    save_hub_clip(tmp_path / "clip")
    (tmp_path / "segmenter").mkdir()
    monkeypatch.chdir(tmp_path / "clip")
    convert_checkpoint(".", "../segmenter", overrides=SMALL_HEAD)
    assert "`clip` (CLIP in the Hub's layout)" in (tmp_path / "segmenter" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    convert_checkpoint(tmp_path / "clip", ".", overrides=SMALL_HEAD)
    monkeypatch.chdir(tmp_path)
    assert 'source, trust = "other"' in (tmp_path / "other" / "README.md").read_text(encoding="utf-8")


def test_the_fresh_head_follows_from_the_seed(tmp_path):
    clip = save_hub_clip(tmp_path / "clip")
    heads = []
    for number, seed in enumerate((1, 1, 2)):
        convert_checkpoint(clip, tmp_path / str(number), overrides=SMALL_HEAD, seed=seed)
        heads.append(load_file(tmp_path / str(number) / "model.safetensors")["decoder.head.convolution.weight"])
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_random_numbers_outside_are_left_alone(tmp_path):
    clip = save_hub_clip(tmp_path / "clip")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    convert_checkpoint(clip, tmp_path / "folder", overrides=SMALL_HEAD)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_saved_and_loaded(tmp_path, dtype):
    clip = save_hub_clip(tmp_path / "clip")
    convert_checkpoint(clip, tmp_path / "folder", overrides=SMALL_HEAD, dtype=dtype)
    model = FGASegForSemanticSegmentation.from_pretrained(tmp_path / "folder", device_map={"": "cpu"})
    assert model.dtype == getattr(torch, dtype)
    assert {tensor.dtype for tensor in load_file(tmp_path / "folder" / "model.safetensors").values()} == {
        getattr(torch, dtype),
        torch.int64,
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_shards_and_device_map(tmp_path, dtype):
    model = tiny_model().to(dtype)
    model.save_pretrained(tmp_path, max_shard_size="150KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    for device_map in (None, "auto"):
        loaded = FGASegForSemanticSegmentation.from_pretrained(tmp_path, device_map=device_map)
        assert loaded.dtype == dtype
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name


def test_the_unexpected_is_dropped_on_request_only(tmp_path, tokenizer_folder):
    state_dict = {**tiny_openai_clip().state_dict(), "visual.prompt": torch.zeros(3)}
    torch.save(state_dict, tmp_path / "clip.pt")
    with pytest.raises(ValueError, match=r"unexpected visual\.prompt"):
        convert_checkpoint(tmp_path / "clip.pt", tmp_path / "folder", tokenizer=tokenizer_folder, overrides=SMALL_HEAD)
    plan = convert_checkpoint(
        tmp_path / "clip.pt",
        tmp_path / "folder",
        tokenizer=tokenizer_folder,
        overrides=SMALL_HEAD,
        ignore_unexpected=True,
    )
    assert plan.unexpected == ["visual.prompt"] and "unexpected: 1: visual.prompt" in plan.describe()
    assert_whole(tmp_path / "folder")


def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    clip = save_hub_clip(tmp_path / "clip")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(FGASegProcessor, "save_pretrained", fail)
    with pytest.raises(OSError, match="No space left"):
        convert_checkpoint(clip, tmp_path / "folder", overrides=SMALL_HEAD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip"]


def test_models_that_cannot_go_back(tmp_path):
    for fields, layout, message in (
        ({}, "catseg", "give --to fga-seg"),
        ({"p2tformer_direction": "dual"}, "fga-seg", "P2Tformer is dual"),
        ({"use_alignment_head": False}, "fga-seg", "`use_alignment_head` False"),
    ):
        tiny_model(**fields).save_pretrained(tmp_path / "folder")
        with pytest.raises(ValueError, match=message):
            export_released_checkpoint(tmp_path / "folder", tmp_path / "back.pth", layout)
        shutil.rmtree(tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_tokenizers(tmp_path, tokenizer_folder, parity_tokenizer):
    save_torchscript(tmp_path / "clip.pt")
    for tokenizer, message in (
        (None, "CLIP's own tokenizer does not fit"),
        (tmp_path, "cannot be had"),
        (parity_tokenizer, "has 64 tokens"),
        ("nobody/nothing", "cannot be had"),
    ):
        with pytest.raises(ValueError, match=message):
            convert_checkpoint(tmp_path / "clip.pt", tmp_path / "out", tokenizer=tokenizer, overrides=SMALL_HEAD)
    assert not (tmp_path / "out").exists()


def test_outputs_that_are_taken(tmp_path, tokenizer_folder):
    save_torchscript(tmp_path / "clip.pt")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    for out, message in ((tmp_path / "taken", "exists already"), (tmp_path / "no" / "folder", "does not exist")):
        with pytest.raises(ValueError, match=message):
            convert_checkpoint(tmp_path / "clip.pt", out, tokenizer=tokenizer_folder, overrides=SMALL_HEAD)
    (tmp_path / "empty").mkdir()
    convert_checkpoint(tmp_path / "clip.pt", tmp_path / "empty", tokenizer=tokenizer_folder, overrides=SMALL_HEAD)
    assert_whole(tmp_path / "empty")


MEASURE = """
import sys
from pathlib import Path
from fgaseg_hf.conversion.model_conversion import convert_checkpoint

def peak_memory():
    # Of this process alone: what `getrusage` tells begins with the peak of the process that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

before = peak_memory()
convert_checkpoint(sys.argv[1], sys.argv[2], tokenizer=sys.argv[3])
print(before, peak_memory())
"""


@pytest.mark.slow
def test_published_size_takes_less_than_twice_the_file(tmp_path):
    write_released_catseg("B", tmp_path / "model_base.pth")
    write_tokenizer(tmp_path / "tokenizer")
    arguments = [tmp_path / name for name in ("model_base.pth", "folder", "tokenizer")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True)
    before, peak = map(int, done.stdout.split())
    assert (peak - before) * 1024 < 2 * (tmp_path / "model_base.pth").stat().st_size
    model, _ = assert_whole(tmp_path / "folder")
    assert model.config.vision_config.num_attention_heads == 12 and list(model.config.guidance_layers) == [4, 8]
    export_released_checkpoint(tmp_path / "folder", tmp_path / "back.pth", "catseg")
    first, back = (
        torch.load(tmp_path / name, weights_only=True, mmap=True)["model"] for name in ("model_base.pth", "back.pth")
    )
    assert first.keys() == back.keys() and all(torch.equal(first[name], back[name]) for name in first)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""What is read from a checkpoint without loading it, against the loaded model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_server import HubRepository, local_hub, use_hub
from huggingface_hub.dataclasses import strict
from safetensors.torch import load_file, save_file
from tiny_models import CLASS_NAMES, tiny_config, tiny_inputs, tiny_model, tiny_processor
from transformers import CLIPConfig

from fgaseg_hf import FGASegConfig, FGASegForSemanticSegmentation, FGASegModel, FGASegVocabulary
from fgaseg_hf.model.text_encoding import hash_text_tower
from fgaseg_hf.release.checkpoint_description import describe_checkpoint, format_bytes
from fgaseg_hf.release.checkpoint_hashes import hash_checkpoint, hash_config, hash_stored_text_tower, hash_weights
from fgaseg_hf.release.checkpoint_inspection import inspect_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("trainable_clip", ["query_value", "all", "none"])
def test_counts_are_those_of_the_loaded_model(tmp_path: Path, trainable_clip: str) -> None:
    tiny_model(trainable_clip=trainable_clip).save_pretrained(tmp_path)
    model = FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    found = inspect_checkpoint(tmp_path)
    assert found.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.num_trainable == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    by_name = {block.name: block for block in found.blocks}
    assert list(by_name)[:2] == ["image tower", "text tower"]
    for name, module in (
        ("image tower", model.fgaseg.vision_model),
        ("P2Tformer", model.fgaseg.p2tformer),
        ("category-aware decoder", model.decoder),
        ("alignment head (training only)", model.alignment_head),
    ):
        assert by_name[name].num_parameters == sum(parameter.numel() for parameter in module.parameters())
    # The running statistics of the alignment head.
    stored = set(load_file(tmp_path / "model.safetensors"))
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in stored}
    assert found.num_buffer_values == sum(buffer.numel() for buffer in buffers.values()) > 0
    assert (found.missing, found.unexpected, found.misshapen) == ((), (), ())


def test_settings_and_files(folder: Path) -> None:
    found = inspect_checkpoint(folder)
    assert found.architecture == "FGASegForSemanticSegmentation"
    assert found.method == "FGASeg"
    assert (found.patch_size, found.grid_size, found.position_grid_size) == (8, 4, 3)
    assert found.max_prompt_length == 40
    assert found.vocabulary is None
    assert found.dtypes == ("F32",)
    assert found.weight_files == ("model.safetensors",)
    assert found.num_weight_bytes == (folder / "model.safetensors").stat().st_size
    assert found.file_sizes["config.json"] == (folder / "config.json").stat().st_size
    text = describe_checkpoint(found)
    for expected in ("class limit    ", "8: of more", "TopK", "4 x 4", "multiples of 8", f"{found.num_parameters:,}"):
        assert expected in text
    assert json.loads(json.dumps(found.to_dict()))["num_trainable"] == found.num_trainable


def test_no_weight_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("fgaseg_hf.release.checkpoint_hashes.read_tensors", fail)
    found = inspect_checkpoint(folder, with_hashes=False)
    assert found.num_parameters > 0
    assert found.weights_sha256 is None
    assert found.text_tower_hash is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_text_tower_hash_is_the_vocabularys(tmp_path: Path, dtype: torch.dtype) -> None:
    model = tiny_model().to(dtype)
    model.save_pretrained(tmp_path)
    assert hash_stored_text_tower(tmp_path) == hash_text_tower(model)


def test_hash_of_weights_sees_values_and_not_files(folder: Path, tmp_path: Path) -> None:
    sharded = tmp_path / "sharded"
    tiny_model().save_pretrained(sharded, max_shard_size="50KB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    assert hash_weights(sharded) == hash_weights(folder)
    assert inspect_checkpoint(sharded).blocks == inspect_checkpoint(folder).blocks

    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    tensors = load_file(changed / "model.safetensors")
    tensors["fgaseg.text_projection.weight"][0, 0] += 1e-3
    save_file(tensors, changed / "model.safetensors")
    assert hash_weights(changed) != hash_weights(folder)


def test_hash_of_the_configuration_sees_settings_and_not_descriptions(folder: Path, tmp_path: Path) -> None:
    expected = hash_config(tiny_config())
    assert hash_checkpoint(folder) == {"weights_sha256": hash_weights(folder), "config_sha256": expected}
    described = tiny_config(id2label={0: "sky", 1: "sea"}, dtype="float16", architectures=["FGASegModel"])
    described.auto_map = {"AutoConfig": "x.y"}
    described.save_pretrained(tmp_path)
    assert hash_config(FGASegConfig.from_pretrained(tmp_path)) == expected

    @strict
    class LaterConfig(FGASegConfig):
        new_field: int = 3

    assert hash_config(LaterConfig.from_dict(tiny_config().to_dict())) == expected
    assert hash_config(LaterConfig.from_dict(tiny_config().to_dict() | {"new_field": 4})) != expected
    assert hash_config(tiny_config(num_kept_classes=3)) != expected
    assert hash_config(tiny_config(vision_config={"image_size": 32})) != expected


def test_vocabulary_beside_the_weights(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = FGASegVocabulary(CLASS_NAMES, synonyms={"sky": ["heaven"]}, background="other")
    model.set_vocabulary(vocabulary.encode(model, processor))
    model.save_pretrained(tmp_path)
    found = inspect_checkpoint(tmp_path).vocabulary
    assert found is not None
    assert found.labels == (*CLASS_NAMES, "other")
    assert found.num_phrases == 6
    assert found.fits is True
    assert inspect_checkpoint(tmp_path, with_hashes=False).vocabulary.fits is None

    # Another text tower beside the same vocabulary.
    tiny_model(seed=1).save_pretrained(tmp_path)
    found = inspect_checkpoint(tmp_path)
    assert found.vocabulary.fits is False
    assert "another text tower" in describe_checkpoint(found)


def test_base_model_and_other_methods(tmp_path: Path) -> None:
    FGASegModel(tiny_config()).save_pretrained(tmp_path / "base")
    base = inspect_checkpoint(tmp_path / "base")
    assert base.architecture == "FGASegModel"
    assert base.missing == ()
    assert "category-aware decoder" not in {block.name for block in base.blocks}
    switched_off = {
        "p2tformer_num_layers": 0,
        "use_alignment_head": False,
        "use_local_pseudo_masks": False,
        "use_auxiliary_heads": False,
    }
    tiny_model(**switched_off).save_pretrained(tmp_path / "catseg")
    assert "catseg: CAT-Seg (FGASegForSemanticSegmentation)" in describe_checkpoint(
        inspect_checkpoint(tmp_path / "catseg")
    )
    model = tiny_model(**switched_off, decoder_type="cosine").eval()
    model.save_pretrained(tmp_path / "cosine")
    found = inspect_checkpoint(tmp_path / "cosine")
    assert found.method == "training-free CLIP"
    assert (found.missing, found.unexpected) == ((), ())
    height, width = model(**tiny_inputs()).logits.shape[-2:]
    assert f"logits of {height} x {width}" in describe_checkpoint(found)


def test_tensors_that_do_not_fit_are_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    tensors = load_file(tmp_path / "copy" / "model.safetensors")
    lost = "decoder.head.weight" if "decoder.head.weight" in tensors else sorted(tensors)[0]
    del tensors[lost]
    tensors["surplus"] = torch.zeros(2)
    tensors["fgaseg.text_projection.weight"] = torch.zeros(3, 3)
    save_file(tensors, tmp_path / "copy" / "model.safetensors")
    found = inspect_checkpoint(tmp_path / "copy")
    assert found.missing == (lost,)
    assert found.unexpected == ("surplus",)
    assert found.misshapen == ("fgaseg.text_projection.weight",)
    assert lost in describe_checkpoint(found)


def test_bad_checkpoints_get_one_sentence(folder: Path, tmp_path: Path) -> None:
    def refused(path: Path | str, words: str) -> None:
        with pytest.raises(ValueError, match=words) as error:
            inspect_checkpoint(path)
        assert "\n" not in str(error.value)
        assert str(error.value).endswith(".")

    refused(tmp_path / "nowhere", "There is no model")
    CLIPConfig().save_pretrained(tmp_path / "clip")
    refused(tmp_path / "clip", "architecture 'clip'")
    tiny_config().save_pretrained(tmp_path / "config")
    refused(tmp_path / "config", "no weights")
    shutil.copytree(folder, tmp_path / "cut")
    content = (folder / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "cut", "cannot be read")
    save_file({"x": torch.zeros(1)}, tmp_path / "cut" / "model.safetensors")
    refused(tmp_path / "cut", "not those of a FGASeg")
    tiny_model().save_pretrained(tmp_path / "half", max_shard_size="50KB")
    next((tmp_path / "half").glob("*.safetensors")).unlink()
    refused(tmp_path / "half", "lack the file")
    shutil.copytree(folder, tmp_path / "words")
    (tmp_path / "words" / "vocabulary.json").write_text("{}")
    refused(tmp_path / "words", "vocabulary")


def test_ids_on_the_hub_are_read_by_their_headers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_hub() as hub:
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        hub.repositories["someone/tiny"] = HubRepository(files=files, commits=["first"])
        use_hub(hub, tmp_path, monkeypatch)
        found, local = inspect_checkpoint("someone/tiny"), inspect_checkpoint(folder)
    assert found.blocks == local.blocks
    assert found.file_sizes == {name: len(content) for name, content in sorted(files.items())}
    assert found.weights_sha256 is None
    assert not list(tmp_path.rglob("*.safetensors"))


def test_sizes_are_written_as_people_read_them() -> None:
    assert [format_bytes(size) for size in (12, 8_360_830, 1_500_000_000)] == ["12 bytes", "8.4 MB", "1.5 GB"]

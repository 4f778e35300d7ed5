# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A vocabulary set on a model: it answers with it, saves it and loads it."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_config, tiny_inputs, tiny_model, tiny_processor, tiny_vocabulary

from fgaseg_hf import FGASegForSemanticSegmentation, FGASegVocabulary
from fgaseg_hf.model.vocabulary_files import VOCABULARY_FILE, is_vocabulary_file
from fgaseg_hf.model.vocabulary_head import FGASegVocabularyHead


def embeddings_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("vocabulary-*.safetensors"))


def test_logits_of_phrases_become_logits_of_labels() -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = tiny_vocabulary().encode(model, processor)
    pixel_values = tiny_inputs()["pixel_values"]
    inputs = processor(text=vocabulary.phrases, return_tensors="pt")
    with torch.inference_mode():
        logits = dict(zip(vocabulary.phrases, model(pixel_values, **inputs).logits.unbind(1), strict=True))
        model.set_vocabulary(vocabulary)
        outputs = model(pixel_values)
        as_tuple = model(pixel_values, return_dict=False)
    expected = [
        torch.maximum(logits["car"], logits["bus"]),
        torch.stack([logits["sofa"], logits["couch"], logits["settee"]]).amax(0),
        torch.maximum(logits["sky"], logits["heaven"]),
        torch.zeros_like(logits["sky"]),  # probability 0.5
    ]
    torch.testing.assert_close(outputs.logits, torch.stack(expected, dim=1), atol=1e-6, rtol=1e-6)
    # Everything else has one row a phrase and would mislead.
    assert list(outputs) == ["logits"]
    assert torch.equal(as_tuple[0], outputs.logits)
    assert model.config.id2label == {0: "vehicle", 1: "sofa", 2: "sky", 3: "none of these"}
    assert model.config.label2id["sky"] == 2
    assert model.config.num_labels == 4


def test_background_wins_where_no_label_reaches_the_threshold() -> None:
    vocabulary = FGASegVocabulary(["car", "sky"], background="other", background_threshold=0.7)
    head = FGASegVocabularyHead(vocabulary.encode(tiny_model(), tiny_processor()))
    probabilities = torch.tensor([[0.9, 0.6, 0.1, 0.69], [0.2, 0.71, 0.1, 0.5]])
    logits = torch.logit(probabilities)[None, :, None]
    assert head(logits).argmax(dim=1).tolist() == [[[0, 1, 2, 2]]]
    # A background that is a label too: its own words count there as well.
    vocabulary = replace(vocabulary, background="sky").encode(tiny_model(), tiny_processor())
    assert FGASegVocabularyHead(vocabulary)(logits).argmax(dim=1).tolist() == [[[0, 1, 1, 1]]]
    # Dropped classes stand at the lowest score and never win.
    logits[:] = torch.finfo(logits.dtype).min
    assert head(logits).argmax(dim=1).unique().tolist() == [2]


@pytest.mark.parametrize("fields", [{}, {"num_kept_classes": 3}, {"class_limit": 4}])
def test_answers_do_not_depend_on_the_order_of_names(fields: dict[str, Any]) -> None:
    model, processor = tiny_model(**fields), tiny_processor()
    pixel_values = tiny_inputs()["pixel_values"]

    def label_logits(names: list[str]) -> dict[str, torch.Tensor]:
        vocabulary = replace(tiny_vocabulary(), names=names)
        model.set_vocabulary(vocabulary.encode(model, processor))
        with torch.inference_mode():
            return dict(zip(vocabulary.labels, model(pixel_values).logits.unbind(1), strict=True))

    first = label_logits(tiny_vocabulary().names)
    for seed in range(3):
        names = random.Random(seed).sample(tiny_vocabulary().names, k=len(tiny_vocabulary().names))
        again = label_logits(names)
        # To the bit, so that no pixel changes its label.
        assert all(torch.equal(first[label], again[label]) for label in first)


def test_words_of_ones_own_are_answered_as_before() -> None:
    model, processor = tiny_model(), tiny_processor()
    inputs = tiny_inputs()
    before = model(**inputs)
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    after = model(**inputs)
    assert torch.equal(before.logits, after.logits)
    assert set(before) == set(after)
    labels = torch.zeros(2, 8, 8, dtype=torch.long)
    assert model(**inputs, labels=labels).loss is not None
    # Places among the vocabulary's labels, now.
    assert model(inputs["pixel_values"], labels=labels).auxiliary_logits[0].shape[1] == 4
    with pytest.raises(ValueError, match="class_indices"):
        model(inputs["pixel_values"], class_indices=torch.zeros(2, 1, dtype=torch.long))
    model.set_vocabulary(None)
    assert model.vocabulary is None
    with pytest.raises(ValueError, match="text_embeddings"):
        model(inputs["pixel_values"])


def test_sliding_window_takes_the_vocabulary() -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    (probabilities,) = model.segment_with_sliding_window([torch.randn(3, 40, 50)], overlap=0.5)
    assert probabilities.shape == (4, 40, 50)


def test_the_head_moves_with_the_model_and_is_none_of_its_weights() -> None:
    model, processor = tiny_model(), tiny_processor()
    names_before = list(model.state_dict())
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    assert list(model.state_dict()) == names_before
    model.to(torch.bfloat16)
    assert model.vocabulary_head.text_embeddings.dtype == torch.bfloat16
    assert model.vocabulary_head.label_of_phrase.dtype == torch.int64
    assert model(tiny_inputs()["pixel_values"].bfloat16()).logits.dtype == torch.bfloat16


@pytest.mark.slow
def test_the_model_with_its_vocabulary_can_be_exported() -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    pixel_values = tiny_inputs()["pixel_values"]
    with torch.no_grad():
        exported = torch.export.export(model, (), {"pixel_values": pixel_values}, strict=False)
        torch.testing.assert_close(exported.module()(pixel_values=pixel_values).logits, model(pixel_values).logits)


def test_saved_and_loaded_with_the_checkpoint(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    pixel_values = tiny_inputs()["pixel_values"]
    expected = model(pixel_values).logits
    model.save_pretrained(tmp_path)
    assert len(embeddings_files(tmp_path)) == 1

    loaded = FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    assert torch.equal(loaded(pixel_values).logits, expected)
    assert loaded.vocabulary == tiny_vocabulary()
    assert loaded.config.id2label == model.config.id2label
    loaded, report = FGASegForSemanticSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    # Saved again, and without the vocabulary.
    loaded.save_pretrained(tmp_path / "again")
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path / "again").vocabulary == tiny_vocabulary()
    loaded.set_vocabulary(None)
    loaded.save_pretrained(tmp_path / "without")
    assert not (tmp_path / "without" / VOCABULARY_FILE).exists()
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path / "without").vocabulary is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_loaded_in_another_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    model.save_pretrained(tmp_path)
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path, dtype=dtype).vocabulary == tiny_vocabulary()
    # Another text tower is told apart all the same.
    other = tiny_model(seed=1)
    other.config.vocabulary_key = model.config.vocabulary_key
    other.config.save_pretrained(tmp_path)
    other.save_pretrained(tmp_path / "weights")
    (tmp_path / "weights" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="another text tower"):
        FGASegForSemanticSegmentation.from_pretrained(tmp_path, dtype=dtype)


def test_refused_for_another_text_tower(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = tiny_vocabulary().encode(model, processor)
    with pytest.raises(ValueError, match="not encoded"):
        model.set_vocabulary(tiny_vocabulary())
    with pytest.raises(ValueError, match="another text tower"):
        tiny_model(seed=1).set_vocabulary(vocabulary)
    with pytest.raises(ValueError, match="another text tower"):
        tiny_model(projection_dim=32).set_vocabulary(vocabulary)

    model.set_vocabulary(vocabulary)
    model.save_pretrained(tmp_path)
    other = tiny_model(seed=1)
    other.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="another text tower"):
        FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path, vocabulary_key=None).vocabulary is None

    # One that is whole but belongs to something else, and none at all.
    tiny_vocabulary().encode(other, processor).save(tmp_path)
    with pytest.raises(ValueError, match="not the one that its checkpoint was saved with"):
        FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    (tmp_path / VOCABULARY_FILE).unlink()
    with pytest.raises(ValueError, match="no whole vocabulary"):
        FGASegForSemanticSegmentation.from_pretrained(tmp_path)


def test_trained_text_towers_are_saved_with_the_vocabulary_encoded_anew(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    key = model.config.vocabulary_key
    pixel_values = tiny_inputs()["pixel_values"]
    with torch.no_grad():
        before = model(pixel_values).logits
        model.fgaseg.text_model.encoder.layers[0].self_attn.q_proj.weight[0, 0] += 1
        trained = model(pixel_values).logits
    assert not torch.equal(trained, before)
    model.save_pretrained(tmp_path)
    assert model.config.vocabulary_key == key
    loaded = FGASegForSemanticSegmentation.from_pretrained(tmp_path)
    assert loaded.vocabulary == tiny_vocabulary()
    with torch.no_grad():
        assert torch.equal(loaded(pixel_values).logits, trained)
    # One that was saved before its token ids were kept can only be left out.
    encoding = replace(model.vocabulary.encoding, probe_input_ids=model.vocabulary.encoding.probe_input_ids[:4])
    model.vocabulary_head.vocabulary = replace(model.vocabulary, encoding=encoding)
    model.save_pretrained(tmp_path / "without")
    assert not (tmp_path / "without" / VOCABULARY_FILE).exists()
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path / "without").vocabulary is None


def test_a_configuration_alone_brings_no_vocabulary(tmp_path: Path) -> None:
    model = FGASegForSemanticSegmentation(tiny_config(vocabulary_key="0" * 64))
    model.save_pretrained(tmp_path)
    assert FGASegForSemanticSegmentation.from_pretrained(tmp_path).config.vocabulary_key is None


def test_vocabularies_upload_with_the_checkpoint(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    model.save_pretrained(tmp_path)
    # Transformers uploads what is not in this list, or younger than it says.
    known = model._get_files_timestamps(tmp_path)
    assert any(Path(name).name == "config.json" for name in known)
    assert not any(is_vocabulary_file(Path(name).name) for name in known)

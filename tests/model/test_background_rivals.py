# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""`background="auto"`: which rivals stand beside the words asked for, and what they are answered as."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_models import TRAINING_FREE, tiny_model, tiny_processor
from transformers import pipeline

from fgaseg_hf import FGASegVocabulary, Segmenter
from fgaseg_hf.model.background_rivals import COMMON_NAMES, NONE_OF_THESE, rival_places


def unit_rows(*angles: float) -> torch.Tensor:
    radians = torch.deg2rad(torch.tensor(angles))
    return torch.stack((radians.cos(), radians.sin()), dim=-1)


def test_rivals_near_to_a_word_or_made_of_its_words_are_left_out() -> None:
    rivals = ["automobile", "car", "fast red car", "sky", "sea", "tree", "dog", "cup"]
    embeddings = unit_rows(1, 80, 100, 120, 200, 240, 280, 320)
    chosen = rival_places(["red car"], unit_rows(0), rivals, embeddings)
    assert [rivals[place] for place in chosen] == ["sky", "sea", "tree", "dog", "cup"]
    assert rival_places(["red car"], unit_rows(0), rivals, embeddings, max_rivals=2) == chosen[:2]


def test_common_names_are_distinct_words() -> None:
    assert len(set(COMMON_NAMES)) == len(COMMON_NAMES) > 100
    assert all(name == name.strip().casefold() for name in COMMON_NAMES)


def test_encoding_adds_rivals_that_answer_as_one_label() -> None:
    model, processor = tiny_model(), tiny_processor()
    vocabulary = FGASegVocabulary(["red car", "bus"], groups={"vehicle": ["bus"]}, background="auto")
    assert vocabulary.labels == ["red car", "vehicle", NONE_OF_THESE]
    assert not vocabulary.is_encoded
    encoded = vocabulary.encode(model, processor)
    assert encoded.labels == vocabulary.labels
    assert encoded.is_encoded
    rivals = encoded.groups[NONE_OF_THESE]
    assert "sky" in rivals
    assert "car" not in rivals
    alone = FGASegVocabulary(encoded.names).encode(model, processor)
    torch.testing.assert_close(encoded.embeddings, alone.embeddings)


def test_rivals_are_encoded_once_a_text_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = tiny_model(), tiny_processor()
    encoded_prompts = []
    encode = type(model).get_text_embeddings

    def counting(self: object, input_ids: torch.Tensor, *rest: object) -> torch.Tensor:
        encoded_prompts.append(len(input_ids))
        return encode(self, input_ids, *rest)

    monkeypatch.setattr(type(model), "get_text_embeddings", counting)
    FGASegVocabulary(["car"], background="auto").encode(model, processor)
    assert sum(encoded_prompts) == 1 + len(COMMON_NAMES)
    encoded_prompts.clear()
    FGASegVocabulary(["sky"], background="auto").encode(model, processor)
    assert sum(encoded_prompts) == 1
    with torch.no_grad():
        model.fgaseg.text_projection.weight.mul_(-1)
    encoded_prompts.clear()
    FGASegVocabulary(["sky"], background="auto").encode(model, processor)
    assert sum(encoded_prompts) == 1 + len(COMMON_NAMES)


def test_a_map_that_only_ranks_says_none_of_these_for_one_word() -> None:
    model = tiny_model(**TRAINING_FREE)
    segmenter = pipeline("zero-shot-image-segmentation", model=model, processor=tiny_processor(), device="cpu")
    picture = Image.effect_mandelbrot((64, 48), (-2, -1.5, 1, 1.5), 30).convert("RGB")
    alone = segmenter(picture, candidate_labels=["car"])
    assert [(mask["label"], mask["score"]) for mask in alone] == [("car", 1.0)]
    rivalled = segmenter(picture, candidate_labels=["car"], background="auto")
    assert NONE_OF_THESE in {mask["label"] for mask in rivalled}
    assert all(mask["score"] < 1 for mask in rivalled)


def test_names_that_clash_with_the_answer_and_missing_words_are_refused() -> None:
    with pytest.raises(ValueError, match="rename the label"):
        FGASegVocabulary(["car", "None of these"], background="auto")
    segmenter = pipeline("zero-shot-image-segmentation", model=tiny_model(), processor=tiny_processor(), device="cpu")
    with pytest.raises(ValueError, match="needs `candidate_labels`"):
        segmenter(Image.new("RGB", (32, 32)), background="auto")


def test_the_segmenter_answers_as_the_vocabulary_does(tmp_path: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    picture = Image.effect_mandelbrot((64, 48), (-2, -1.5, 1, 1.5), 30).convert("RGB")
    result = Segmenter(str(tmp_path))(picture, ["car", "sky"], background="auto")
    assert list(result.class_names) == ["car", "sky", NONE_OF_THESE]
    vocabulary = FGASegVocabulary(["car", "sky"], background="auto").encode(model, processor)
    with torch.inference_mode():
        model.set_vocabulary(vocabulary)
        logits = model(**processor(images=picture, return_tensors="pt")).logits
    (expected,) = processor.post_process_semantic_segmentation(logits, [(48, 64)])
    assert (torch.from_numpy(result.label_map) == expected).float().mean() > 0.99

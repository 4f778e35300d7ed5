# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Training towards a frozen text tower: which words are asked, their losses, hard words, photographs, a short run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from asked_words import AskedWord, DrawnPicture, choose_words
from dense_classifier import DenseClasses
from photograph_questions import UNLABELLED, ClassifiedPhotographs, Concept, LabelledPhotographs, label_sky
from picture_size import resize_pictures
from PIL import Image
from scene_questions import SceneQuestions
from scene_vocabulary import CLASS_NAMES, HELD_OUT_PAIRS
from scene_words import GROUPS, HELD_OUT_GROUPS, HELD_OUT_SYNONYMS, NOUNS, SYNONYMS, adjective_of, noun_of
from tiny_models import tiny_model, tiny_processor
from train_words import main
from word_losses import competition_loss, hardest_words, take_words, word_loss

from fgaseg_hf import FGASegForSemanticSegmentation


def drawn_picture(num_present: int, num_absent: int) -> DrawnPicture:
    one, zero = np.ones((4, 4), np.float32), np.zeros((4, 4), np.float32)
    present = [AskedWord(f"here {place}", one, one) for place in range(num_present)]
    absent = [f"away {place}" for place in range(num_absent)]
    return DrawnPicture(np.zeros((8, 8, 3), np.uint8), present, absent, lambda word: AskedWord(word, zero, one))


def test_pictures_are_asked_for_some_of_what_is_there_and_sometimes_for_nothing_of_it() -> None:
    random = np.random.default_rng(0)
    counts = []
    for _ in range(300):
        words = choose_words(drawn_picture(4, 9), 3, 9, random)
        assert len({word.word for word in words}) == len(words) == 9
        counts.append(sum(word.word.startswith("here") for word in words[:3]))
    assert set(counts) == {0, 1, 2, 3}
    assert 0.06 < counts.count(0) / 300 < 0.2
    # Too few words: some come twice.
    assert len(choose_words(drawn_picture(1, 1), 3, 9, random)) == 9


def test_words_held_out_are_no_words_of_training() -> None:
    words = set(SceneQuestions(1, 0, ["guitar"], side=64, label_side=32).words())
    held_out = {synonym for synonyms in HELD_OUT_SYNONYMS.values() for synonym in synonyms} | set(HELD_OUT_GROUPS)
    assert not words & held_out
    assert not words & {f"{adjective} {noun}" for adjective, noun in HELD_OUT_PAIRS}
    assert {"guitar", "automobile", "red automobile", "vehicle", "red thing", "striped"} <= words
    assert set(SYNONYMS) == set(HELD_OUT_SYNONYMS) == set(NOUNS)
    share = len(held_out - set(HELD_OUT_GROUPS)) / sum(map(len, [*SYNONYMS.values(), *HELD_OUT_SYNONYMS.values()]))
    assert 0.3 < share < 0.4


def test_scene_words_name_what_they_say() -> None:
    source = SceneQuestions(2, 5, [], side=64, label_side=32)
    noun_of_word = {word: noun for noun in NOUNS for word in (noun, *SYNONYMS[noun])}
    random = np.random.default_rng(1)
    kinds = set()
    for _ in range(60):
        drawn = source.draw(random)
        assert drawn.image.shape == (64, 64, 3)
        for word in drawn.present:
            assert word.target.max() == 1
            kinds.add("group" if word.word in GROUPS else "noun" if word.word in noun_of_word else "other")
        for absent in drawn.absent[:5]:
            # Not there, but for a few pixels.
            assert drawn.ask_absent(absent).target.sum() < 20
    assert kinds == {"group", "noun", "other"}
    assert {adjective_of("red car"), noun_of("red car")} == {"red", "car"}
    assert (adjective_of("sky"), noun_of("sky")) == (None, "sky")
    assert len(CLASS_NAMES) == 384


def test_loss_of_a_word_does_not_depend_on_finer_targets_or_on_left_out_pixels() -> None:
    logits = torch.randn(2, 3, 4, 4)
    targets = torch.randint(0, 2, (2, 3, 4, 4)).float()
    weights = torch.ones_like(targets)
    fine = [maps.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) for maps in (targets, weights)]
    torch.testing.assert_close(word_loss(logits, *fine), word_loss(logits, targets, weights))
    weights[:, :, 0] = 0
    changed = logits.clone()
    changed[:, :, 0] = 9
    torch.testing.assert_close(word_loss(changed, targets, weights), word_loss(logits, targets, weights))


def test_words_compete_where_at_most_one_is_right_and_all_are_sure() -> None:
    logits = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2).contiguous()
    targets, weights = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    targets[0, 0, 0, 0] = 1  # the first word; to its right, none of them
    targets[0, :, 1, 0] = 1  # two words are right: left out
    weights[0, 1, 1, 1] = 0.5  # not sure: left out
    log_sum = torch.tensor([2.0, 1.0, 0.0]).logsumexp(0)
    torch.testing.assert_close(competition_loss(logits, targets, weights), (log_sum - 2 + log_sum) / 2)
    fine = [maps.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) for maps in (targets, weights)]
    torch.testing.assert_close(competition_loss(logits, *fine), (log_sum - 2 + log_sum) / 2)


@torch.no_grad()
def test_resized_model_answers_as_before_at_its_new_size() -> None:
    model = tiny_model(class_limit=None)
    resized = resize_pictures(model, image_size=48).eval()
    assert resized.config.image_size == resized.config.vision_config.image_size == 48
    pictures, words = torch.randn(1, 3, 48, 48), torch.nn.functional.normalize(torch.randn(3, 16), dim=-1)
    expected = model(pixel_values=pictures, text_embeddings=words).logits
    torch.testing.assert_close(resized(pixel_values=pictures, text_embeddings=words).logits, expected)
    assert resize_pictures(model, window_size=2).config.window_size == 2
    with pytest.raises(ValueError, match="multiple of the patch size"):
        resize_pictures(model, image_size=50)


def test_hardest_words_take_the_place_of_those_that_are_not_there() -> None:
    peaks = torch.tensor([[0.0, 1.0, 2.0, 9.0, 8.0, 7.0]])
    scores = peaks[..., None, None].expand(1, 6, 2, 2)
    is_here = torch.tensor([[True, False, False, False, True, False]])
    word_ids = torch.tensor([[10, 11, 12, 13, 14, 10]])
    # 3 is the hardest; 4 is in the picture, 5 is the same word as 0, so 2 follows.
    assert hardest_words(scores, word_ids, is_here, 3).tolist() == [[0, 3, 2]]
    values = torch.arange(6).view(1, 6, 1)
    assert take_words(torch.tensor([[0, 3, 2]]), values)[0].flatten().tolist() == [0, 3, 2]


def test_first_map_is_the_decoders() -> None:
    model = tiny_model(class_limit=None)
    masks = torch.randn(2, 5, 4, 4), torch.randn(2, 5, 4, 4)
    guidance = torch.randn(2, 12, 8, 8), torch.randn(2, 8, 16, 16)
    decoded = model.decoder(*masks, torch.randn(2, 5, 16), torch.randn(2, 16, 4, 4), guidance)
    torch.testing.assert_close(model.decoder.first_scores(*masks), decoded.auxiliary_logits[0], atol=1e-5, rtol=1e-4)


def test_photographs_leave_out_what_nobody_labelled_and_take_the_sky_for_sky() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[:10] = UNLABELLED
    labels[20:22, 20:22] = UNLABELLED
    found = label_sky(labels, 9)
    assert (found[:10] == 9).all()
    assert (found[20:22, 20:22] == UNLABELLED).all()
    labels[25:, :] = 1
    row = {"image": Image.new("RGB", (40, 40)), "annotation": Image.fromarray(labels)}
    words = {0: ["building", "house"], 1: ["car", "vehicle"], 2: ["vehicle"], 9: ["sky"]}
    source = LabelledPhotographs([row], words, ["dog"], sky_id=9, side=32, label_side=16)
    random = np.random.default_rng(0)
    for _ in range(20):
        drawn = source.draw(random)
        for word in drawn.present:
            assert word.word in ("building", "house", "car", "vehicle", "sky")
        assert "dog" in drawn.absent
        assert drawn.ask_absent("dog").target.max() == 0


def test_classified_photographs_ask_for_what_the_classifier_is_sure_of() -> None:
    probabilities = np.full((1, 4, 4), 0.01, np.float32)
    probabilities[0, :2] = 0.9
    opinion = DenseClasses(probabilities, np.zeros((1, 4, 4), np.int64))
    first, other = np.array([1, 0, 0], np.float32), np.array([0, 1, 1], np.float32)
    concepts = [Concept(("cat",), first), Concept(("boat",), other)]
    row = {"image": Image.new("RGB", (40, 40))}
    source = ClassifiedPhotographs([row], [opinion], concepts, side=32, label_side=16)
    drawn = source.draw(np.random.default_rng(0))
    assert [word.word for word in drawn.present] == ["cat"]
    assert drawn.absent == ["boat"]
    assert drawn.present[0].target[0].min() == 1


def test_a_short_run_trains_the_picture_side_and_the_words_projection_and_goes_on(tmp_path: Path) -> None:
    model = tiny_model(class_limit=None)
    model.save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--output_dir", str(tmp_path / "out"), "--num_scenes", "3"]
    main([*arguments, "--max_steps", "1"])
    main([*arguments, "--max_steps", "2"])
    state = torch.load(tmp_path / "out" / "state.pt", weights_only=True)
    assert state["progress"][0] == 2
    trained = FGASegForSemanticSegmentation.from_pretrained(tmp_path / "out", dtype=torch.float32).state_dict()
    before = model.half().float().state_dict()
    changed = {name for name in before if not torch.equal(before[name], trained[name])}
    assert not any("text_model" in name for name in changed)
    assert "fgaseg.text_projection.weight" in changed
    assert any(name.startswith("fgaseg.vision_model") for name in changed)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "fgaseg"
    with pytest.raises(ValueError, match="needs --opinions"):
        main([*arguments, "--photographs", "somewhere"])
    with pytest.raises(ValueError, match="one of the names facades"):
        main([*arguments, "--labelled", "streets=somewhere"])

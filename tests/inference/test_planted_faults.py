# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Faults put in on purpose: the tests that guard against them must fail."""

import time
from typing import Any

import pytest
import test_memory
import test_pipeline_fgaseg
import test_segmenter
from tiny_models import tiny_model, tiny_processor

from fgaseg_hf import Segmenter, ZeroShotImageSegmentationPipeline

# Long beside what a tiny model takes for words and picture.
WHILE = 0.1


def plant_shared_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are put where all threads look, and taken from there a little later."""
    encode = ZeroShotImageSegmentationPipeline._encode

    def racing(self: Any, candidate_labels: Any) -> Any:
        encode(self, candidate_labels)
        time.sleep(WHILE)
        return self._last_words

    monkeypatch.setattr(ZeroShotImageSegmentationPipeline, "_encode", racing)


def plant_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is given in the words that are set after the logits were computed."""
    look_up, forward = (getattr(ZeroShotImageSegmentationPipeline, name) for name in ("_look_up_words", "_forward"))

    def late(self: Any, *arguments: Any, **keywords: Any) -> Any:
        output = forward(self, *arguments, **keywords)
        words = look_up(self, keywords.get("candidate_labels"))
        for labelled in output["labelled"]:
            labelled["segments"] = [
                (place, words.labels[place % len(words.labels)], score) for place, _, score in labelled["segments"]
            ]
        return output

    monkeypatch.setattr(ZeroShotImageSegmentationPipeline, "_forward", late)


def plant_shared_words_of_the_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Segmenter.encode

    def racing(self: Any, *arguments: Any) -> Any:
        self.shared_words = encode(self, *arguments)
        time.sleep(WHILE)
        return self.shared_words

    monkeypatch.setattr(Segmenter, "encode", racing)


def plant_a_leak(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """All that a function returns is kept."""
    original, kept = vars(owner)[name], []
    function = original.__func__ if isinstance(original, staticmethod) else original

    def leaking(*arguments: Any, **keywords: Any) -> Any:
        kept.append(function(*arguments, **keywords))
        return kept[-1]

    monkeypatch.setattr(owner, name, staticmethod(leaking) if isinstance(original, staticmethod) else leaking)


def test_a_race_between_words_and_logits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    test_pipeline_fgaseg.test_threads_that_ask_at_once_get_their_own_words()
    plant_shared_words(monkeypatch)
    with pytest.raises(AssertionError):
        test_pipeline_fgaseg.test_threads_that_ask_at_once_get_their_own_words()


def test_words_set_meanwhile_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_a_second_look(monkeypatch)
    with pytest.raises(AssertionError):
        test_pipeline_fgaseg.test_other_threads_words_stay_theirs(monkeypatch)


def test_a_race_in_the_segmenter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_shared_words_of_the_segmenter(monkeypatch)
    segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
    with pytest.raises(AssertionError):
        test_segmenter.test_several_threads_get_their_own_answers(segmenter)


@pytest.mark.parametrize(
    ("door", "owner", "name"),
    [("pipeline", ZeroShotImageSegmentationPipeline, "_forward"), ("segmenter", Segmenter, "_make_segmentation")],
)
def test_a_leak_is_found(monkeypatch: pytest.MonkeyPatch, door: str, owner: Any, name: str) -> None:
    plant_a_leak(monkeypatch, owner, name)
    with pytest.raises(AssertionError):
        test_memory.test_answers_leave_nothing_behind(door)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The page: what it answers, and that it can be asked over its own address."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

pytest.importorskip("gradio", reason="the extra `demo` is not installed")

from fgaseg_hf.apps.page import BACKGROUND, EVERYTHING, MAX_WORDS, answer, create_page, write_downloads
from fgaseg_hf.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_model(tiny_model(), tiny_processor())


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))


def test_the_answer_is_the_librarys(segmenter: Segmenter, picture: Image.Image) -> None:
    expected = segmenter(picture, CLASS_NAMES)
    given = answer(segmenter, picture, ", ".join(CLASS_NAMES))
    assert given.marked is not None
    assert given.choices == [EVERYTHING, *expected.found]
    assert given.shares == {word: expected.shares[word] for word in expected.found}
    for (mask, label), word in zip(given.marked[1], expected.found, strict=True):
        assert label.startswith(word)
        assert np.array_equal(mask == 1, expected[word].mask)


def test_one_word_alone_and_background(segmenter: Segmenter, picture: Image.Image) -> None:
    words = ", ".join(CLASS_NAMES)
    word = segmenter(picture, CLASS_NAMES).found[0]
    given = answer(segmenter, picture, words, shown=word)
    assert given.marked is not None
    assert [label.rsplit(" ", 1)[0] for _, label in given.marked[1]] == [word]
    given = answer(segmenter, picture, words, 0.9, True)
    assert BACKGROUND in given.shares


def test_what_is_wrong_becomes_a_sentence(segmenter: Segmenter, picture: Image.Image, tmp_path: Path) -> None:
    assert "Choose a picture" in answer(segmenter, None, "sky").message
    assert "type" in answer(segmenter, picture, "  ").message
    assert str(MAX_WORDS) in answer(segmenter, picture, ",".join(f"word {n}" for n in range(MAX_WORDS + 1))).message
    assert "sky" in answer(segmenter, picture, "sky, sky").message
    secret = tmp_path / "secret.txt"
    secret.write_text("password")
    given = answer(segmenter, picture, f"@{secret}")
    assert "password" not in f"{given.message} {given.shares}"


def test_the_archive_holds_what_save_writes(segmenter: Segmenter, picture: Image.Image) -> None:
    result = segmenter(picture, CLASS_NAMES)
    with zipfile.ZipFile(write_downloads(result)) as archive:
        assert set(archive.namelist()) == {
            "segmentation_overlay.png",
            "segmentation_labels.png",
            "segmentation_labels.json",
        }


def test_the_page_is_built_and_asks_on_every_change(segmenter: Segmenter) -> None:
    page = create_page(segmenter)
    functions = [function for function in page.fns.values() if function.api_name == "segment"]
    assert len(functions) == 1
    assert len(functions[0].targets) == 5

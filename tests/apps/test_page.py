# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The page: what it answers, and that it can be asked over its own address."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from script_loading import REPOSITORY, load_script
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

pytest.importorskip("gradio", reason="the extra `demo` is not installed")

from fgaseg_hf.apps.model_shelf import ModelShelf
from fgaseg_hf.apps.page import create_page, describe_model
from fgaseg_hf.apps.page_answers import BACKGROUND, EVERYTHING, MAX_WORDS, answer, explain, write_downloads
from fgaseg_hf.inference.output_formats import FORMATS
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


def test_groups_synonyms_and_opacity(segmenter: Segmenter, picture: Image.Image) -> None:
    given = answer(segmenter, picture, "sky, plant (tree), built = (blue house, red car)")
    options = {"synonyms": {"plant": ["tree"]}, "groups": {"built": ["blue house", "red car"]}}
    assert given.shares == {
        word: share for word, share in segmenter(picture, ["sky", "plant"], **options).shares.items() if share
    }
    assert "cannot be read" in answer(segmenter, picture, "sky = tree").message
    words = ", ".join(CLASS_NAMES)
    faint, strong = (answer(segmenter, picture, words, opacity=opacity).overlay for opacity in (0.1, 0.9))
    assert faint is not None and strong is not None
    distance = [np.abs(np.asarray(overlay, int)[:40, :56] - np.asarray(picture)).mean() for overlay in (faint, strong)]
    assert distance[0] < distance[1]
    alone = answer(segmenter, picture, words, opacity=1, shown=segmenter(picture, CLASS_NAMES).found[0]).overlay
    assert alone is not None and alone.height < strong.height


def test_the_maps_of_every_step(segmenter: Segmenter, picture: Image.Image) -> None:
    figure, message = explain(segmenter, picture, ", ".join(CLASS_NAMES))
    assert message == ""
    assert figure is not None
    assert np.array_equal(np.asarray(figure), np.asarray(segmenter.explain(picture, CLASS_NAMES).figure()))
    figure, message = explain(segmenter, picture, ", ".join(f"thing {number}" for number in range(41)))
    assert figure is None and "at most 40" in message


def test_the_archive_holds_what_was_chosen(segmenter: Segmenter, picture: Image.Image) -> None:
    result = segmenter(picture, CLASS_NAMES)
    chosen = [name for name in FORMATS if name not in ("pascal-voc", "cityscapes")]
    with zipfile.ZipFile(write_downloads(result, chosen)) as archive:
        endings = [ending for name in chosen for ending in FORMATS[name].endings]
        assert sorted(archive.namelist()) == sorted(f"segmentation{ending}" for ending in endings)
    with pytest.raises(ValueError, match="choose"):
        write_downloads(result, [])


def test_models_are_loaded_once_and_only_those_offered(segmenter: Segmenter) -> None:
    loaded: list[str] = []

    def load(name: str) -> Segmenter:
        loaded.append(name)
        return segmenter

    shelf = ModelShelf(["a", "b", "c", "a"], load, max_models=2)
    assert shelf.names == ["a", "b", "c"]
    for name in ("a", "b", "a", "c", "a", "b"):
        shelf.get(name)
    assert loaded == ["a", "b", "c", "b"]
    with pytest.raises(ValueError, match="choose among a, b, c"):
        shelf.get("/etc/passwd")
    assert describe_model("scenes").startswith("scenes: small")
    assert describe_model("/home/someone/run") == "run"


def test_the_page_is_built_and_asks_on_every_change(segmenter: Segmenter) -> None:
    page = create_page(ModelShelf(["scenes"], lambda _: segmenter))
    functions = [function for function in page.fns.values() if function.api_name == "segment"]
    assert len(functions) == 1
    assert len(functions[0].targets) == 7


def test_the_space_is_the_page_with_the_built_in_model() -> None:
    space = load_script(REPOSITORY / "space" / "app.py", "space_app")
    assert any(function.api_name == "segment" for function in space.page.fns.values())
    _, front, _ = (REPOSITORY / "space" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    described = dict(line.split(": ", 1) for line in front.splitlines())
    assert (described["sdk"], described["app_file"]) == ("gradio", "app.py")
    assert len(described["short_description"]) <= 60

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Segmenter: any model, any picture, words in; a segmentation out."""

import io
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clips import save_tiny_clip
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor, tiny_vocabulary

from fgaseg_hf import FGASegVocabulary, Segmentation, Segmenter, builtin_model_folder
from fgaseg_hf.inference.word_encoding import WordEncoder
from fgaseg_hf.model.background_rivals import NONE_OF_THESE, add_rivals


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_model(tiny_model(), tiny_processor())


def make_picture(seed: int = 0, size: tuple[int, int] = (50, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_five_lines_with_the_built_in_model(tmp_path: Path) -> None:
    segmenter = Segmenter("scenes")
    result = segmenter(builtin_model_folder() / "example.png", ["red car", "blue house", "sky", "forest", "lake"])
    assert result["sky"].mask.shape == (result.size[1], result.size[0])
    assert result["sky"].share > 0.1
    assert 0.5 < sum(result.shares.values()) < 1
    names = [path.name for path in result.save(tmp_path / "out")]
    assert names == ["example_overlay.png", "example_labels.png", "example_labels.json"]
    assert "sky" in repr(result)


def test_the_answer_is_that_of_model_and_processor(segmenter: Segmenter) -> None:
    picture = make_picture()
    inputs = segmenter.processor(images=picture, text=CLASS_NAMES, return_tensors="pt")
    with torch.no_grad():
        outputs = segmenter.model(**inputs)
    (expected,) = segmenter.processor.post_process_semantic_segmentation(outputs, [(40, 50)])
    result = segmenter(picture, CLASS_NAMES)
    np.testing.assert_array_equal(result.label_map, expected)
    probabilities = torch.nn.functional.interpolate(outputs.logits, size=(40, 50), mode="bilinear").sigmoid()[0]
    assert result.class_names == tuple(CLASS_NAMES)
    for place, name in enumerate(CLASS_NAMES):
        is_here = expected == place
        assert result[name].share == pytest.approx(float(is_here.float().mean()))
        if is_here.any():
            assert result[name].score == pytest.approx(float(probabilities[place][is_here].mean()), abs=1e-3)
        else:
            assert result[name].score is None


def test_every_kind_of_picture_is_the_same_picture(segmenter: Segmenter, tmp_path: Path) -> None:
    picture = make_picture()
    picture.save(tmp_path / "street.png")
    content = io.BytesIO()
    picture.save(content, format="PNG")
    pixels = np.asarray(picture)
    sources = [
        tmp_path / "street.png",
        str(tmp_path / "street.png"),
        content.getvalue(),
        picture,
        pixels,
        torch.tensor(pixels).permute(2, 0, 1),
        pixels / 255,
        pixels.astype(np.float32),
    ]
    results = list(segmenter(sources, CLASS_NAMES))
    for result in results:
        np.testing.assert_array_equal(result.label_map, results[0].label_map)
    assert [result.name for result in results[:3]] == ["street", "street", "picture"]


def test_several_pictures_are_read_as_they_are_needed(segmenter: Segmenter) -> None:
    read: list[int] = []

    def pictures() -> Iterator[Image.Image]:
        for seed in range(20):
            read.append(seed)
            yield make_picture(seed, (30 + seed, 40))

    results = segmenter(pictures(), CLASS_NAMES)
    first = next(results)
    assert first.size == (30, 40)
    assert len(read) < 10
    rest = list(results)
    assert [result.size[0] for result in rest] == list(range(31, 50))


def test_a_batch_changes_nothing(segmenter: Segmenter) -> None:
    pictures = [make_picture(seed, (40 + seed, 50 - seed)) for seed in range(5)]
    alone = list(segmenter(pictures, CLASS_NAMES))
    together = list(segmenter(pictures, CLASS_NAMES, batch_size=3))
    for one, other in zip(alone, together, strict=True):
        # All but pixels whose two best words are level to the last digit.
        assert (one.label_map != other.label_map).mean() < 0.002


def test_words_are_encoded_once_and_templates_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
    encoded: list[int] = []
    encode = segmenter.model.get_text_embeddings
    monkeypatch.setattr(
        segmenter.model,
        "get_text_embeddings",
        lambda input_ids, *rest: encoded.append(len(input_ids)) or encode(input_ids, *rest),
    )
    picture = make_picture()
    segmenter(picture, ["sky", "tree"])
    segmenter(picture, ["Tree", "sky"])
    assert encoded == [2]
    segmenter(picture, ["sky", "water"])
    assert encoded == [2, 1]
    segmenter(picture, ["sky"], templates=["the {}", "a {}"])
    assert encoded == [2, 1, 1]


def test_new_words_on_a_known_picture_cost_no_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter.from_model(tiny_model(), tiny_processor())
    towers: list[int] = []
    encode = segmenter.model.get_image_features
    monkeypatch.setattr(
        segmenter.model, "get_image_features", lambda pixels: towers.append(len(pixels)) or encode(pixels)
    )
    pictures = [make_picture(seed) for seed in range(6)]
    expected = [result.label_map for result in segmenter(pictures, ["water", "sky"])]
    assert towers == []
    for _ in range(2):
        segmenter(pictures[0], CLASS_NAMES)
    assert towers == [1]
    for picture, label_map in zip(pictures, expected, strict=True):
        np.testing.assert_array_equal(segmenter(picture, ["water", "sky"]).label_map, label_map)
    # The first is kept no more; the same pixels in another shape are another picture.
    assert len(towers) == 6
    segmenter(pictures[0], CLASS_NAMES)
    segmenter(Image.frombytes("RGB", (40, 50), pictures[0].tobytes()), CLASS_NAMES)
    assert len(towers) == 8


def test_windows_of_a_known_picture_cost_no_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter.from_model(tiny_model(), tiny_processor(), sliding_window=True)
    pictures = [make_picture(seed) for seed in range(2)]
    # Of several pictures nothing is kept.
    expected = [result.label_map for result in segmenter(pictures, ["water", "sky"])]
    towers: list[int] = []
    encode = segmenter.model.get_image_features
    monkeypatch.setattr(
        segmenter.model, "get_image_features", lambda pixels: towers.append(len(pixels)) or encode(pixels)
    )
    for words in (CLASS_NAMES, ["water", "sky"]):
        results = [segmenter(picture, words) for picture in pictures]
    # Four windows and the whole, one by one.
    assert towers == [1] * 10
    for result, label_map in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.label_map, label_map)
    # The picture seen whole is another thing, and so are views computed together.
    segmenter(pictures[0], CLASS_NAMES, sliding_window=False)
    together = segmenter(pictures[0], ["water", "sky"], batch_size=3)
    assert towers[10:] == [1, 3, 2]
    assert (together.label_map != expected[0]).mean() < 0.002
    segmenter.model.decoder.head.convolution.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="not numbers"):
        segmenter(pictures[0], ["water", "sky"])


@pytest.mark.slow
def test_a_compiled_model_keeps_pictures_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    tiny_processor().save_pretrained(tmp_path)
    plain = Segmenter(tmp_path)
    # Traced as always, and then run as it stands: kernels take a compiler and minutes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = Segmenter(tmp_path, compile=True)
    towers: list[int] = []
    monkeypatch.setattr(compiled.model, "get_image_features", None)
    encode = compiled._compiled_tower
    compiled._compiled_tower = lambda pixels: towers.append(len(pixels)) or encode(pixels)
    for words in (CLASS_NAMES, ["water", "sky"]):
        expected = plain(make_picture(), words)
        found = compiled(make_picture(), words)
        assert (found.label_map != expected.label_map).mean() < 0.002
    assert towers == [1]


def test_rivals_answer_none_of_these() -> None:
    model, processor = tiny_model(), tiny_processor()
    segmenter = Segmenter.from_model(model, processor)
    result = segmenter(make_picture(), ["sky", "red car"], background="auto", threshold=0.01)
    assert result.class_names == ("sky", "red car", NONE_OF_THESE)
    model.set_vocabulary(add_rivals(FGASegVocabulary(["sky", "red car"], background_threshold=0.01), model, processor))
    assert model.vocabulary.labels == list(result.class_names)
    with torch.no_grad():
        outputs = model(processor(images=make_picture(), return_tensors="pt")["pixel_values"])
    (expected,) = processor.post_process_semantic_segmentation(outputs, [(40, 50)])
    assert (result.label_map == expected.numpy()).mean() > 0.998
    assert result.shares[NONE_OF_THESE] > 0
    with pytest.raises(ValueError, match="rename"):
        segmenter(make_picture(), ["sky", NONE_OF_THESE], background="auto")


def test_the_cache_is_bounded_and_bounds_no_call() -> None:
    model, processor = tiny_model(), tiny_processor()
    encoder = WordEncoder(model, processor, max_words=3)
    words = [f"thing {letter}" for letter in "abcdefg"]
    first = encoder.encode(words).text_embeddings
    assert len(encoder._kept) == 3
    torch.testing.assert_close(encoder.encode(words).text_embeddings, first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sliding_window", [False, True])
def test_groups_synonyms_and_background_are_a_vocabulary(sliding_window: bool) -> None:
    model, processor = tiny_model(), tiny_processor()
    segmenter = Segmenter.from_model(model, processor)
    picture = make_picture()
    result = segmenter(
        picture,
        ["car", "bus", "sofa", "sky"],
        synonyms={"sofa": ["couch", "settee"], "Sky": ["heaven"]},
        groups={"vehicle": ["bus", "CAR"]},
        background="none of these",
        sliding_window=sliding_window,
    )
    model.set_vocabulary(tiny_vocabulary().encode(model, processor))
    pixel_values = processor(images=picture, do_resize=not sliding_window, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        if sliding_window:
            (probabilities,) = model.segment_with_sliding_window(pixel_values)
            expected = probabilities.argmax(dim=0)
        else:
            (expected,) = processor.post_process_semantic_segmentation(model(pixel_values), [(40, 50)])
    assert result.class_names == tuple(model.vocabulary.labels)
    np.testing.assert_array_equal(result.label_map, expected)
    assert len(result.found) > 1
    # A vocabulary that was set is what is looked for where no words are given, and a threshold moves its background.
    saved = Segmenter.from_model(model, processor)
    assert saved(picture).class_names == result.class_names
    assert saved(picture, threshold=0.999).shares["none of these"] > 0.9
    assert saved(picture, ["sky", "tree"]).class_names == ("sky", "tree")


def test_a_threshold_leaves_pixels_without_a_word(segmenter: Segmenter) -> None:
    result = segmenter(make_picture(), CLASS_NAMES, threshold=1.0)
    assert (result.label_map == -1).all()
    assert result.unlabelled_share == 1
    assert result.found == []
    assert segmenter(make_picture(), CLASS_NAMES, threshold=0.0).unlabelled_share == 0


def test_a_checkpoint_may_say_what_is_likely_enough() -> None:
    # Asked for one word, every pixel would be it.
    picture, words = make_picture(), CLASS_NAMES[:1]
    segmenter = Segmenter.from_model(tiny_model(default_threshold=0.52), tiny_processor())
    found = segmenter(picture, words)
    np.testing.assert_array_equal(found.label_map, segmenter(picture, words, threshold=0.52).label_map)
    assert 0 < (found.label_map == -1).mean() < 1
    assert (segmenter(picture, words, threshold=0).label_map == 0).all()
    # A background has its own limit.
    with_background = segmenter(picture, words, background="other")
    expected = segmenter(picture, words, background="other", threshold=0.5)
    np.testing.assert_array_equal(with_background.label_map, expected.label_map)
    assert (with_background.label_map != -1).all()


def test_a_model_of_older_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    del model.config.default_threshold
    monkeypatch.delattr(type(model.config), "default_threshold")
    with pytest.raises(ValueError, match="older code that was saved with it"):
        Segmenter.from_model(model, tiny_processor())


def test_one_word_asked_of_the_built_in_model_is_found_where_it_is() -> None:
    result = Segmenter("scenes")(builtin_model_folder() / "example.png", ["car"])
    assert 0.03 < result["car"].share < 0.15


def test_several_threads_get_their_own_answers(segmenter: Segmenter) -> None:
    questions = [(make_picture(seed), [*CLASS_NAMES[seed % 3 :], f"thing {seed}"]) for seed in range(6)]
    expected = [segmenter(picture, words) for picture, words in questions]
    answers: dict[int, Segmentation] = {}

    def ask(number: int) -> None:
        for _ in range(3):
            answers[number] = segmenter(*questions[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, right in enumerate(expected):
        assert answers[number].class_names == right.class_names
        np.testing.assert_array_equal(answers[number].label_map, right.label_map)


def test_a_clip_and_a_folder(tmp_path: Path) -> None:
    save_tiny_clip(tmp_path / "clip")
    segmenter = Segmenter(tmp_path / "clip", dtype="bfloat16")
    assert segmenter.is_plain_clip
    assert segmenter(make_picture(), CLASS_NAMES).label_map.shape == (40, 50)
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    segmenter = Segmenter(str(tmp_path / "model"), num_kept_classes=1)
    assert len(segmenter(make_picture(), CLASS_NAMES).found) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": "0.5"}, ValueError, "probability"),
        ({"threshold": 1.5}, ValueError, "probability"),
        ({"batch_size": 0}, ValueError, "1 or more"),
        ({"background": "none", "threshold": 0}, ValueError, "between 0 and 1"),
        ({"treshold": 0.5}, TypeError, "treshold"),
        ({"templates": ["no place"]}, ValueError, "no place"),
        ({"synonyms": {"sofa": ["couch"]}}, ValueError, "sofa"),
    ],
)
def test_unusable_options(segmenter: Segmenter, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        segmenter(make_picture(), CLASS_NAMES, **options)


def test_unusable_pictures_words_and_devices(segmenter: Segmenter) -> None:
    for words, message in (([], "empty"), (None, "no words"), (["a", "A"], "twice"), (["a\nb"], "control character")):
        with pytest.raises(ValueError, match=message):
            segmenter(make_picture(), words)
    for picture, message in ((b"no picture", "10 bytes"), (7, "int"), ("no/such.png", "no/such.png")):
        with pytest.raises(ValueError, match=message):
            segmenter(picture, CLASS_NAMES)
    # Words are looked at before any picture is asked for.
    with pytest.raises(ValueError, match="empty"):
        segmenter(iter([]), [])
    for options, message in (
        ({"device": "abacus"}, "abacus"),
        ({"device": "meta"}, "meta"),
        ({"dtype": "int8"}, "int8"),
    ):
        with pytest.raises(ValueError, match=message):
            Segmenter("no/such/model", **options)
    with pytest.raises(ValueError, match="no/such/model"):
        Segmenter("no/such/model")


def test_a_vocabulary_may_be_the_words(segmenter: Segmenter) -> None:
    vocabulary = FGASegVocabulary(["sky", "tree"], synonyms={"tree": ["bush"]}, templates=["the {}"])
    result = segmenter(make_picture(), vocabulary)
    assert result.class_names == ("sky", "tree")

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The pipelines: words given with the pictures, and the stock pipeline where a vocabulary is set on the model."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scene_composition import SPLITS, generate_scene
from skimage import data as skimage_data
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor
from torch.utils.data import Dataset
from transformers import pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.pipelines import ImageSegmentationPipeline
from transformers.pipelines.pt_utils import KeyDataset

from fgaseg_hf import FGASegVocabulary, ZeroShotImageSegmentationPipeline

TASK = "zero-shot-image-segmentation"
# A random model's probabilities lie close together; this is amid them.
THRESHOLD = 0.52


def make_pipeline(**kwargs: Any) -> ZeroShotImageSegmentationPipeline:
    return pipeline(TASK, model=tiny_model(), processor=tiny_processor(), device="cpu", **kwargs)


def photographs() -> list[Image.Image]:
    """Four photographs of four sizes, as uint8 and RGB."""
    arrays = (skimage_data.cat(), skimage_data.rocket(), skimage_data.coffee(), skimage_data.astronaut())
    return [Image.fromarray(array) for array in arrays]


def scenes(count: int) -> list[Image.Image]:
    """Drawn scenes of the three splits and of mixed sizes, some cut to oblongs."""
    pictures = []
    for seed in range(count):
        picture, _ = generate_scene(seed, SPLITS[seed % len(SPLITS)], (64, 96, 80)[seed % 3 - 1])
        pictures.append(picture.crop((0, 0, picture.width - 7 * (seed % 4), picture.height)))
    return pictures


def label_map_of(segments: list[dict[str, Any]], labels: list[str], size: tuple[int, int]) -> np.ndarray:
    """Puts masks back together: each label's place in `labels`, -1 where there is no mask."""
    label_map = np.full(size[::-1], -1)
    for segment in segments:
        mask = np.asarray(segment["mask"])
        assert segment["mask"].mode == "L" and segment["mask"].size == size
        assert set(np.unique(mask)) <= {0, 255} and mask.any()
        assert (label_map[mask == 255] == -1).all(), "masks do not overlap"
        label_map[mask == 255] = labels.index(segment["label"])
    return label_map


@torch.inference_mode()
def assert_best_words(pipe: Any, picture: Image.Image, label_map: np.ndarray) -> None:
    """Checks that each pixel has the word with the highest probability, or one that is level with it.

    Sums over a batch, or over memory that lies otherwise, are rounded otherwise: it shows where two words are level.
    """
    inputs = pipe.processor(images=picture, text=CLASS_NAMES, return_tensors="pt")
    (alone,) = pipe.processor.post_process_semantic_segmentation(
        pipe.model(**inputs), [(picture.height, picture.width)], return_segmentation_scores=True
    )
    chosen = torch.from_numpy(label_map)
    best, of_chosen = (alone.segmentation_scores.gather(0, ids[None]) for ids in (alone.segmentation, chosen))
    torch.testing.assert_close(best, of_chosen, atol=1e-5, rtol=0)


@torch.inference_mode()
def reference_maps(
    pipe: Any, pictures: list[Image.Image], batch_size: int, threshold: float | None = None
) -> list[np.ndarray]:
    """What model and processor make of the pictures by themselves."""
    maps = []
    for start in range(0, len(pictures), batch_size):
        batch = pictures[start : start + batch_size]
        inputs = pipe.processor(images=batch, text=CLASS_NAMES, return_tensors="pt")
        sizes = [(picture.height, picture.width) for picture in batch]
        outputs = pipe.model(**inputs)
        maps += pipe.processor.post_process_semantic_segmentation(outputs, sizes, threshold=threshold)
    return [label_map.numpy() for label_map in maps]


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_same_maps_as_model_and_processor(batch_size: int) -> None:
    pipe = make_pipeline()
    pictures = photographs() + scenes(50)
    answers = pipe(pictures, candidate_labels=CLASS_NAMES, batch_size=batch_size)
    assert len(answers) == len(pictures) == 54
    found = [
        label_map_of(segments, CLASS_NAMES, picture.size) for segments, picture in zip(answers, pictures, strict=True)
    ]
    expected = reference_maps(pipe, pictures, batch_size)
    for number, (label_map, expected_map) in enumerate(zip(found, expected, strict=True)):
        assert np.array_equal(label_map, expected_map), number
    assert len({label for label_map in expected for label in np.unique(label_map)}) > 1


def test_batches_answer_as_pictures_alone() -> None:
    pipe = make_pipeline()
    pictures = photographs()[:2] + scenes(10)
    answers = pipe(pictures, candidate_labels=CLASS_NAMES, batch_size=8)
    for segments, picture in zip(answers, pictures, strict=True):
        assert_best_words(pipe, picture, label_map_of(segments, CLASS_NAMES, picture.size))


def test_a_checkpoint_may_say_what_is_likely_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = tiny_model(default_threshold=THRESHOLD), photographs()[0]
    pipe = pipeline(TASK, model=model, processor=tiny_processor(), device="cpu")

    def covered(**options: Any) -> np.ndarray:
        segments = pipe(picture, candidate_labels=CLASS_NAMES, **options)
        return np.any([np.asarray(segment["mask"]) > 0 for segment in segments], axis=0)

    np.testing.assert_array_equal(covered(), covered(threshold=THRESHOLD))
    assert 0 < covered().mean() < 1
    assert covered(threshold=0).all()
    assert covered(background="other").all()
    # As of a model that was loaded by code of an earlier version.
    del model.config.default_threshold
    monkeypatch.delattr(type(model.config), "default_threshold")
    assert covered().all()


def test_threshold_and_background() -> None:
    pipe = make_pipeline()
    picture = photographs()[0]
    (expected,) = reference_maps(pipe, [picture], 1, threshold=THRESHOLD)
    assert 0 < (expected == -1).mean() < 1
    segments = pipe(picture, candidate_labels=CLASS_NAMES, threshold=THRESHOLD)
    assert np.array_equal(label_map_of(segments, CLASS_NAMES, picture.size), expected)
    for segment in segments:
        assert THRESHOLD <= segment["score"] <= 1

    with_background = pipe(picture, candidate_labels=CLASS_NAMES, threshold=THRESHOLD, background="none of these")
    assert with_background[-1]["label"] == "none of these"
    assert [segment["label"] for segment in with_background[:-1]] == [segment["label"] for segment in segments]
    assert np.array_equal(np.asarray(with_background[-1]["mask"]) == 255, expected == -1)
    assert 1 - THRESHOLD <= with_background[-1]["score"] <= 1
    # Half is the threshold if only the background is named.
    segments = pipe(picture, candidate_labels=CLASS_NAMES, background="none of these")
    label_map = label_map_of(segments, [*CLASS_NAMES, "none of these"], picture.size)
    (expected,) = reference_maps(pipe, [picture], 1, threshold=0.5)
    assert np.array_equal(label_map, np.where(expected == -1, len(CLASS_NAMES), expected))


def test_scores_are_mean_probabilities() -> None:
    pipe = make_pipeline()
    picture = scenes(1)[0]
    inputs = pipe.processor(images=picture, text=CLASS_NAMES, return_tensors="pt")
    size = (picture.height, picture.width)
    with torch.inference_mode():  # as the pipeline does it: the same path to the last digit
        outputs = pipe.model(**inputs)
    (result,) = pipe.processor.post_process_semantic_segmentation(outputs, [size], return_segmentation_scores=True)
    for segment in pipe(picture, candidate_labels=CLASS_NAMES):
        index = CLASS_NAMES.index(segment["label"])
        expected = result["segmentation_scores"][index].sigmoid()[result["segmentation"] == index].mean()
        assert segment["score"] == pytest.approx(float(expected), abs=1e-6)
        assert list(segment) == ["label", "score", "mask"]


def test_every_kind_of_input(tmp_path: Path) -> None:
    pipe = make_pipeline(candidate_labels=CLASS_NAMES)
    pictures = scenes(5)

    def check(answers: Any) -> None:
        answers = list(answers)
        assert len(answers) == len(pictures)
        for segments, picture in zip(answers, pictures, strict=True):
            assert_best_words(pipe, picture, label_map_of(segments, CLASS_NAMES, picture.size))

    paths = []
    for number, picture in enumerate(pictures):
        paths.append(str(tmp_path / f"{number}.png"))
        picture.save(paths[-1])
    check(pipe(paths))
    check([pipe(Path(path)) for path in paths])
    check(pipe([np.asarray(picture) for picture in pictures]))
    check(pipe([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures]))

    def generator() -> Iterator[Image.Image]:
        yield from pictures

    answers = pipe(generator())
    assert not isinstance(answers, list), "generators are answered one by one"
    check(answers)

    class Pictures(Dataset):
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, index: int) -> dict[str, Image.Image]:
            return {"image": pictures[index]}

    check(pipe(KeyDataset(Pictures(), "image"), batch_size=2))
    with pytest.raises(ValueError, match="KeyDataset"):
        next(iter(pipe(Pictures())))


def test_pictures_are_turned_upright() -> None:
    picture = Image.new("RGB", (40, 20), "red")
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by a quarter
    turned = Image.new("RGB", (40, 20), "red")
    turned.info["exif"] = exif.tobytes()
    segments = make_pipeline()(turned, candidate_labels=CLASS_NAMES)
    assert segments[0]["mask"].size == (20, 40)


def test_text_is_encoded_once_for_each_set_of_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = make_pipeline()
    calls = []
    get_text_embeddings = pipe.model.get_text_embeddings

    def count(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(len(args[0]))
        return get_text_embeddings(*args, **kwargs)

    monkeypatch.setattr(pipe.model, "get_text_embeddings", count)
    picture = scenes(1)[0]
    pipe([picture] * 5, candidate_labels=CLASS_NAMES, batch_size=2)
    first = pipe(picture, candidate_labels=list(CLASS_NAMES))
    assert calls == [5]
    pipe(picture, candidate_labels=CLASS_NAMES[:2])
    assert calls == [5, 2]
    # Weights that have changed since, by whatever way, make other embeddings.
    pipe.model.fgaseg.text_projection.weight.data.mul_(-1)
    pipe(picture, candidate_labels=CLASS_NAMES[:2])
    assert calls == [5, 2, 2]
    changed = pipe(picture, candidate_labels=CLASS_NAMES)
    assert [segment["score"] for segment in changed] != [segment["score"] for segment in first]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nothing to look for"),
        ({"candidate_labels": []}, "empty"),
        ({"candidate_labels": "sky"}, "list of names"),
        ({"candidate_labels": ["sky", "Sky"]}, "twice"),
        ({"candidate_labels": ["sky"], "threshold": 2}, "threshold"),
        ({"candidate_labels": ["sky"], "threshold": "0.5"}, "`threshold` is '0.5'"),
        ({"candidate_labels": 5}, "list of names"),
        ({"candidate_labels": ["sky", "tree\ngrass"]}, "control character"),
        ({"candidate_labels": ["caf\u00e9", "cafe\u0301"]}, "twice"),
        ({"candidate_labels": ["sky"], "background": 5}, "background"),
        ({"candidate_labels": ["sky"], "background": "sky"}, "another name"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_pipeline()(Image.new("RGB", (20, 20)), **arguments)


def test_vocabularies_as_labels_and_on_the_model() -> None:
    pipe = make_pipeline()
    vocabulary = FGASegVocabulary(
        CLASS_NAMES,
        synonyms={"sky": ["heaven"]},
        groups={"thing": ["red car", "blue house"]},
        background="other",
        background_threshold=THRESHOLD,
    )
    encoded = vocabulary.encode(pipe.model, pipe.processor)
    pictures = photographs()[:2] + scenes(4)
    given = pipe(pictures, candidate_labels=vocabulary, batch_size=4)
    encoded_given = pipe(pictures, candidate_labels=encoded, batch_size=4)
    pipe.model.set_vocabulary(encoded)
    from_model = pipe(pictures, batch_size=4)

    stock = pipeline(
        "image-segmentation", model=pipe.model, image_processor=pipe.processor.image_processor, device="cpu"
    )
    pipe.model.set_vocabulary(None)
    with pytest.raises(ValueError, match=r"no class names: .* by `model.set_vocabulary`"):
        stock(pictures[0])
    pipe.model.set_vocabulary(encoded)
    assert type(stock) is ImageSegmentationPipeline
    from_stock = stock(pictures, batch_size=4)
    maps = []
    for answers in (given, encoded_given, from_model, from_stock):
        maps.append([label_map_of(a, vocabulary.labels, p.size) for a, p in zip(answers, pictures, strict=True)])
    for others in maps[1:]:
        assert all(np.array_equal(one, other) for one, other in zip(maps[0], others, strict=True))
    assert len({place for label_map in maps[0] for place in np.unique(label_map)}) > 1
    # The threshold's constant logit is no measure of the background: what the labels lack is.
    for segment in from_model[0]:
        assert (segment["score"] >= 1 - THRESHOLD) if segment["label"] == "other" else (segment["score"] >= THRESHOLD)
    with pytest.raises(ValueError, match="another text tower"):
        other = FGASegVocabulary(["boat"]).encode(tiny_model(seed=1), pipe.processor)
        pipe(pictures[0], candidate_labels=other)


def test_the_stock_pipeline_loads_a_saved_vocabulary(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.set_vocabulary(FGASegVocabulary(CLASS_NAMES).encode(model, processor))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    picture = photographs()[3]
    segments = pipeline("image-segmentation", model=str(tmp_path), device="cpu")(picture)
    assert "is not supported" not in capfd.readouterr().err
    expected = pipeline(TASK, model=str(tmp_path), device="cpu")(picture)
    assert [segment["label"] for segment in segments] == [segment["label"] for segment in expected]
    for one, other in zip(segments, expected, strict=True):
        assert np.array_equal(np.asarray(one["mask"]), np.asarray(other["mask"]))


def test_saved_and_loaded_by_its_name(tmp_path: Path) -> None:
    pipe = make_pipeline()
    pipe.save_pretrained(tmp_path)
    assert (tmp_path / "processor_config.json").is_file()
    assert (tmp_path / "pipeline_fgaseg.py").is_file()
    assert list(json.loads((tmp_path / "config.json").read_text())["custom_pipelines"]) == [TASK]
    # The checkpoint brings the pipeline's code; where the package is installed, its own serves, and nothing is asked.
    loaded = pipeline(TASK, model=str(tmp_path), device="cpu")
    for trust in (True, False):
        assert type(pipeline(TASK, model=str(tmp_path), device="cpu", trust_remote_code=trust)) is type(loaded)
    assert type(loaded) is ZeroShotImageSegmentationPipeline
    implementation = json.loads((tmp_path / "config.json").read_text())["custom_pipelines"][TASK]["impl"]
    code = get_class_from_dynamic_module(implementation, str(tmp_path))
    from_code = pipeline(TASK, model=str(tmp_path), device="cpu", pipeline_class=code)
    assert type(from_code).__module__.startswith("transformers_modules")
    picture = scenes(1)[0]
    scores = [
        [segment["score"] for segment in each(picture, candidate_labels=CLASS_NAMES)]
        for each in (pipe, loaded, from_code)
    ]
    assert scores[0] == scores[1] == scores[2]
    # A vocabulary of the package serves a pipeline of the checkpoint's own code.
    vocabulary = FGASegVocabulary(CLASS_NAMES)
    one, other = (each(picture, candidate_labels=vocabulary) for each in (pipe, from_code))
    assert [segment["score"] for segment in one] == [segment["score"] for segment in other]


def test_half_precision() -> None:
    pipe = pipeline(TASK, model=tiny_model().to(torch.bfloat16), processor=tiny_processor(), device="cpu", batch_size=2)
    answers = pipe(scenes(3), candidate_labels=CLASS_NAMES, background="other", threshold=THRESHOLD)
    assert len(answers) == 3 and all(0 <= segment["score"] <= 1 for segments in answers for segment in segments)


def test_other_threads_words_stay_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A race that is planted: other words are set between a batch's logits and its answer."""
    pipe = make_pipeline()
    picture = scenes(1)[0]
    first = FGASegVocabulary(CLASS_NAMES).encode(pipe.model, pipe.processor)
    second = FGASegVocabulary(["boat", "bird"]).encode(pipe.model, pipe.processor)
    pipe.model.set_vocabulary(first)
    expected = [pipe(picture), pipe(picture, candidate_labels=CLASS_NAMES)]
    others = pipe(picture, candidate_labels=["boat", "bird"])
    forward = pipe.model.forward

    def slow_forward(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        with monkeypatch.context() as patch:
            patch.setattr(pipe.model, "forward", forward)
            pipe.model.set_vocabulary(second)
            pipe(picture, candidate_labels=["boat", "bird"])
        return output

    monkeypatch.setattr(pipe.model, "forward", slow_forward)
    answers = [pipe(picture), pipe(picture, candidate_labels=CLASS_NAMES)]
    for segments, expected_segments in zip(answers, expected, strict=True):
        assert [segment["label"] for segment in segments] == [segment["label"] for segment in expected_segments]
        for one, other in zip(segments, expected_segments, strict=True):
            assert np.array_equal(np.asarray(one["mask"]), np.asarray(other["mask"]))
    assert {segment["label"] for segment in others} <= {"boat", "bird"}


def test_two_threads_encode_their_own_words() -> None:
    pipe = make_pipeline()
    slow = threading.Event()
    encode = pipe.model.get_text_embeddings

    def wait_for_the_other(*args: Any, **kwargs: Any) -> torch.Tensor:
        if len(args[0]) == len(CLASS_NAMES):
            slow.wait(60)
        return encode(*args, **kwargs)

    pipe.model.get_text_embeddings = wait_for_the_other
    with ThreadPoolExecutor(1) as pool:
        words = pool.submit(pipe._encode, CLASS_NAMES)
        other = pipe._encode(["boat", "bird"])
        slow.set()
        assert words.result().labels == CLASS_NAMES and len(words.result().text_embeddings) == len(CLASS_NAMES)
    assert other.labels == ["boat", "bird"] and len(other.text_embeddings) == 2


def test_threads_that_ask_at_once_get_their_own_words() -> None:
    pipe = make_pipeline()
    picture, together = Image.new("RGB", (40, 30), "red"), threading.Barrier(2)
    questions = [["boat"], ["bird"]]
    expected = [pipe(picture, candidate_labels=words) for words in questions]

    def ask(number: int) -> list[list[dict[str, Any]]]:
        answers = []
        for _ in range(3):
            together.wait(60)
            answers.append(pipe(picture, candidate_labels=questions[number]))
        return answers

    with ThreadPoolExecutor(2) as pool:
        for answers, right in zip(pool.map(ask, range(2)), expected, strict=True):
            for segments in answers:
                assert [segment["label"] for segment in segments] == [segment["label"] for segment in right]
                assert [segment["score"] for segment in segments] == [segment["score"] for segment in right]


def test_label_maps_are_made_where_the_logits_are() -> None:
    pipe = make_pipeline()
    pixel_values = pipe.preprocess(Image.new("RGB", (50, 40)))
    outputs = pipe._forward(pixel_values, candidate_labels=CLASS_NAMES)
    assert list(outputs) == ["labelled"]
    assert outputs["labelled"][0]["label_map"].dtype == torch.int16
    assert outputs["labelled"][0]["label_map"].shape == (40, 50)


def test_addresses_of_data_and_lists_of_nothing() -> None:
    pipe = make_pipeline(candidate_labels=CLASS_NAMES)
    stream = io.BytesIO()
    picture = scenes(1)[0]
    picture.save(stream, "PNG")
    encoded = base64.b64encode(stream.getvalue()).decode()
    expected = [segment["score"] for segment in pipe(picture)]
    for source in (encoded, f"data:image/png;base64,{encoded}"):
        assert [segment["score"] for segment in pipe(source)] == expected
    for nothing in ([], ()):
        with pytest.raises(ValueError, match="empty"):
            pipe(nothing)
    with pytest.raises(ValueError, match="127.0.0.1:9"):
        pipe("http://127.0.0.1:9/picture.png", timeout=2)


def test_weights_that_are_not_numbers_are_spoken_of() -> None:
    pipe = make_pipeline()
    pipe.model.fgaseg.text_projection.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="text tower makes values that are not numbers of 'sky'"):
        pipe(scenes(1)[0], candidate_labels=CLASS_NAMES)

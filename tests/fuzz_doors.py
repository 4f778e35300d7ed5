# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Generated inputs at the doors: each is answered, or refused by one sentence; what came of how many is counted.

    python tests/fuzz_doors.py --examples 10000 [--doors pictures files]

A door is a strategy and a function that raises `AssertionError` where an answer is wrong. `ValueError`, and `TypeError`
that names an argument, are refusals; everything else that is raised is a failure, and so is a refusal that repeats
more than a few lines of its input.
"""

import argparse
import base64
import json
import logging
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from odd_inputs import ODD, PICTURES, TEXTS, arrays, picture_files, pillow_pictures, usually
from PIL import Image
from program_doors import (
    COMMAND_LINES,
    DESCRIPTIONS,
    METRICS,
    REQUESTS,
    WORDS,
    checkpoint_files,
    count_pixels,
    describe,
    has_service,
    prepare_folder,
    read_checkpoint_file,
    read_word_list,
    run_command,
    serve,
)
from tiny_models import tiny_model, tiny_processor, tiny_vocabulary
from transformers import pipeline

from fgaseg_hf import FGASegImageProcessorPil, FGASegVocabulary
from fgaseg_hf.inference.fonts import writable
from fgaseg_hf.inference.label_map_files import save_label_map
from fgaseg_hf.inference.visualization import draw_overlay
from fgaseg_hf.model.label_map_reading import label_map_to_array
from fgaseg_hf.model.label_maps import find_best_classes
from fgaseg_hf.model.picture_arrays import read_rgb
from fgaseg_hf.model.prompt_tokenizer import check_class_names
from fgaseg_hf.model.sliding_window import label_with_sliding_window

LONGEST_MESSAGE = 800

# What is done at each door, and what must hold of an answer.


@cache
def image_processor() -> FGASegImageProcessorPil:
    return FGASegImageProcessorPil(size={"height": 8, "width": 6})


def prepare_pictures(picture: Any, settings_of_call: dict[str, Any]) -> None:
    batch = image_processor()(picture, return_tensors="pt", **settings_of_call)
    assert batch["pixel_values"].shape[1:] == (3, 8, 6) and batch["pixel_values"].isfinite().all()


def prepare_label_maps(label_map: Any, settings_of_call: dict[str, Any]) -> None:
    size = label_map.size if isinstance(label_map, Image.Image) else np.shape(label_map)[::-1] or (4, 4)
    picture = Image.new("RGB", size)
    labels = image_processor()(picture, label_map, return_tensors="pt", **settings_of_call)["labels"]
    assert labels.shape == (1, 8, 6) and labels.dtype == torch.int64
    (single,) = label_map if isinstance(label_map, list) else [label_map]
    known = set(
        np.unique(label_map_to_array(np.squeeze(single) if isinstance(single, np.ndarray) else single)).tolist()
    )
    if not settings_of_call:
        assert set(labels.unique().tolist()) <= known


def read_file(content: bytes) -> None:
    picture = read_rgb("data:;base64," + base64.b64encode(content).decode())
    assert picture.mode == "RGB" and 0 not in picture.size
    assert np.asarray(picture).shape == (picture.height, picture.width, 3)


def post_process(logits_and_sizes: tuple[Any, Any], settings_of_call: dict[str, Any]) -> None:
    logits, target_sizes = logits_and_sizes
    maps = image_processor().post_process_semantic_segmentation(logits, target_sizes, **settings_of_call)
    for label_map, picture_logits in zip(maps, logits, strict=True):
        assert (picture_logits.float() < torch.inf).all()
        assert label_map.min() >= -1 and label_map.max() < len(picture_logits)


def resize_classes(logits: torch.Tensor, size: tuple[int, int], windows: bool) -> None:
    if windows:
        pictures = [torch.zeros(3, *size)]
        ((label_map, best),) = label_with_sliding_window(lambda _: logits[None], pictures, window_size=8)
    else:
        label_map, best = find_best_classes([(0, logits)], size)
        # Of values that are infinite the reference makes no numbers, where their weight is zero.
        logits = logits.float().clamp(torch.finfo(torch.float32).min / 2)
        resized = torch.nn.functional.interpolate(logits[None].float(), size=size, mode="bilinear")[0]
        torch.testing.assert_close(resized.gather(0, label_map[None])[0], best, atol=1e-4, rtol=1e-4)
    assert label_map.shape == best.shape == size and not best.isnan().any() and (logits < torch.inf).all()


def make_vocabulary(settings_of_vocabulary: dict[str, Any]) -> None:
    vocabulary = FGASegVocabulary(**settings_of_vocabulary)
    assert vocabulary.labels and len(set(vocabulary.labels)) == len(vocabulary.labels)
    assert len(vocabulary.label_of_phrase) == len(vocabulary.phrases)
    assert max(vocabulary.label_of_phrase) < len(vocabulary.labels)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary.save(folder)
        assert FGASegVocabulary.load(folder) == vocabulary


def check_names(names: Any) -> None:
    checked = check_class_names(names)
    assert len({" ".join(name.split()).casefold() for name in checked}) == len(names)
    assert tiny_processor()(text=checked[:3], return_tensors="pt")["input_ids"].shape[0] == min(len(checked), 3)


@cache
def description_of_vocabulary() -> tuple[dict[str, Any], bytes, str]:
    with tempfile.TemporaryDirectory() as folder:
        tiny_vocabulary().encode(tiny_model(), tiny_processor()).save(folder)
        embeddings = next(Path(folder).glob("*.safetensors"))
        return json.loads((Path(folder) / "vocabulary.json").read_text()), embeddings.read_bytes(), embeddings.name


def load_vocabulary(changes: dict[str, Any], encoding_changes: dict[str, Any], cut: int) -> None:
    description, embeddings, name = description_of_vocabulary()
    description = {**description, **changes}
    if isinstance(description["encoding"], dict):
        description["encoding"] = {**description["encoding"], **encoding_changes}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocabulary.json").write_text(json.dumps(description))
        (Path(folder) / name).write_bytes(embeddings[: len(embeddings) - cut])
        loaded = FGASegVocabulary.load(folder)
    assert loaded.encoding is None or len(loaded.encoding.phrases) == len(loaded.encoding.embeddings)


@cache
def segmenter() -> Any:
    return pipeline("zero-shot-image-segmentation", model=tiny_model(), processor=tiny_processor(), device="cpu")


def segment(picture: Any, labels: Any, settings_of_call: dict[str, Any]) -> None:
    answer = segmenter()(picture, candidate_labels=labels, **settings_of_call)
    answers = answer if isinstance(picture, list) else [answer]
    for segments in answers:
        covered = sum((np.asarray(found["mask"]) == 255).astype(int) for found in segments)
        assert np.max(covered) <= 1 and all(0 <= found["score"] <= 1 for found in segments)
        assert all(found["label"] in [*labels_of(labels), settings_of_call.get("background")] for found in segments)


def labels_of(labels: Any) -> list[str]:
    return [name.strip() for name in labels]


def draw(picture_and_ids: tuple[Any, Any], names: list[str], alpha: Any) -> None:
    picture, ids = picture_and_ids
    overlay = draw_overlay(picture, ids, names, alpha)
    assert overlay.mode == "RGB" and overlay.height > picture.height
    with tempfile.TemporaryDirectory() as folder:
        save_label_map(ids, names, Path(folder) / "map.png")
        with Image.open(Path(folder) / "map.png") as stored:
            assert np.asarray(stored).shape == np.asarray(ids).shape


def write_legend(text: str) -> None:
    font, shown = writable(text, 20)
    assert shown.isprintable() and font.getlength(shown) >= 0


SETTINGS_OF_PROCESSOR = st.fixed_dictionaries(
    {},
    optional={
        "do_rescale": st.booleans(),
        "input_data_format": st.sampled_from(["channels_first", "channels_last", None]),
        "resample": st.sampled_from([0, 2, 3]),
    },
)
SHAPES = usually(st.tuples(*[st.integers(1, 4)] * 4), st.lists(st.integers(0, 4), min_size=2, max_size=5).map(tuple))
CLASS_MAPS = st.tuples(*[st.integers(1, 6)] * 3)


def scores(shapes: st.SearchStrategy[tuple[int, ...]]) -> st.SearchStrategy[torch.Tensor]:
    """Logits of such shapes, at times with one value that is no number."""
    return st.builds(
        _scores, shapes, DTYPES_OF_SCORES, st.sampled_from([0.0] * 5 + [np.nan, np.inf, -np.inf]), st.integers(0, 99)
    )


def _scores(shape: tuple[int, ...], dtype: torch.dtype, odd: float, start: int) -> torch.Tensor:
    values = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(start))
    return values.to(dtype).masked_fill(torch.arange(values.numel()).reshape(shape) == 3, odd)


DTYPES_OF_SCORES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64])
SIZES = st.one_of(
    st.none(),
    st.lists(st.tuples(st.integers(-1, 20), st.integers(0, 20)), max_size=3),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
    ODD,
)
# Logits with a size for each picture, or with whatever.
LOGITS_AND_SIZES = usually(
    scores(SHAPES).flatmap(
        lambda logits: st.tuples(
            st.just(logits), st.lists(st.tuples(*[st.integers(1, 30)] * 2), min_size=len(logits), max_size=len(logits))
        )
    ),
    st.tuples(usually(scores(SHAPES), ODD), SIZES),
)
NAMES = st.lists(TEXTS | ODD, max_size=4) | ODD
DISTINCT_NAMES = st.lists(st.sampled_from(["sky", "car", "tree", "café", "天空"]), min_size=1, max_size=4, unique=True)
DISTINCT_TEXTS = st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=8), max_size=2, unique=True)
VOCABULARIES = st.fixed_dictionaries(
    {"names": usually(DISTINCT_NAMES, NAMES)},
    optional={
        "synonyms": usually(st.dictionaries(st.sampled_from(["sky", "car"]), DISTINCT_TEXTS, max_size=1), ODD),
        "groups": usually(st.dictionaries(TEXTS, usually(DISTINCT_NAMES, NAMES), max_size=1), ODD),
        "background": usually(st.sampled_from(["none of these", "sky", None]), ODD | TEXTS),
        "background_threshold": usually(st.floats(0.1, 0.9), ODD),
        "templates": usually(st.sampled_from([["a {}"], None]), ODD),
        "repeated_names": st.sampled_from(["refuse", "merge", "keep"]),
    },
)


JSON = ODD.filter(lambda value: not isinstance(value, bytes))
PICTURES_WITH_IDS = pillow_pictures().map(
    lambda picture: (picture, np.random.default_rng(picture.width).integers(-1, 2, (picture.height, picture.width)))
)


@dataclass(frozen=True)
class Door:
    """A way in.

    Attributes:
        arguments: What is tried.
        enter: What is done with it; raises `AssertionError` where an answer is wrong.
        share: How many of all cases, by weight.
    """

    arguments: st.SearchStrategy[tuple[Any, ...]]
    enter: Callable[..., None]
    share: int = 10


DOORS = {
    "pictures": Door(st.tuples(PICTURES | st.lists(PICTURES, max_size=2), SETTINGS_OF_PROCESSOR), prepare_pictures, 20),
    "label_maps": Door(
        st.tuples(
            usually(arrays(st.just(2)) | pillow_pictures(), ODD.filter(lambda odd: odd is not None)),
            st.sampled_from([{}, {"do_reduce_labels": True}]),
        ),
        prepare_label_maps,
    ),
    "files": Door(st.tuples(picture_files()), read_file, 25),
    "post_processing": Door(
        st.tuples(
            LOGITS_AND_SIZES,
            st.fixed_dictionaries(
                {},
                optional={
                    "threshold": usually(st.floats(0, 1), ODD),
                    "class_chunk_size": usually(st.integers(1, 5), ODD),
                },
            ),
        ),
        post_process,
    ),
    "resizing": Door(
        st.tuples(scores(CLASS_MAPS), st.tuples(st.integers(1, 40), st.integers(1, 40)), st.booleans()),
        resize_classes,
        8,
    ),
    "vocabulary": Door(st.tuples(VOCABULARIES), make_vocabulary, 12),
    "vocabulary_files": Door(
        st.tuples(
            st.dictionaries(st.sampled_from(["names", "encoding", "groups", "format_version"]), JSON, max_size=1),
            st.dictionaries(st.sampled_from(["phrases", "templates", "embeddings_file"]), JSON, max_size=1),
            st.sampled_from([0, 0, 1, 100]),
        ),
        load_vocabulary,
        5,
    ),
    "class_names": Door(st.tuples(usually(DISTINCT_NAMES, NAMES)), check_names, 6),
    "pipeline": Door(
        st.tuples(
            usually(pillow_pictures() | arrays(), ODD),
            usually(DISTINCT_NAMES, NAMES.filter(lambda names: names is not None)),
            st.fixed_dictionaries({}, optional={"threshold": usually(st.floats(0, 1), ODD), "background": TEXTS}),
        ),
        segment,
        4,
    ),
    "overlays": Door(
        st.tuples(
            usually(PICTURES_WITH_IDS, st.tuples(pillow_pictures(), arrays(st.just(2), 9))),
            st.lists(TEXTS, min_size=1, max_size=3),
            usually(st.floats(0, 1), ODD),
        ),
        draw,
        8,
    ),
    "legends": Door(st.tuples(TEXTS), write_legend, 4),
    "metric": Door(METRICS, count_pixels, 6),
    "words": Door(st.tuples(WORDS), read_word_list, 6),
    "checkpoints": Door(st.tuples(checkpoint_files()), read_checkpoint_file, 12),
    "prepare": Door(st.tuples(st.integers(0, 2**32)), prepare_folder, 3),
    "cards": Door(st.tuples(DESCRIPTIONS), describe, 4),
    "command_line": Door(st.tuples(COMMAND_LINES), run_command, 2),
}
# Where the packages of the extra `serve` are.
if has_service():
    DOORS["service"] = Door(st.tuples(REQUESTS), serve, 5)


@dataclass
class Outcomes:
    """What came of the cases of a door.

    Attributes:
        counts: How often each outcome came.
        failures: The traceback of the first case of each failure.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)


def enter(door: Door, arguments: tuple[Any, ...], outcomes: Outcomes) -> None:
    """Tries one case and writes down what came of it."""
    raised: Exception | None = None
    try:
        door.enter(*arguments)
        outcome = "answered"
    except AssertionError as error:
        raised, outcome = error, "WRONG"
    except Exception as error:
        raised = error
        is_sentence = type(error) is ValueError
        names_argument = type(error) is TypeError and ("`" in str(error) or "argument" in str(error))
        outcome = "refused" if is_sentence or names_argument else f"RAW {type(error).__name__}"
        if outcome == "refused" and len(str(error)) > LONGEST_MESSAGE:
            outcome = "LONG MESSAGE"
    outcomes.counts[outcome] += 1
    if outcome not in ("answered", "refused"):
        where = "".join(traceback.format_exception(raised, limit=-4))
        outcomes.failures.setdefault(outcome, f"{repr(arguments)[:600]}\n{where}")


def try_door(name: str, num_examples: int, start: int = 0) -> Outcomes:
    """Tries so many generated cases at a door, the same ones for the same start."""
    door, outcomes = DOORS[name], Outcomes()

    @seed(start)
    @settings(max_examples=num_examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(door.arguments)
    def every_case(arguments: tuple[Any, ...]) -> None:
        enter(door, arguments, outcomes)

    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            every_case()
    finally:
        logging.disable(logging.NOTSET)
    return outcomes


def try_doors(names: list[str], num_examples: int, start: int = 0) -> dict[str, Outcomes]:
    """Tries about so many cases at several doors, by their shares."""
    shares = sum(DOORS[name].share for name in names)
    return {name: try_door(name, -(-num_examples * DOORS[name].share // shares), start) for name in names}


def main() -> None:
    """Counts the outcomes on the standard output; ends with 1 if there was a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--doors", nargs="+", choices=sorted(DOORS), default=list(DOORS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tried = try_doors(arguments.doors, arguments.examples, arguments.seed)
    total: Counter[str] = Counter()
    for name, outcomes in tried.items():
        total += outcomes.counts
        sys.stdout.write(f"{name:18} {sum(outcomes.counts.values()):6}  {dict(outcomes.counts)}\n")
    sys.stdout.write(f"{'all':18} {sum(total.values()):6}  {dict(total)}\n")
    failures = [failure for outcomes in tried.values() for failure in outcomes.failures.values()]
    sys.stdout.write("\n".join(failures))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""Doors behind which whole programs stand: metric, word lists, checkpoints, preparation, cards, commands, service."""

import base64
import importlib.util
import io
import json
import pickle
import random
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import yaml
from hypothesis import strategies as st
from odd_inputs import ODD, TEXTS, arrays, damaged, picture_files, usually
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf.conversion.checkpoint_sources import read_checkpoint
from fgaseg_hf.data.benchmark_preparation import prepare_benchmark
from fgaseg_hf.evaluation.segmentation_metrics import SegmentationConfusionMatrix
from fgaseg_hf.inference.segmenter import Segmenter
from fgaseg_hf.inference.word_lists import read_words
from fgaseg_hf.release.card_description import CardDescription

# The metric.

NAMES = ["sky", "car", "tree"]
METRICS = st.tuples(
    st.fixed_dictionaries(
        {"class_names": usually(st.just(NAMES), st.lists(TEXTS | ODD, max_size=3) | ODD)},
        optional={
            "ignored_ids": usually(st.sampled_from([(), (255,), (0, 7)]), st.lists(ODD, max_size=2) | ODD),
            "background_id": usually(st.integers(0, 4), ODD),
            "boundary_ratio": usually(st.floats(0.01, 0.5), ODD),
        },
    ),
    st.integers(1, 6).flatmap(
        lambda side: st.tuples(
            *[
                usually(
                    st.integers(0, 99).map(
                        lambda start: np.random.default_rng(start).integers(0, 3, (side, side)).astype(np.uint8)
                    ),
                    arrays(st.just(2)) | ODD,
                )
            ]
            * 2
        )
    ),
)


def count_pixels(settings: dict[str, Any], maps: tuple[Any, Any]) -> None:
    metric = SegmentationConfusionMatrix(**settings)
    metric.update(*maps)
    measured = metric.compute()
    assert metric.num_pictures >= 1
    assert measured.mean_iou is None or 0 <= measured.mean_iou <= 1


# Lists of words, as files and as text.

WORDS = usually(
    st.lists(TEXTS, max_size=4).map(", ".join)
    | st.lists(TEXTS, max_size=3).map("\n".join)
    | st.lists(TEXTS | st.integers(), max_size=3).map(json.dumps)
    | st.sampled_from(["[" * 100_000, '["a', "@", "@missing", "@\0", "@/", ",", "\ufeffsky"]),
    ODD,
)


def read_word_list(words: Any) -> None:
    read = read_words(words)
    texts = [word for word in read if isinstance(word, str)]
    assert len(texts) == len(read) or not isinstance(words, str)
    assert all(word.strip() == word or not isinstance(words, str) for word in texts)
    assert not any("\n" in word or "\0" in word for word in texts)


# Checkpoints.


@cache
def whole_checkpoints() -> list[bytes]:
    """Small files in each container: zipped and older PyTorch, TorchScript, safetensors, pickles with calls in them."""
    weights = {"a.weight": torch.ones(3, 2), "a.bias": torch.zeros(2)}
    contents = []
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        stream = io.BytesIO()
        torch.save({"model": weights, "epoch": 3}, stream, **options)
        contents.append(stream.getvalue())
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), stream)
    contents += [stream.getvalue(), safetensors.torch.save(weights), pickle.dumps(print), pickle.dumps(weights)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 2**20)
    return [*contents, stream.getvalue()]


def checkpoint_files() -> st.SearchStrategy[bytes]:
    return damaged(whole_checkpoints, st.sampled_from((0, 0, 1, 1, 3)), 8, 200)


def read_checkpoint_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        path.write_bytes(content)
        # What is read may be mapped from the file, so it is looked at while that is there.
        tensors = read_checkpoint(path).tensors
        assert tensors and all(isinstance(name, str) for name in tensors)
        assert sum(tensor.numel() for tensor in tensors.values()) <= 4 * len(content)
        for tensor in tensors.values():
            tensor.clone()


# Preparation of data sets.


def prepare_folder(number: int) -> None:
    if (folder_of_tests := str(Path(__file__).parent / "data")) not in sys.path:
        sys.path.append(folder_of_tests)
    from test_preparation_of_odd_files import odd_source, stored_maps

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        source = odd_source(Path(folder) / "source", random.Random(number))
        try:
            prepared = prepare_benchmark("folder", source, out, pictures_per_shard=2, show_progress=False)
        except ValueError:
            assert not out.exists()
            raise
        for split, result in prepared.items():
            assert len(stored_maps(out, split)) == result.num_pictures > 0


# Descriptions of model cards.

VALUES = TEXTS | st.lists(TEXTS, max_size=2) | ODD.filter(lambda value: not isinstance(value, bytes))
DESCRIPTIONS = usually(
    st.dictionaries(
        st.sampled_from(["name", "license", "summary", "tags", "training", "measured_data", "limits", "more"]),
        usually(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), VALUES),
        max_size=4,
    ).map(lambda described: yaml.safe_dump(described, allow_unicode=False).encode()),
    st.binary(max_size=60)
    | st.sampled_from([b"- a", b"a: [", b"a: &a [*a]", b"[" * 20_000, b"!!python/name:os.system ''"]),
)


def describe(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "card.yaml"
        path.write_bytes(content)
        described = CardDescription.load(path, name="model", license="mit")
    assert isinstance(described.summary, str) and isinstance(described.tags, list)


# The command line.

OPTIONS = st.lists(
    st.sampled_from(
        [
            *(["--threshold", value] for value in ("0.5", "2", "x", "nan")),
            *(["--background", value] for value in ("other", "", "auto", "sky")),
            *(["--template", value] for value in ("a {}", "a", "{} {}")),
            *(["--group", value] for value in ("a=b, c", "a", "=", "a=b=c")),
            *(["--synonym", value] for value in ("sky=heaven", "x=y", "sky=")),
            *(["--formats", value] for value in ("labels", "numpy,coco", "x", "")),
            *(["--overlay", value] for value in ("jpg", "none", "x")),
            *(["--topk", value] for value in ("1", "0", "99", "x")),
            *(["--max-megapixels", value] for value in ("0.01", "1", "0", "inf", "nan", "x")),
            *(["--device", value] for value in ("meta", "cpu", "x")),
            *(["--dtype", value] for value in ("float32", "int8", "x")),
            ["--resume"],
            ["--json"],
            ["--sliding-window"],
            ["--unknown"],
        ]
    ),
    max_size=3,
)
COMMAND_LINES = st.tuples(
    picture_files(), usually(st.sampled_from(["sky, car", "sky\ncar", '["sky"]']), TEXTS), OPTIONS
)


@cache
def model_folder() -> str:
    folder = tempfile.mkdtemp()
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


def run_command(line: tuple[bytes, str, list[list[str]]]) -> None:
    """Answers with 0; with 1 and 2 it refuses, in one line."""
    from typer.testing import CliRunner

    from fgaseg_hf.cli.main import app

    content, labels, options = line
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "picture").write_bytes(content)
        words = ["segment", f"{folder}/picture", "--model", model_folder(), "--output", f"{folder}/out"]
        words += [f"--labels={labels}", *(word for option in options for word in option)]
        before = _pixel_limit()
        result = CliRunner().invoke(app, words)
        _pixel_limit(before)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in (0, 1, 2), result.exit_code
        written = list((Path(folder) / "out").glob("picture_*"))
        assert bool(written) == (result.exit_code == 0), (result.exit_code, written, result.output)
    if result.exit_code:
        assert "Traceback" not in result.output
        raise ValueError(" ".join(result.output.split())[-600:])


def _pixel_limit(wanted: Any = "as it is") -> Any:
    from PIL import Image

    if wanted != "as it is":
        Image.MAX_IMAGE_PIXELS = wanted
    return Image.MAX_IMAGE_PIXELS


# The service.

JSON_VALUES = ODD.filter(lambda value: not isinstance(value, bytes) and value == value)
REQUESTS = st.tuples(
    picture_files(),
    st.fixed_dictionaries(
        {},
        optional={
            "words": usually(
                st.lists(st.sampled_from(CLASS_NAMES), min_size=1, unique=True), st.lists(TEXTS) | JSON_VALUES
            ),
            "threshold": usually(st.floats(0, 1), JSON_VALUES),
            "background": usually(st.just("other"), JSON_VALUES),
            "formats": usually(st.just(["label_map"]), JSON_VALUES),
            "picture": JSON_VALUES,
        },
    ),
)


def has_service() -> bool:
    """Whether the packages of the service are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("fastapi", "httpx", "prometheus_client"))


@cache
def client() -> Any:
    from fastapi.testclient import TestClient

    from fgaseg_hf.apps.segmentation_service import create_app
    from fgaseg_hf.apps.service_limits import ServiceLimits

    limits = ServiceLimits(max_pixels=20_000, timeout=60)
    app = create_app(Segmenter.from_model(tiny_model(), tiny_processor()), limits, words=CLASS_NAMES)
    return TestClient(app).__enter__()


def serve(request: tuple[bytes, dict[str, Any]]) -> None:
    """Answers with 200; refuses by a status from 400 to 499 with one sentence."""
    content, fields = request
    body = json.dumps({"picture": base64.b64encode(content).decode(), **fields}, allow_nan=True)
    answer = client().post("/segment", content=body, headers={"content-type": "application/json"})
    if answer.status_code == 200:
        assert answer.json()["width"] >= 1
        return
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    raise ValueError(answer.json()["detail"])

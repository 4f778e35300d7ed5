# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The endpoint's handler, called as an endpoint calls it."""

import base64
import io
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf.release import endpoint_handler


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    shutil.copyfile(str(endpoint_handler.__file__), folder / "handler.py")
    return folder


@pytest.fixture(scope="module")
def handler(repository: Path) -> Any:
    spec = spec_from_file_location("handler", repository / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(repository))


def picture_bytes() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def test_masks_of_asked_words_cover_the_picture(handler: Any) -> None:
    content = picture_bytes()
    parameters = {"candidate_labels": CLASS_NAMES}
    answers = handler({"inputs": base64.b64encode(content).decode(), "parameters": parameters})
    masks = [np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"])))) == 255 for answer in answers]
    assert {answer["label"] for answer in answers} <= set(CLASS_NAMES)
    assert np.array_equal(sum(mask.astype(int) for mask in masks), np.ones((40, 56), int))
    for inputs in (
        content,
        Image.open(io.BytesIO(content)),
        "data:image/png;base64," + base64.b64encode(content).decode(),
    ):
        assert handler({"inputs": inputs, "parameters": parameters}) == answers


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"inputs": b"no picture", "parameters": {"candidate_labels": ["sky"]}}, "inputs"),
        ({"inputs": "###", "parameters": {"candidate_labels": ["sky"]}}, "inputs"),
        ({"parameters": {"candidate_labels": ["sky"]}}, "inputs"),
        ({"inputs": picture_bytes(), "parameters": {"labels": ["sky"]}}, "labels"),
        ({"inputs": picture_bytes()}, "candidate_labels"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(handler: Any, data: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word) as refusal:
        handler(data)
    assert len(str(refusal.value)) < 300

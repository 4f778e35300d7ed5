# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The labelling tools' files, called as the tools call them, and their answers read by the tools' own libraries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from script_loading import REPOSITORY, load_script
from static_host import static_host
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf.inference.segmenter import Segmenter

CONFIGURATION = """<View><Image name="photo" value="$picture"/><BrushLabels name="mask" toName="photo">
{labels}</BrushLabels></View>""".format(labels="".join(f'<Label value="{name}"/>' for name in CLASS_NAMES))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_model(tiny_model(), tiny_processor())


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))


def test_cvat(segmenter: Segmenter, picture: Image.Image) -> None:
    pytest.importorskip("cvat_sdk", reason="cvat-sdk is not installed")
    from cvat_sdk.masks import decode_mask

    script = load_script(REPOSITORY / "integrations" / "cvat" / "auto_annotation.py", "cvat_function")
    function = script.WordMasks(segmenter, CLASS_NAMES)
    assert [label.name for label in function.spec.labels] == CLASS_NAMES

    class Context:
        conf_threshold: float | None = None

    shapes = function.detect(Context(), picture)
    expected = segmenter(picture, CLASS_NAMES)
    assert [CLASS_NAMES[shape.label_id] for shape in shapes] == expected.found
    for shape in shapes:
        mask = decode_mask(shape.points, image_width=56, image_height=40)
        assert np.array_equal(mask, expected[CLASS_NAMES[shape.label_id]].mask)
    Context.conf_threshold = 1.0
    assert function.detect(Context(), picture) == []


@pytest.fixture
def label_studio(tmp_path: Path, picture: Image.Image) -> Iterator[str]:
    """What of a Label Studio server the backend sees: pictures at addresses."""
    (tmp_path / "data").mkdir()
    picture.save(tmp_path / "data" / "p.png")
    with static_host(tmp_path) as address:
        yield address


def test_label_studio(segmenter: Segmenter, picture: Image.Image, label_studio: str) -> None:
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    from fastapi.testclient import TestClient

    script = load_script(REPOSITORY / "integrations" / "label_studio" / "ml_backend.py", "label_studio_backend")
    client = TestClient(script.create_app(segmenter, script.fetch_from(label_studio, "key")))
    assert client.get("/health").json()["status"] == "UP"
    assert client.post("/setup", json={"project": "1.1", "schema": CONFIGURATION}).json()["model_version"]

    def predict(address: str, configuration: str = CONFIGURATION) -> Any:
        tasks = [{"id": 1, "data": {"picture": address}}]
        return client.post("/predict", json={"tasks": tasks, "project": "1.1", "label_config": configuration})

    (draft,) = predict("/data/p.png").json()["results"]
    expected = segmenter(picture, CLASS_NAMES)
    assert [region["value"]["brushlabels"] for region in draft["result"]] == [[word] for word in expected.found]
    for region, word in zip(draft["result"], expected, strict=True):
        assert (region["from_name"], region["to_name"]) == ("mask", "photo")
        pixels = brush.decode_rle(region["value"]["rle"]).reshape(40, 56, 4)[:, :, 3]
        assert np.array_equal(pixels > 0, word.mask)

    for address in ("http://127.0.0.1:1/p.png", "file:///etc/passwd"):
        refused = predict(address)
        assert refused.status_code == 422
        assert "does not lie on" in refused.json()["detail"]
    assert "BrushLabels" in predict("/data/p.png", "<View/>").json()["detail"]

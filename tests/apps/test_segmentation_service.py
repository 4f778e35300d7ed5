# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The service over HTTP: questions, the Hub's task by the Hub's own client, limits, and what waits."""

import base64
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import CLASS_NAMES, tiny_model, tiny_processor

from fgaseg_hf.inference.segmenter import Segmenter

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
uvicorn = pytest.importorskip("uvicorn")

from fastapi.testclient import TestClient  # noqa: E402

from fgaseg_hf.apps.segmentation_service import create_app  # noqa: E402
from fgaseg_hf.apps.service_limits import ServiceLimits  # noqa: E402


def png(width: int = 56, height: int = 40, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def opened(encoded: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.from_model(tiny_model(), tiny_processor())


@pytest.fixture(scope="module")
def client(segmenter: Segmenter) -> Iterator[TestClient]:
    limits = ServiceLimits(max_bytes=200_000, max_pixels=20_000, max_words=20)
    with TestClient(create_app(segmenter, limits, words=CLASS_NAMES)) as client:
        yield client


def question(**fields: Any) -> dict[str, Any]:
    return {"picture": base64.b64encode(png()).decode(), **fields}


def test_answers_are_those_of_the_library(client: TestClient, segmenter: Segmenter) -> None:
    expected = segmenter(png(), ["sky", "red car"])
    answer = client.post("/segment", json=question(words=["sky", "red car"], formats=["label_map", "overlay"])).json()
    assert (answer["width"], answer["height"]) == (56, 40)
    assert np.array_equal(opened(answer["label_map"]), expected.label_map + 1)
    assert {entry["word"]: entry["share"] for entry in answer["words"]} == expected.shares
    assert np.array_equal(opened(answer["overlay"]), np.asarray(expected.overlay()))
    form = {"words": "sky, red car", "formats": "label_map,overlay"}
    assert client.post("/segment/file", files={"picture": png()}, data=form).json() == answer


def test_words_of_the_service_and_background(client: TestClient, segmenter: Segmenter) -> None:
    answer = client.post("/segment", json=question()).json()
    assert [entry["word"] for entry in answer["words"]] == CLASS_NAMES
    asked = {"words": ["sky"], "background": "none of these", "threshold": 0.4}
    answer = client.post("/segment", json=question(**asked)).json()
    expected = segmenter(png(), ["sky"], background="none of these", threshold=0.4)
    assert {entry["word"]: entry["share"] for entry in answer["words"]} == expected.shares


@pytest.mark.parametrize(
    ("status", "fields", "word"),
    [
        (422, {"picture": "###"}, "base64"),
        (422, {"picture": base64.b64encode(b"text").decode()}, "picture"),
        (422, {"words": []}, "empty"),
        (422, {"words": ["x" * 5000, 3]}, "words"),
        (422, {"words": ["sky"] * 2}, "sky"),
        (422, {"words": [f"thing {number}" for number in range(21)]}, "at most 20"),
        (422, {"threshold": 1.5}, "threshold"),
        (422, {"formats": ["exe"]}, "formats"),
        (413, {"picture": base64.b64encode(png(200, 200)).decode()}, "pixels"),
        (413, {"picture": "A" * 300_000}, "MiB"),
    ],
)
def test_refusals(client: TestClient, status: int, fields: dict[str, Any], word: str) -> None:
    answer = client.post("/segment", json=question() | fields)
    assert answer.status_code == status
    assert word in answer.json()["detail"]
    assert len(answer.text) < 1000
    assert "fgaseg_hf/" not in answer.text


def test_requests_reach_no_file_and_no_address(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
        path = tmp_path / "picture.png"
        path.write_bytes(png())
        for place in (address, str(path), f"file://{path}"):
            encoded = base64.b64encode(place.encode()).decode()
            for picture in (place, encoded, f"data:image/png;base64,{encoded}"):
                asked.append(client.post("/segment", json=question(picture=picture, words=["sky"])).status_code)
                asked.append(client.post("/", json={"inputs": picture}).status_code)
            headers = {"content-type": "image/png"}
            asked.append(client.post("/", content=place.encode(), headers=headers).status_code)
            file = {"picture": place.encode()}
            asked.append(client.post("/segment/file", files=file, data={"words": "sky"}).status_code)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert asked == [422] * 24
    # A word that looks like a file's name is that word.
    monkeypatch.chdir(tmp_path)
    path.rename("a.png")
    answer = client.post("/segment", json=question(words=["@a.png", "sky"]))
    assert answer.status_code == 200 and "@a.png" in answer.text


def test_a_body_without_a_length_is_counted(client: TestClient) -> None:
    answer = client.post("/", content=iter([b"x" * 100_000] * 3), headers={"content-type": "image/png"})
    assert answer.status_code == 413


def test_health_ready_metrics(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json()["ready"]
    client.post("/segment", json=question())
    client.post("/segment", json=question(picture="###"))
    text = client.get("/metrics").text
    counts = {line.split(" ")[0]: float(line.split(" ")[1]) for line in text.splitlines() if line[0] != "#"}
    assert counts["fgaseg_answer_seconds_count"] >= 1
    assert counts['fgaseg_refusals_total{status="422"}'] >= 1


@contextmanager
def served(app: Any) -> Iterator[str]:
    """A real server on a free port of the loopback address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_the_hubs_own_client(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import InferenceClient

    # The suite forbids the Hub's client every address; this one is the server below.
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    expected = segmenter(png(), CLASS_NAMES)
    with served(create_app(segmenter, words=CLASS_NAMES)) as address:
        client = InferenceClient(model=address)
        for parameters in ({}, {"threshold": 0.0, "subtask": "semantic"}):
            answers = client.image_segmentation(png(), **parameters)
            assert [answer.label for answer in answers] == expected.found
            for answer in answers:
                assert np.array_equal(np.asarray(answer.mask) == 255, expected[answer.label].mask)
                assert answer.score == pytest.approx(expected.scores[answer.label])


class SlowSegmenter:
    """Answers after a while, and remembers how many pictures came at once."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter, self.batches, self.gate = segmenter, list[int](), threading.Event()

    def __call__(self, pictures: list[bytes], words: Any, **options: Any) -> Iterator[Any]:
        self.batches.append(len(pictures))
        assert self.gate.wait(30)
        return self.segmenter(pictures, words, **options)


def test_what_waits_is_limited_and_computed_together(segmenter: Segmenter) -> None:
    slow = SlowSegmenter(segmenter)
    limits = ServiceLimits(max_waiting=3, batch_size=3)
    app = create_app(slow, limits, words=CLASS_NAMES)  # type: ignore[arg-type]
    answers: list[Any] = []

    with TestClient(app) as client:
        ask = lambda: answers.append(client.post("/segment", json=question()))  # noqa: E731
        threads = [threading.Thread(target=ask)]
        threads[0].start()
        while slow.batches != [1]:
            time.sleep(0.01)
        threads += [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads[1:]:
            thread.start()
        while client.get("/ready").status_code == 200:
            time.sleep(0.01)
        refused = client.post("/segment", json=question())
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        slow.gate.set()
        for thread in threads:
            thread.join()
    assert slow.batches == [1, 3]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json()["label_map"] for answer in answers}) == 1


def test_one_bad_picture_leaves_the_others_their_answer(segmenter: Segmenter) -> None:
    slow = SlowSegmenter(segmenter)
    app = create_app(slow, ServiceLimits(batch_size=3), words=CLASS_NAMES)  # type: ignore[arg-type]
    broken = png()[:200]  # its header can be read, its pixels cannot
    answers: dict[str, Any] = {}
    with TestClient(app) as client:

        def ask(name: str, content: bytes) -> None:
            answers[name] = client.post("/segment", json=question(picture=base64.b64encode(content).decode()))

        threads = [threading.Thread(target=ask, args=("first", png()))]
        threads[0].start()
        while slow.batches != [1]:
            time.sleep(0.01)
        threads += [threading.Thread(target=ask, args=(f"good {n}", png(seed=n))) for n in range(1, 3)]
        threads += [threading.Thread(target=ask, args=("broken", broken))]
        for thread in threads[1:]:
            thread.start()
        while client.get("/ready").json()["waiting"] < 3:
            time.sleep(0.01)
        slow.gate.set()
        for thread in threads:
            thread.join()
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "first": 200, "good 1": 200, "good 2": 200, "broken": 422,
    }  # fmt: skip


def test_an_answer_that_takes_too_long(segmenter: Segmenter) -> None:
    slow = SlowSegmenter(segmenter)
    app = create_app(slow, ServiceLimits(timeout=0.2), words=CLASS_NAMES)  # type: ignore[arg-type]
    with TestClient(app) as client:
        answer = client.post("/segment", json=question())
        slow.gate.set()
    assert answer.status_code == 503
    assert "again" in answer.json()["detail"]

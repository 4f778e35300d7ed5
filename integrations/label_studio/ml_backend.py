# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""A Label Studio machine learning backend: `health`, `setup` and `predict` over HTTP, answering brush masks."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen
from xml.etree import ElementTree

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from fgaseg_hf import Segmenter

MAX_PICTURE_BYTES = 50 * 2**20


class SetupRequest(BaseModel):
    """What Label Studio sends when the backend is added to a project; `predict` brings all of it again."""

    project: str | int | None = None


class PredictRequest(BaseModel):
    """Tasks to draft, and the project's labelling configuration."""

    tasks: list[dict[str, Any]]
    label_config: str
    project: str | int | None = None


@dataclass(frozen=True)
class BrushConfiguration:
    """What of a labelling configuration a brush needs.

    Attributes:
        from_name: The name of `<BrushLabels>`.
        to_name: The name of `<Image>`.
        field: The task's field with the picture's address.
        labels: The words.
    """

    from_name: str
    to_name: str
    field: str
    labels: list[str]

    @classmethod
    def parse(cls, xml: str) -> "BrushConfiguration":
        """Reads a labelling configuration.

        Raises:
            ValueError: It is no XML, or has no `<BrushLabels>` of an `<Image>`.
        """
        if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
            raise ValueError("The labelling configuration declares entities: write it without.")
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError as error:
            raise ValueError(f"The labelling configuration is no XML ({error}).") from error
        brush, image = root.find(".//BrushLabels"), root.find(".//Image")
        if brush is None or image is None:
            raise ValueError("The labelling configuration has no <BrushLabels> for an <Image>: add them.")
        labels = [label.attrib["value"] for label in brush.iter("Label")]
        return cls(brush.attrib["name"], image.attrib["name"], image.attrib["value"].lstrip("$"), labels)


def create_app(segmenter: Segmenter, fetch: Callable[[str], bytes]) -> FastAPI:
    """Makes the backend.

    Args:
        segmenter: The model.
        fetch: Gives the bytes of a task's picture; raises ValueError for one that may not be read.
    """
    app = FastAPI(title="fgaseg for Label Studio")

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "fgaseg"}

    @app.post("/setup")
    def setup(_: SetupRequest) -> dict[str, str]:
        return {"model_version": segmenter.name}

    @app.post("/predict")
    def predict(request: PredictRequest) -> dict[str, Any]:
        try:
            brush = BrushConfiguration.parse(request.label_config)
            pictures = [fetch(task["data"][brush.field]) for task in request.tasks]
            drafts = [
                result.to_label_studio(from_name=brush.from_name, to_name=brush.to_name)["predictions"][0]
                for result in segmenter(pictures, brush.labels)
            ]
        except (ValueError, KeyError) as error:
            raise HTTPException(422, " ".join(str(error).split())) from error
        return {"results": [draft | {"model_version": segmenter.name} for draft in drafts]}

    return app


def fetch_from(server: str, api_key: str | None) -> Callable[[str], bytes]:
    """Gives a function that reads pictures of one Label Studio server, and of no other."""

    def fetch(address: str) -> bytes:
        full = urljoin(server.rstrip("/") + "/", address)
        if urlsplit(full)[:2] != urlsplit(server)[:2]:
            raise ValueError("A task's picture does not lie on the Label Studio server: upload it there.")
        headers = {"Authorization": f"Token {api_key}"} if api_key else {}
        with urlopen(Request(full, headers=headers), timeout=30) as response:
            content: bytes = response.read(MAX_PICTURE_BYTES + 1)
        if len(content) > MAX_PICTURE_BYTES:
            raise ValueError(f"A task's picture is larger than {MAX_PICTURE_BYTES // 2**20} MiB.")
        return content

    return fetch


def create() -> FastAPI:
    """What `uvicorn --factory` calls; see the README beside this file."""
    server = os.environ.get("LABEL_STUDIO_URL", "http://127.0.0.1:8080")
    fetch = fetch_from(server, os.environ.get("LABEL_STUDIO_API_KEY"))
    return create_app(Segmenter(os.environ.get("FGASEG_MODEL", "scenes")), fetch)

# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The service: pictures and words over HTTP, and the Hub's task `image-segmentation` (extra `serve`).

It reads no file and no address for a request, and no answer names a path of the machine.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..inference.segmentation import Segmentation
from ..inference.segmenter import Segmenter
from .request_queue import RequestQueue
from .segmentation_answers import FORMATS, Format, make_answer, make_hub_answer
from .service_limits import Refusal, ServiceLimits
from .service_metrics import ServiceMetrics

Probability = Annotated[float, Field(ge=0, le=1)]


class SegmentRequest(BaseModel):
    """What `POST /segment` takes as JSON."""

    picture: str = Field(description="The bytes of a PNG, JPEG or WebP file in base64")
    words: list[str] | None = Field(None, description="What to look for; the service's own words, if not given")
    threshold: Probability | None = Field(None, description="Pixels whose best word is less likely get none")
    background: str | None = Field(
        None, description='What pixels get that no word is likely enough for: "none of these"'
    )
    formats: list[Format] = Field(["label_map"], description="What the answer holds beside shares and scores")


class HubParameters(BaseModel):
    """Parameters of the Hub's task; a semantic segmentation has no instances that could overlap."""

    candidate_labels: list[str] | None = None
    threshold: Probability | None = Field(None, description="Words of a lower mean probability are left out")
    mask_threshold: Probability | None = Field(None, description="Pixels of a lower probability belong to no word")
    overlap_mask_area_threshold: Probability | None = None
    subtask: str | None = None


class HubRequest(BaseModel):
    """What the Hub's task sends: base64 and parameters."""

    inputs: str
    parameters: HubParameters | None = None


@dataclass(frozen=True)
class _Question:
    """What may be computed together."""

    words: tuple[str, ...] | None
    threshold: float | None
    background: str | None


class Service:
    """Answers questions with one segmenter.

    Args:
        segmenter: The model; words that it was given or that lie beside it are those of requests without any.
        limits: What requests may cost.
        words: The service's own words, for requests without any.
    """

    def __init__(self, segmenter: Segmenter, limits: ServiceLimits, words: list[str] | None = None) -> None:
        self.limits = limits
        self.words = words
        self.metrics = ServiceMetrics()
        self._segmenter = segmenter
        self.queue = RequestQueue(self._compute, limits)

    async def segment(
        self, picture: bytes, words: list[str] | None, threshold: float | None, background: str | None
    ) -> Segmentation:
        """Waits for one picture's segmentation.

        Raises:
            Refusal: A limit, or input that is wrong.
        """
        words = self.words if words is None else words
        self.limits.check_words(words)
        self.limits.check_picture(picture)
        question = _Question(None if words is None else tuple(words), threshold, background)
        try:
            with self.metrics.timed():
                result: Segmentation = await self.queue.answer(question, picture)
        except ValueError as error:
            raise Refusal(422, " ".join(str(error).split())) from error
        return result

    def _compute(self, key: Hashable, pictures: list[bytes]) -> list[Segmentation]:
        assert isinstance(key, _Question)
        options = {"threshold": key.threshold, "background": key.background, "batch_size": len(pictures)}
        words = None if key.words is None else list(key.words)
        return list(self._segmenter(pictures, words, **options))


def create_app(segmenter: Segmenter, limits: ServiceLimits | None = None, words: list[str] | None = None) -> FastAPI:
    """Makes the service as an ASGI application.

    Args:
        segmenter: What answers.
        limits: What requests may cost; [`ServiceLimits`]' own if not given.
        words: What requests without words ask for.
    """
    service = Service(segmenter, limits or ServiceLimits(), words)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.queue.close()

    app = FastAPI(title="fgaseg", summary="Segments pictures by words.", lifespan=lifespan)
    app.state.service = service
    app.add_middleware(BodyLimit, max_bytes=service.limits.max_bytes)

    @app.exception_handler(Refusal)
    async def refuse(_: Request, refusal: Refusal) -> JSONResponse:
        service.metrics.count_refusal(refusal.status)
        headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
        return JSONResponse({"detail": refusal.sentence}, refusal.status, headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_fields(request: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own answer repeats the input, which may be a whole picture.
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        return await refuse(request, Refusal(422, f"`{place[:100]}` does not fit: {first['msg'][:200]}."))

    _add_segmentation(app, service)
    _add_status(app, service)
    return app


_REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"description": "The body or the picture is too large"},
    422: {"description": "The input is wrong; `detail` says what"},
    429: {"description": "Too many wait; come back after `Retry-After` seconds"},
    503: {"description": "There was no answer in time"},
}


def _add_segmentation(app: FastAPI, service: Service) -> None:
    @app.post("/segment", responses=_REFUSALS)
    async def segment(question: SegmentRequest) -> dict[str, Any]:
        """Segments a picture sent as base64."""
        picture = _decode(question.picture, "picture")
        result = await service.segment(picture, question.words, question.threshold, question.background)
        return make_answer(result, question.formats)

    @app.post("/segment/file", responses=_REFUSALS)
    async def segment_file(
        picture: Annotated[UploadFile, File(description="A PNG, JPEG or WebP file")],
        words: Annotated[str | None, Form(description="Words between commas")] = None,
        threshold: Annotated[float | None, Form(ge=0, le=1)] = None,
        background: Annotated[str | None, Form()] = None,
        formats: Annotated[str, Form(description=f"Between commas: {', '.join(FORMATS)}")] = "label_map",
    ) -> dict[str, Any]:
        """Segments an uploaded file: `curl -F picture=@street.jpg -F words="car, road" .../segment/file`."""
        wanted = [name.strip() for name in formats.split(",") if name.strip()]
        if unknown := [name for name in wanted if name not in FORMATS]:
            raise Refusal(422, f"There is no format {unknown[0][:50]!r}: choose among {', '.join(FORMATS)}.")
        asked = None if words is None else [word.strip() for word in words.split(",") if word.strip()]
        result = await service.segment(await picture.read(), asked, threshold, background)
        return make_answer(result, wanted)

    hub_body = {"application/json": {"schema": HubRequest.model_json_schema()}, "image/*": {}}

    @app.post("/", responses=_REFUSALS, openapi_extra={"requestBody": {"content": hub_body, "required": True}})
    async def image_segmentation(request: Request) -> list[dict[str, Any]]:
        """The Hub's task `image-segmentation`: JSON with base64 and parameters, or a picture's bytes as they are."""
        body = await request.body()
        parameters = HubParameters.model_validate({})
        if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
            try:
                question = HubRequest.model_validate_json(body)
            except ValueError as error:
                raise Refusal(422, 'Send {"inputs": base64, "parameters": {...}}, or a picture\'s bytes.') from error
            body, parameters = _decode(question.inputs, "inputs"), question.parameters or parameters
        if parameters.subtask not in (None, "semantic"):
            raise Refusal(422, f"There is no subtask {parameters.subtask[:50]!r} here: ask for 'semantic'.")
        result = await service.segment(body, parameters.candidate_labels, parameters.mask_threshold, None)
        return make_hub_answer(result, parameters.threshold)


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "alive"}

    @app.get("/ready", responses={503: {"description": "Full: send requests elsewhere"}})
    async def ready() -> JSONResponse:
        """Whether a request would be taken now."""
        is_ready = service.queue.length < service.limits.max_waiting
        return JSONResponse({"ready": is_ready, "waiting": service.queue.length}, 200 if is_ready else 503)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counts and times in Prometheus' text format."""
        return Response(service.metrics.render(service.queue.length), media_type=service.metrics.media_type)


def _decode(text: str, field: str) -> bytes:
    """Reads base64, also with the head of a data URL."""
    try:
        return base64.b64decode(text.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(422, f"`{field}` is not base64: encode the bytes of the picture's file.") from error


class BodyLimit:
    """Refuses bodies over a size, by what their header says or as soon as more has come."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        try:
            await self._app(scope, self._counted(receive), send)
        except _BodyTooLarge:
            await self._refuse(scope, receive, send)

    def _counted(self, receive: Receive) -> Callable[[], Awaitable[Message]]:
        received = 0

        async def receive_and_count() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise _BodyTooLarge
            return message

        return receive_and_count

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        sentence = f"The request is too large: send at most {self._max_bytes / 2**20:g} MiB."
        await JSONResponse({"detail": sentence}, 413)(scope, receive, send)


class _BodyTooLarge(Exception):
    """More came than a body may have."""


__all__ = ["BodyLimit", "HubParameters", "HubRequest", "SegmentRequest", "Service", "create_app"]

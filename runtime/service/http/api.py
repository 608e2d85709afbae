"""The paths of the HTTP API."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from PIL.Image import Image
from starlette.exceptions import HTTPException

from ...errors import ArgumentError, SamplerError
from ...image.settings import own_version
from ..errors import ServiceError, failed, invalid
from ..limits import Limits
from ..metrics import Figures, Metrics
from .auth import DOCS_FILES, Guard
from .catalog import Catalog
from .delivery import EventStream, Gone, images_of, service_error
from .requests import requests_of
from .schema import Answer, Edit, Failed, Generation, ImageFields, Model, ModelList, State
from .uploads import mask_of, read

_CLIENT_GONE = 499  # which nobody reads: nginx's number, for the log
_FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Failed, "description": "The request cannot be done"},
    "5XX": {"model": Failed, "description": "The service cannot do it"},
}
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "pattern": r"^(image_(generation|edit)\.(partial_image|completed)|error)$"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"itemSchema": _EVENT}}, "description": "Images; with stream, as events"}
}
_STREAMED = {"background": "opaque", "output_format": "png", "quality": "auto"}
"""Fields that OpenAI's clients expect in every event."""

_log = logging.getLogger(__name__)


def create_app(
    models: Catalog, limits: Limits, figures: Figures, *, key: str | None, local: bool, log_prompts: bool = False
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        models: that it serves.
        limits: of each request.
        figures: that it tells; where they are `Metrics`, /metrics has them.
        key: that callers must have, None if they need none.
        local: whether only this machine may call, where there is no key.
        log_prompts: whether prompts may be in the log.
    """
    app = FastAPIOffline(
        title="Triptych",
        summary="Text to image.",
        version=own_version(),
        redoc_url=None,
        static_url=DOCS_FILES,
        responses=_FAILURES,
    )
    app.add_middleware(Guard, limits=limits, figures=figures, key=key, local=local)
    _answer_errors(app)
    secured = [] if key is None else [Security(HTTPBearer(auto_error=False))]  # Guard checks it; this describes it
    v1 = APIRouter(prefix="/v1", dependencies=secured)

    async def generate(connection: Request, kind: str, body: ImageFields, start: Mapping[str, Any]) -> Any:
        queue = models.queue(body.model)
        requests = await asyncio.to_thread(requests_of, queue.pipe, body, limits, start)
        if log_prompts:
            _log.info("%s: %r", queue.name, body.prompt)
        width, height = requests[0].width, requests[0].height
        created, size = int(time.time()), f"{width}x{height}"
        if body.stream:
            facts = {"created_at": created, "size": size, **_STREAMED}
            previews = body.partial_images
            return EventStream(kind, queue, requests, limits.timeout, figures, previews=previews, facts=facts)
        return Answer(created=created, data=await images_of(connection, queue, requests, limits.timeout), size=size)

    @v1.post("/images/generations", response_model=Answer, responses=_EVENTS)
    async def generations(connection: Request, body: Generation) -> Any:
        """Images from a prompt."""
        return await generate(connection, "image_generation", body, {})

    @v1.post("/images/edits", response_model=Answer, responses=_EVENTS)
    async def edits(connection: Request, body: Annotated[Edit, Form(media_type="multipart/form-data")]) -> Any:
        """Images from an image and a prompt; with a mask, only its transparent part is redrawn."""
        start = await asyncio.to_thread(_start, body, limits)
        return await generate(connection, "image_edit", body, start)

    @v1.get("/models")
    async def model_list() -> ModelList:
        """Models that are served."""
        return ModelList(data=models.listed())

    @v1.get("/models/{name}")
    async def model(name: str) -> Model:
        """One model that is served."""
        return models.find(name)

    app.include_router(v1)

    @app.get("/healthz")
    async def healthz() -> State:
        """Whether the service runs."""
        return State(status="ok")

    @app.get("/readyz", responses={503: {"model": State, "description": "Not yet, or no more"}})
    async def readyz(response: Response) -> State:
        """Whether the service takes requests: not while it loads or stops."""
        response.status_code = 200 if models.state == "ready" else 503
        return State(status=models.state)

    if isinstance(figures, Metrics):

        @app.get("/metrics", response_class=Response, dependencies=secured)
        async def prometheus() -> Response:
            """Figures for Prometheus."""
            return Response(figures.text(), media_type="text/plain; version=0.0.4")

    return app


def _start(body: Edit, limits: Limits) -> dict[str, Image | float]:
    """The images of a form and the strength, as arguments of a request."""
    start: dict[str, Image | float] = {
        "image": read("image", body.image.file, limits.upload_pixels).convert("RGB"),
    }
    if body.mask is not None:
        start["mask_image"] = mask_of(read("mask", body.mask.file, limits.upload_pixels))
    if body.strength is not None:
        start["strength"] = body.strength
    return start


def _answer_errors(app: FastAPI) -> None:
    """Give every error the shape of OpenAI's API."""

    def answered(refusal: ServiceError) -> Response:
        return JSONResponse(refusal.body, refusal.status, headers=refusal.headers)

    @app.exception_handler(ServiceError)
    async def refused(_: Request, error: ServiceError) -> Response:
        return answered(error)

    @app.exception_handler(ArgumentError)
    @app.exception_handler(SamplerError)
    async def unusable(_: Request, error: ArgumentError | SamplerError) -> Response:
        return answered(service_error(error))

    @app.exception_handler(RequestValidationError)
    async def unfit(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][1]) if len(first["loc"]) > 1 else ""  # the rest are alternatives of a type
        return answered(invalid(f"{name or 'the body'}: {first['msg']}", name or None))

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        return answered(ServiceError(error.status_code, str(error.detail), headers=error.headers))

    @app.exception_handler(Gone)
    async def unheard(*_: object) -> Response:
        return Response(status_code=_CLIENT_GONE)

    @app.exception_handler(Exception)
    async def unexpected(*_: object) -> Response:
        return answered(failed())

"""Routes of the HTTP API."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, FastAPI, Form, Request, Response, Security, params
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from PIL.Image import Image
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ...errors import ArgumentError, SamplerError
from ...image.settings import own_version
from ..errors import ServiceError, failed
from ..limits import Limits
from ..metrics import Figures, Metrics
from ..page.files import page_router
from ..sdapi.routes import sdapi_router
from .auth import DOCS_FILES, Guard
from .bodies import BodyRoute, refusal
from .catalog import Catalog
from .delivery import ClientDisconnected, Job, encode_image, images_of, in_base64, service_error
from .description import Descriptions, Model, ModelList
from .kept import KeptImages, kept_router, link_to
from .requests import requests_of, size_of_result
from .schedulers import SchedulerList, schedulers
from .schema import Answer, Edit, Failed, Generation, ImageFields, State
from .stream import EventStream
from .uploads import read_image, read_mask

_CLIENT_CLOSED_REQUEST = 499  # nginx's status code, for the log only: the client has disconnected
_FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Failed, "description": "The request is invalid or not permitted"},
    "5XX": {"model": Failed, "description": "The service failed or is unavailable"},
}
_EVENT = {
    "type": "object",
    "properties": {
        "event": {
            "type": "string",
            "pattern": r"^(image_(generation|edit)\.(partial_image|progress|completed)|error)$",
        },
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"itemSchema": _EVENT}}, "description": "Images; with stream, as events"}
}
"""Responses with images: JSON, which the model of the response describes, or events."""

_log = logging.getLogger(__name__)


class Extras(NamedTuple):
    """Parts of the service that are off by default.

    Attributes:
        ui: the web page.
        sdapi: the API of Stable Diffusion web UI.
        kept: keeps images for requests of URLs; None refuses them.
    """

    ui: bool = False
    sdapi: bool = False
    kept: KeptImages | None = None


def create_app(
    models: Catalog,
    limits: Limits,
    figures: Figures,
    *,
    key: str | None,
    local: bool,
    log_prompts: bool = False,
    extras: Extras = Extras(),  # noqa: B008
) -> FastAPI:
    """Create the ASGI application of the service.

    Args:
        models: the served packages.
        limits: of each request.
        figures: metrics to update; if they are `Metrics`, /metrics exports them.
        key: key that clients must send; None if none is required.
        local: without a key, accept requests from this machine only.
        log_prompts: whether prompts are written to the log.
        extras: parts that are off by default.
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
    _add_error_handlers(app)
    secured = [] if key is None else [Security(HTTPBearer(auto_error=False))]  # for OpenAPI; Guard checks the key
    v1 = APIRouter(prefix="/v1", dependencies=secured, route_class=BodyRoute)

    log = partial(_log_prompt, log_prompts)

    async def generate(
        connection: Request, kind: str, body: ImageFields, start: Mapping[str, Any], upscale: float | None = None
    ) -> Any:
        deliver = (
            in_base64 if body.response_format == "b64_json" else link_to(extras.kept, connection, body.output_format)
        )
        queue = models.queue(body.model)
        pipe = models.planners[queue.name]
        requests = await asyncio.to_thread(requests_of, pipe, body, limits, start, upscale)
        log(queue.name, body.prompt)
        height, width = size_of_result(pipe.model, requests[0], upscale)
        created, size = int(time.time()), f"{width}x{height}"
        encode = partial(encode_image, output_format=body.output_format, quality=body.output_compression)
        job = Job(queue, requests, upscale, limits.timeout)
        if body.stream:
            fields = {"created_at": created, "size": size, "background": "opaque"}
            fields |= {"output_format": body.output_format, "quality": "auto"}
            options: dict[str, Any] = {"encode": encode, "deliver": deliver}
            options |= {"previews": body.partial_images, "progress": body.progress, "fields": fields}
            return EventStream(kind, job, figures, **options)
        images = await images_of(connection, job, encode, deliver)
        return Answer(created=created, data=images, size=size, output_format=body.output_format)

    @v1.post("/images/generations", response_model=Answer, responses=_EVENTS)
    async def generations(connection: Request, body: Generation) -> Any:
        """Generate images from a prompt; with upscale, refine them at a larger size."""
        start = {} if body.strength is None else {"strength": body.strength}
        return await generate(connection, "image_generation", body, start, body.upscale)

    @v1.post("/images/edits", response_model=Answer, responses=_EVENTS)
    async def edits(connection: Request, body: Annotated[Edit, Form(media_type="multipart/form-data")]) -> Any:
        """Generate images from an image and a prompt; a mask limits the change to its transparent part."""
        start = await asyncio.to_thread(_image_arguments, body, limits)
        return await generate(connection, "image_edit", body, start)

    _add_descriptions(v1, models, limits)
    app.include_router(v1)
    if extras.kept is not None:
        app.include_router(kept_router(extras.kept))
    _add_health_and_metrics(app, models, figures, secured)
    if extras.ui:
        app.include_router(page_router())
    if extras.sdapi:
        app.include_router(sdapi_router(models, limits, secured, log))
    return app


def _log_prompt(log_prompts: bool, model: str, prompt: str) -> None:
    if log_prompts:
        _log.info("%s: %r", model, prompt)


def _add_descriptions(v1: APIRouter, models: Catalog, limits: Limits) -> None:
    """Add what clients ask before they request images: models and schedulers."""
    descriptions = Descriptions(models, limits)

    @v1.get("/models")
    async def model_list() -> ModelList:
        """List the served models, with what each can do, its defaults and limits."""
        return ModelList(data=descriptions.listed())

    @v1.get("/models/{name}")
    async def model(name: str) -> Model:
        """Describe one served model."""
        return descriptions.find(name)

    @v1.get("/schedulers")
    async def scheduler_list() -> SchedulerList:
        """List the schedulers, with the options of each."""
        return schedulers()


def _add_health_and_metrics(app: FastAPI, models: Catalog, figures: Figures, secured: Sequence[params.Depends]) -> None:
    """Add /healthz, /readyz and, if the figures are `Metrics`, /metrics, which needs the key."""

    @app.get("/healthz")
    async def healthz() -> State:
        """Report that the service is running."""
        return State(status="ok")

    @app.get("/readyz", responses={503: {"model": State, "description": "The service is loading or stopping"}})
    async def readyz(response: Response) -> State:
        """Report whether the service accepts requests: 503 while it loads or stops."""
        response.status_code = 200 if models.state == "ready" else 503
        return State(status=models.state)

    if isinstance(figures, Metrics):

        @app.get("/metrics", response_class=Response, dependencies=secured)
        async def prometheus() -> Response:
            """Export metrics for Prometheus."""
            return Response(figures.text(), media_type="text/plain; version=0.0.4")


def _image_arguments(body: Edit, limits: Limits) -> dict[str, Image | float]:
    """Images and strength of a form, as arguments of `Request`."""
    arguments: dict[str, Image | float] = {
        "image": read_image(body.image.file, limits.upload_pixels),
    }
    if body.mask is not None:
        arguments["mask_image"] = read_mask(body.mask.file, limits.upload_pixels)
    if body.strength is not None:
        arguments["strength"] = body.strength
    return arguments


def _add_error_handlers(app: FastAPI) -> None:
    """Return every error in the format of OpenAI's API."""

    def response_of(request: Request, error: ServiceError) -> Response:
        return JSONResponse(error.body_for(request.url.path), error.status, headers=error.headers)

    @app.exception_handler(ServiceError)
    async def on_service_error(request: Request, error: ServiceError) -> Response:
        return response_of(request, error)

    @app.exception_handler(ArgumentError)
    @app.exception_handler(SamplerError)
    async def on_invalid_argument(request: Request, error: ArgumentError | SamplerError) -> Response:
        return response_of(request, service_error(error))

    @app.exception_handler(RequestValidationError)
    async def on_invalid_body(request: Request, error: RequestValidationError) -> Response:
        return response_of(request, refusal(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        return response_of(request, ServiceError(error.status_code, str(error.detail), headers=error.headers))

    @app.exception_handler(ClientDisconnect)  # amid the body
    @app.exception_handler(ClientDisconnected)
    async def on_disconnect(*_: object) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)

    @app.exception_handler(Exception)
    async def on_internal_error(request: Request, _: Exception) -> Response:
        return response_of(request, failed())

"""Routes of the API of Stable Diffusion web UI."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, params

from ...errors import SamplerError
from ...image.pixels import PARAMETERS_KEY
from ...sampling.listing import names_for
from ...sampling.names import fold
from ...sampling.registry import find
from ..http.bodies import BodyRoute
from ..http.catalog import Catalog
from ..http.delivery import Job, image_of, outcomes_of, was_cancelled
from ..http.requests import requests_of
from ..limits import Limits
from .activity import Activity, WatchedQueue
from .conversion import answer, check_supported, generation, model_of, start_of
from .images import decoded, texts_of
from .schema import (
    CONSTANT,
    REFRESH,
    Anything,
    Checkpoint,
    Fields,
    FileInfo,
    FileToRead,
    ImageToImage,
    JobState,
    ProgressAnswer,
    Rejection,
    Result,
    Sampler,
    Scheduler,
    TextToImage,
)

_FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Rejection, "description": "The request is invalid or not permitted"},
    "5XX": {"model": Rejection, "description": "The service failed or is unavailable"},
}
_SAMPLERS = (
    *("Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE"),
    *("DPM++ 2S", "DDIM", "PLMS", "UniPC", "LCM"),
)
_LEVELS = ("Automatic", "Karras", "Exponential", "Beta", "SGM Uniform", "Simple")


def sdapi_router(
    models: Catalog, limits: Limits, secured: Sequence[params.Depends], log: Callable[[str, str], None]
) -> APIRouter:
    """The routes.

    Args:
        models: the served packages.
        limits: of each request.
        secured: for OpenAPI; `Guard` checks the key.
        log: called with the name of the model and the prompt.
    """
    router = APIRouter(prefix="/sdapi/v1", route_class=BodyRoute)
    activity, selection = Activity(), Selection(models)

    async def generate(connection: Request, body: Fields) -> Result:
        check_supported(body)
        name = models.name_of(model_of(body.override_settings, selection.name))
        watched = WatchedQueue(models.queue(name), activity)
        pipe = models.planners[name]

        def prepare() -> Job:
            start, upscale = start_of(body, pipe.model, limits)
            requests = requests_of(pipe, generation(body, pipe.model), limits, start, upscale)
            return Job(watched, requests, upscale, limits.timeout)

        job = await asyncio.to_thread(prepare)
        log(name, body.prompt)
        outcomes = await outcomes_of(connection, job)
        if watched.interrupted:
            outcomes = [each for each in outcomes if not was_cancelled(each)]
        images = [image_of(each) for each in outcomes]
        return await asyncio.to_thread(answer, body, name, job.requests, images)

    @router.post("/txt2img")
    async def txt2img(connection: Request, body: TextToImage) -> Result:
        """Generate images from a prompt."""
        return await generate(connection, body)

    @router.post("/img2img")
    async def img2img(connection: Request, body: ImageToImage) -> Result:
        """Generate images from an image and a prompt."""
        return await generate(connection, body)

    @router.post("/png-info")
    async def png_info(body: FileToRead) -> FileInfo:
        """Read the settings and other texts in the metadata of a PNG or a JPEG."""
        items = texts_of(await asyncio.to_thread(decoded, body.image, "image", limits.upload_pixels))
        return FileInfo(info=items.get(PARAMETERS_KEY, ""), items=items)

    async def queue_status() -> Anything:
        """Report the number of images of this API that are not finished; Krita's plug-in asks it to connect."""
        return {"queue_size": activity.progress()[1]}

    _add_activity(router, activity)
    _add_choices(router, models, selection)
    _add_constants(router)
    both = APIRouter(dependencies=secured, responses=_FAILURES)
    both.add_api_route("/internal/ping", _always({}), response_model=Anything, summary="Constant answer.")
    both.add_api_route("/queue/status", queue_status)
    both.include_router(router)
    return both


def _add_activity(router: APIRouter, activity: Activity) -> None:
    """Add the progress of the images of this API, and their interruption."""

    @router.post("/interrupt")
    @router.post("/skip")
    async def interrupt() -> Anything:
        """Cancel the images of the oldest request of this API; it is answered with those that are finished."""
        activity.interrupt()
        return {}

    @router.get("/progress")
    async def progress(skip_current_image: bool = False) -> ProgressAnswer:
        """Report the progress of the oldest request of this API; skip_current_image has no effect."""
        return _progress(activity)


class Selection:
    """The model of requests that name none.

    Attributes:
        name: None is the default model.
    """

    def __init__(self, models: Catalog) -> None:
        self._models = models
        self.name: str | None = None

    @property
    def current(self) -> str:
        """Its name."""
        return self._models.name_of(self.name)

    def choose(self, settings: Anything) -> None:
        """Use the model that settings name from now on.

        Raises:
            ServiceError: no model has this name (404).
        """
        self.name = self._models.name_of(model_of(settings, self.name))


def _add_choices(router: APIRouter, models: Catalog, selection: Selection) -> None:
    """Add the options, of which only the model can be changed, and the lists of what can be chosen."""

    @router.get("/options")
    async def options() -> Anything:
        """List the options."""
        return {"sd_model_checkpoint": selection.current, "samples_format": "png"}

    @router.post("/options")
    async def set_options(body: Annotated[Anything, Body()]) -> None:
        """Choose the model of following requests, by sd_model_checkpoint; other options have no effect."""
        selection.choose(body)

    @router.get("/samplers")
    async def samplers() -> list[Sampler]:
        """List the samplers that fit the model in use."""
        names = names_for(models.planners[selection.current].package.scheduler_config())
        known = [name for name in _SAMPLERS if _is_known(name)]
        folded = {fold(name) for name in known}
        rest = [name for name in names if fold(name) not in folded]
        return [Sampler(name=name, aliases=[fold(name)], options={}) for name in (*known, *rest)]

    @router.get("/schedulers")
    async def schedulers() -> list[Scheduler]:
        """List the noise levels; not every sampler has all of them."""
        return [Scheduler(name=label.lower().replace(" ", "_"), label=label) for label in _LEVELS]

    @router.get("/sd-models")
    async def sd_models() -> list[Checkpoint]:
        """List the models."""
        return [
            Checkpoint(title=name, model_name=name, hash=pipe.package.fingerprint[:10] or None, filename=name)
            for name, pipe in models.planners.items()
        ]


def _add_constants(router: APIRouter) -> None:
    """Add what clients ask when they connect."""
    for path, value in CONSTANT.items():
        kind: Any = list[Anything] if isinstance(value, list) else Anything
        router.add_api_route(path, _always(value), response_model=kind, summary="Constant answer.")
    for path in REFRESH:
        router.add_api_route(path, _always(None), methods=["POST"], summary="Accepted without effect.")


def _always(value: Any) -> Callable[[], Any]:
    async def route() -> Any:
        return value

    return route


def _is_known(name: str) -> bool:
    try:
        find(name)
    except SamplerError:
        return False
    return True


def _progress(activity: Activity) -> ProgressAnswer:
    images, waiting = activity.progress()
    steps = sum(each.steps for each in images)
    step = sum(each.step for each in images)
    left = [each.seconds_left for each in images if each.seconds_left is not None]
    running = next((each for each in images if each.state == "running"), None)
    state = JobState(
        job="generate" if images else "",
        job_count=waiting,
        job_timestamp=time.strftime("%Y%m%d%H%M%S"),
        sampling_step=running.step if running else 0,
        sampling_steps=running.steps if running else 0,
    )
    return ProgressAnswer(progress=step / steps if steps else 0.0, eta_relative=max(left, default=0.0), state=state)

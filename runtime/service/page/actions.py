"""Event handlers of the page: each method takes values of controls and returns their updates."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import astuple, fields
from typing import Any

import gradio as gr
from PIL import Image

from ...errors import ArgumentError
from ..errors import ServiceError
from ..http.delivery import service_error
from ..http.models import Models
from ..http.requests import requests_of
from ..limits import Limits
from ..queue.batcher import Batcher
from .form import Form, form_of, offer_of, start_of
from .progress import Progress, progress_of

_HISTORY = 48  # images in the history of a page


class Actions:
    """Event handlers of a page for the packages of `models`, within the limits."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self._models, self._limits = models, limits

    async def model_controls(self, model: str) -> list[Any]:
        """Defaults and choices of a model: steps, guidance, scheduler, size, image-to-image section, strength.

        Waits until the model is loaded.
        """
        try:
            offer = offer_of((await self._loaded(model)).pipe, self._limits)
        except ServiceError as error:
            raise _notice(error) from None
        return [
            offer.form.steps,
            offer.form.guidance,
            gr.update(choices=offer.schedulers, value=offer.form.scheduler),
            gr.update(choices=offer.sizes, value=offer.form.size),
            gr.update(visible=offer.image_to_image),
            offer.strength,
        ]

    async def generate(
        self, model: str, edited: Any, strength: float, history: list[Any] | None, *values: Any
    ) -> AsyncIterator[list[Any]]:
        """Updates of progress, gallery, history and seed, until the images are generated."""
        try:
            batcher, generation = self._models.queue(model), Form(*values).generation()
            start = await asyncio.to_thread(start_of, edited, strength, self._limits)
            requests = await asyncio.to_thread(requests_of, batcher.pipe, generation, self._limits, start)
            seeds = [str(request.seeds()[0]) for request in requests]
            async for states in progress_of(batcher, requests, self._limits.timeout):
                if isinstance(states[0], Progress):
                    progress = gr.update(value=_progress_html(states), visible=True)
                    yield [progress, gr.update(visible=False), gr.skip(), seeds[0]]
                else:
                    past = [*zip(states, seeds, strict=True), *(history or [])]
                    yield [gr.update(visible=False), _gallery(states, seeds), past[:_HISTORY], seeds[0]]
        except Exception as error:
            yield [gr.update(visible=False), gr.update(visible=True), gr.skip(), gr.skip()]
            raise _notice(service_error(error)) from None

    async def stop(self) -> list[Any]:
        """Updates of progress and gallery after a stop."""
        return [gr.update(visible=False), gr.update(visible=True)]

    async def restore(self, model: str, path: str | None) -> list[Any]:
        """Form with the settings of an image file."""
        if path is None:
            return [gr.skip()] * len(fields(Form))
        try:
            batcher = await self._loaded(model)
            form, notices = await asyncio.to_thread(form_of, path, batcher.pipe)
        except (ServiceError, ArgumentError) as error:
            raise _notice(error) from None
        for notice in notices:
            gr.Warning(notice)
        return list(astuple(form))

    async def restore_from_history(self, model: str, history: list[Any], choice: gr.SelectData) -> list[Any]:
        """Form with the settings of an image of the history."""
        return await self.restore(model, history[choice.index][0])

    async def _loaded(self, model: str) -> Batcher:
        while self._models.state == "loading":
            await asyncio.sleep(0.1)
        return self._models.queue(model)


def _notice(error: Exception) -> gr.Error:
    return gr.Error(str(error), print_exception=False)


def _gallery(images: Sequence[Any], seeds: Sequence[str]) -> Any:
    columns = 2 if len(images) <= 2 else 3 if len(images) <= 6 else 4
    captioned = [(image, f"seed {seed}") for image, seed in zip(images, seeds, strict=True)]
    selected = 0 if len(images) == 1 else None  # a single image is shown large
    return gr.update(value=captioned, visible=True, columns=columns, selected_index=selected)


def _progress_html(states: Sequence[Progress]) -> str:
    """Progress bar and previews, as HTML."""
    share = sum(state.step / (state.total or 1) for state in states) / len(states)
    furthest = max(states, key=lambda state: state.step)
    text = f"step {furthest.step} of {furthest.total}" if furthest.step else "waiting in the queue"
    figures = "".join(
        f"<figure>{_preview_html(state)}<figcaption>seed {state.seed}</figcaption></figure>" for state in states
    )
    bar = f'<div class="bar"><div style="width: {share:.0%}"></div></div>'
    return f'{bar}<p>{text}</p><div class="pictures">{figures}</div>'


def _preview_html(state: Progress) -> str:
    if state.preview is None:
        return '<div class="empty"></div>'
    file = io.BytesIO()
    Image.fromarray(state.preview).save(file, format="JPEG", quality=85)
    return f'<img alt="preview" src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">'

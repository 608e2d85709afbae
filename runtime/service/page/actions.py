"""What the page does when it is used: each method takes what is in some of its controls, and gives what they become."""

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
from .form import Form, beginning_of, offer_of, restored
from .progress import Making, watched

_HISTORY = 48  # pictures that are kept in view


class Actions:
    """Of a page for the packages of `models`, within the limits."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self._models, self._limits = models, limits

    async def offered(self, model: str) -> list[Any]:
        """Steps, guidance, scheduler, size, whether and with what strength to begin from a picture, as a model has it.

        The page waits with that until the model is loaded.
        """
        try:
            offer = offer_of((await self._loaded(model)).pipe, self._limits)
        except ServiceError as error:
            raise _told(error) from None
        return [
            offer.form.steps,
            offer.form.guidance,
            gr.update(choices=offer.schedulers, value=offer.form.scheduler),
            gr.update(choices=offer.sizes, value=offer.form.size),
            gr.update(visible=offer.begins_from_pictures),
            offer.strength,
        ]

    async def made(
        self, model: str, edited: Any, strength: float, history: list[Any] | None, *said: Any
    ) -> AsyncIterator[list[Any]]:
        """What is in the making, the gallery, the history and the seed, again and again until the pictures are made."""
        try:
            batcher, asked = self._models.queue(model), Form(*said).asked()
            beginning = await asyncio.to_thread(beginning_of, edited, strength, self._limits)
            requests = await asyncio.to_thread(requests_of, batcher.pipe, asked, self._limits, beginning)
            seeds = [str(request.seeds()[0]) for request in requests]
            async for states in watched(batcher, requests, self._limits.timeout):
                if isinstance(states[0], Making):
                    drawn = gr.update(value=_drawn(states), visible=True)
                    yield [drawn, gr.update(visible=False), gr.skip(), seeds[0]]
                else:
                    past = [*zip(states, seeds, strict=True), *(history or [])]
                    yield [gr.update(visible=False), _gallery(states, seeds), past[:_HISTORY], seeds[0]]
        except Exception as error:
            yield [gr.update(visible=False), gr.update(visible=True), gr.skip(), gr.skip()]
            raise _told(service_error(error)) from None

    async def stopped(self) -> list[Any]:
        """What is in the making, and the gallery, when it was stopped."""
        return [gr.update(visible=False), gr.update(visible=True)]

    async def restored(self, model: str, path: str | None) -> list[Any]:
        """The form that gave the picture in a file."""
        if path is None:
            return [gr.skip()] * len(fields(Form))
        try:
            batcher = await self._loaded(model)
            form, lacking = await asyncio.to_thread(restored, path, batcher.pipe)
        except (ServiceError, ArgumentError) as error:
            raise _told(error) from None
        for sentence in lacking:
            gr.Warning(sentence)
        return list(astuple(form))

    async def chosen(self, model: str, history: list[Any], choice: gr.SelectData) -> list[Any]:
        """The form that gave a picture of the history."""
        return await self.restored(model, history[choice.index][0])

    async def _loaded(self, model: str) -> Batcher:
        while self._models.state == "loading":
            await asyncio.sleep(0.1)
        return self._models.queue(model)


def _told(error: Exception) -> gr.Error:
    return gr.Error(str(error), print_exception=False)


def _gallery(images: Sequence[Any], seeds: Sequence[str]) -> Any:
    columns = 2 if len(images) <= 2 else 3 if len(images) <= 6 else 4
    captioned = [(image, f"seed {seed}") for image, seed in zip(images, seeds, strict=True)]
    only = 0 if len(images) == 1 else None  # one alone is shown large
    return gr.update(value=captioned, visible=True, columns=columns, selected_index=only)


def _drawn(states: Sequence[Making]) -> str:
    """Pictures in the making, as HTML."""
    share = sum(state.step / (state.total or 1) for state in states) / len(states)
    furthest = max(states, key=lambda state: state.step)
    text = f"step {furthest.step} of {furthest.total}" if furthest.step else "waiting for its turn"
    figures = "".join(f"<figure>{_image(state)}<figcaption>seed {state.seed}</figcaption></figure>" for state in states)
    bar = f'<div class="bar"><div style="width: {share:.0%}"></div></div>'
    return f'{bar}<p>{text}</p><div class="pictures">{figures}</div>'


def _image(state: Making) -> str:
    if state.preview is None:
        return '<div class="empty"></div>'
    file = io.BytesIO()
    Image.fromarray(state.preview).save(file, format="JPEG", quality=85)
    return f'<img alt="preview" src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">'

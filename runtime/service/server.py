"""The process of the service: where it listens, how it starts, and how it stops."""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ..errors import ArgumentError
from .http.api import create_app
from .http.models import Models
from .log import hide_prompts
from .metrics import Metrics
from .options import Options

_FAREWELL = 5
"""Seconds that open pages are given once all pictures are made; they never hang up by themselves."""

_LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def serve(
    options: Options, *, host: str, port: int, ui: bool = False, report: Callable[[str], None] = lambda line: None
) -> None:
    """Serve until told to stop: at SIGTERM or SIGINT what was accepted is finished, at a second one it is dropped.

    Args:
        options: of the service.
        host: name or address of this machine to listen at.
        port: 0 is any that is free.
        ui: have the page, too.
        report: called with a line of text that says where it listens.

    Raises:
        ArgumentError: it may not, or cannot, listen there.
        PackageError, ProviderError: a package cannot be loaded.
    """
    options.check_access()
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT, stream=sys.stderr)
    if not options.log_prompts:
        hide_prompts()
    metrics, limits = Metrics(), options.limits
    models = Models(options.packages, metrics, batch=options.batch, wait=options.wait, queue=options.queue)
    access: dict[str, Any] = {"key": options.api_key, "local": options.local}
    api = create_app(models, limits, metrics, **access, log_prompts=options.log_prompts)
    app: ASGIApp = api
    with _listening(host, port) as listener, contextlib.ExitStack() as stack:
        if ui:
            from .page.page import Page  # Gradio takes seconds to import

            app = stack.enter_context(contextlib.closing(Page(api, models, limits, metrics, **access)))
        bound = listener.getsockname()[1]
        report(f"listening at http://{f'[{host}]' if ':' in host else host}:{bound}")
        config = uvicorn.Config(
            app, log_config=None, lifespan="on" if ui else "off", timeout_graceful_shutdown=_FAREWELL if ui else None
        )
        server = _Server(config, models, options.load)
        server.run(sockets=[listener])
    if server.failure is not None:
        raise server.failure


class _Server(uvicorn.Server):
    """uvicorn's, which loads the packages while it already answers, and finishes what was accepted before it stops."""

    def __init__(self, config: uvicorn.Config, models: Models, load_options: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.failure: Exception | None = None
        self._models, self._load_options = models, load_options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._told = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._tasks.append(asyncio.create_task(self._load()))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """In a signal handler, which may come amidst anything: the work is left to the loop."""
        if self._loop is None:
            super().handle_exit(sig, frame)
        elif not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._stop)
        else:
            self._loop.call_soon_threadsafe(self._models.abandon)
            super().handle_exit(sig, frame)

    def _stop(self) -> None:
        self._models.stop()
        self._tasks.append(asyncio.create_task(self._exit_when_finished()))

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(self._models.load, self._load_options)
        except Exception as error:
            self.failure, self.should_exit = error, True

    async def _exit_when_finished(self) -> None:
        await self._tasks[0]  # a package that is being loaded cannot be stopped at that
        await asyncio.to_thread(self._models.join)
        self.should_exit = True


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ArgumentError(f"cannot listen at {host}, port {port}: {error}") from None

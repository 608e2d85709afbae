"""Server process: listening, startup and graceful shutdown."""

import asyncio
import math
import socket
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from ..errors import ArgumentError
from .connections import HEADER_BYTES, Connection, ConnectionLimits, Connections, limits_of_process
from .http.api import Extras, create_app
from .http.kept import KeptImages
from .http.models import Models
from .limits import PoolLimits
from .log import hide_prompts, set_up_log
from .metrics import Metrics
from .options import Options

_BACKLOG = 1024  # connections that the system holds until they are accepted


def serve(
    options: Options,
    *,
    host: str,
    port: int,
    ui: bool = False,
    sdapi: bool = False,
    loaded: PoolLimits,
    keep_images: float | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve until SIGTERM or SIGINT: the first finishes accepted requests, a second one cancels them.

    Args:
        options: of the service.
        host: name or address of this machine to listen at.
        port: 0 is any free port.
        ui: serve the web page, too.
        sdapi: serve the API of Stable Diffusion web UI, too.
        loaded: limits of the packages that are loaded at the same time.
        keep_images: seconds that images are kept at a URL; None refuses requests for URLs.
        report: called with a line of text, the address of the service.

    Raises:
        ArgumentError: the address needs a key, or cannot be bound.
        PackageError, ProviderError: a package cannot be loaded.
    """
    options.check_access()
    set_up_log()
    if not options.log_prompts:
        hide_prompts()
    metrics, limits = Metrics(), options.limits
    models = Models(
        options.packages, metrics, batch=options.batch, wait=options.wait, queue=options.queue, loaded=loaded
    )
    app = create_app(
        models,
        limits,
        metrics,
        key=options.api_key,
        local=options.local,
        log_prompts=options.log_prompts,
        extras=Extras(ui, sdapi, None if keep_images is None else KeptImages(keep_images)),
    )
    with _listen(host, port) as listener:
        bound = listener.getsockname()[1]
        report(f"listening at http://{f'[{host}]' if ':' in host else host}:{bound}")
        server = Server(app, models, options.load, limits_of_process())
        server.run(sockets=[listener])
    if server.failure is not None:
        raise server.failure


class Server(uvicorn.Server):
    """Server of uvicorn that loads packages while it listens, and finishes accepted requests before it stops.

    Args:
        app: the ASGI application.
        models: its packages.
        load_options: arguments of `TextToImage.load`.
        limits: of connections.

    Attributes:
        failure: the error of loading the packages; the server has stopped because of it.
    """

    def __init__(self, app: FastAPI, models: Models, load_options: Mapping[str, Any], limits: ConnectionLimits) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                backlog=limits.accepted,  # asyncio accepts as many at once
                h11_max_incomplete_event_size=HEADER_BYTES,
                timeout_keep_alive=math.ceil(limits.idle),
            )
        )
        self.server_state: Connections = Connections(limits)
        self.failure: Exception | None = None
        self._models, self._load_options = models, load_options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to load packages and to check connections; see `uvicorn.Server`."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_BACKLOG)
        self._loop = asyncio.get_running_loop()
        self._tasks += [asyncio.create_task(self._load()), asyncio.create_task(self.server_state.watch())]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Schedule the shutdown on the event loop, because a signal handler can interrupt any code."""
        if self._loop is None:
            super().handle_exit(sig, frame)
        elif not self._stopping:
            self._stopping = True
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
            self._models.abandon()

    async def _exit_when_finished(self) -> None:
        await self._tasks[0]  # loading a package cannot be interrupted
        await asyncio.to_thread(self._models.join)
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    if not (host.strip() and host.isprintable()):  # for the system an empty one is every address of the machine
        raise ArgumentError(f"host={host!r}; allowed: a name or address of this machine, such as 127.0.0.1")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError, ValueError) as error:  # ValueError: a name that DNS cannot hold
        raise ArgumentError(f"cannot listen at {host}, port {port}: {error}") from None

"""Web page of the service, served next to the API with the same access checks.

While a page is open, the environment variables that Gradio reads and the pixel limit of Pillow are changed.
"""

import contextlib
import tempfile
from pathlib import Path

import gradio
from fastapi import FastAPI
from PIL import Image
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ...environment import environment
from ..http.auth import Guard
from ..http.models import Models
from ..limits import Limits
from ..metrics import Metrics
from .basic_auth import PasswordAsKey
from .layout import blocks_of
from .style import CSS, THEME


class Page:
    """ASGI application: the API, and the page on all other paths.

    Args:
        api: the application of `create_app`.
        models, limits, metrics, key, local: as of `create_app`. Browsers send the key as a password.

    Attributes:
        files: folder of the images while the page is open.
    """

    def __init__(
        self, api: FastAPI, models: Models, limits: Limits, metrics: Metrics, *, key: str | None, local: bool
    ) -> None:
        self._open = contextlib.ExitStack()
        self.files = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="triptych-"))).resolve()
        # Gradio has no arguments for the first two, reads them while it serves, and sets the third itself
        variables = {
            "GRADIO_TEMP_DIR": str(self.files),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_DISABLE_TELEMETRY": "True",
        }
        self._open.enter_context(environment(variables))
        # Gradio decodes uploads before our checks; Pillow rejects images of more than twice its limit
        self._open.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = limits.upload_pixels // 2
        page = FastAPI(openapi_url=None)
        gradio.mount_gradio_app(
            page,
            blocks_of(models, limits),
            path="",
            footer_links=[],
            max_file_size=limits.body,
            show_error=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            theme=THEME,
            css=CSS,
        )
        self._api = api
        self._page: ASGIApp = PasswordAsKey(Guard(page, limits=limits, figures=metrics, key=key, local=local))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI call; lifespan events go to the page only."""
        await (self._api if self._is_api(scope) else self._page)(scope, receive, send)

    def close(self) -> None:
        """Delete the images, and restore Pillow's limit and the environment."""
        self._open.close()

    def _is_api(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        if scope["path"].startswith("/v1/"):  # unknown paths of the API too
            return True
        return any(route.matches(scope)[0] != Match.NONE for route in self._api.routes)

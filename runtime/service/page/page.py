"""The page to play on: how it is put beside the API, behind the same guard."""

import os
import tempfile
from pathlib import Path

from fastapi import FastAPI
from PIL import Image
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

# Gradio is told to stay at home before it is imported
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
import gradio

from ..http.access import Guard
from ..http.models import Models
from ..limits import Limits
from ..metrics import Metrics
from .browsers import PasswordAsKey
from .layout import blocks_of
from .style import CSS, THEME


class Page:
    """The API, and the page for all paths that are not the API's.

    Args:
        api: the application of `create_app`.
        models, limits, metrics, key, local: as of `create_app`. Browsers ask for a key as a password.

    Attributes:
        files: where the page's pictures lie while it is open, and an hour longer.
    """

    def __init__(
        self, api: FastAPI, models: Models, limits: Limits, metrics: Metrics, *, key: str | None, local: bool
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="triptych-")
        self.files = Path(self._temporary.name).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(self.files)  # read when a component is made
        # Gradio unpacks pictures before anybody is asked: Pillow refuses what has more than twice as many pixels
        self._most_pixels, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limits.upload_pixels // 2
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
            theme=THEME,
            css=CSS,
        )
        self._api = api
        self._page: ASGIApp = PasswordAsKey(Guard(page, limits=limits, figures=metrics, key=key, local=local))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it; what happens at start and end is the page's alone."""
        await (self._api if self._is_api(scope) else self._page)(scope, receive, send)

    def close(self) -> None:
        """Delete the pictures, and let Pillow be as it was."""
        Image.MAX_IMAGE_PIXELS = self._most_pixels
        self._temporary.cleanup()

    def _is_api(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        if scope["path"].startswith("/v1/"):  # those that are not there, too
            return True
        return any(route.matches(scope)[0] != Match.NONE for route in self._api.routes)

"""One Chromium for the tests of the page's modules; for these alone, as asyncio cannot run beside it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # not in every environment of the tests
    from playwright.sync_api import Page

    from tests.support.modules import Modules


@pytest.fixture(scope="package")
def modules() -> Iterator["Modules"]:
    from tests.support.modules import chromium, serve_modules

    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on the path")
    with serve_modules(executable) as served:
        yield served


@pytest.fixture(scope="module")
def shared(modules: "Modules") -> Iterator["Page"]:
    """An empty page for a whole file: for modules that leave nothing behind."""
    with modules.page() as opened:
        yield opened


@pytest.fixture
def page(modules: "Modules", request: pytest.FixtureRequest) -> Iterator["Page"]:
    """An empty page with a storage of its own, 700 pixels wide or as its parameter says."""
    with modules.page(getattr(request, "param", 700)) as opened:
        yield opened

"""A hub with one package, and a cache folder of each test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, files_of, running

NAME = "someone/tiny"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder; that of the hub is `hub` in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(package: Path, cache: Path) -> Iterator[Hub]:
    """A hub that has the tiny package, weights of PyTorch beside it, and a card, as `NAME`."""
    with running(cache / "hub") as hub:
        extra = {"README.md": b"# A card", "unet/diffusion_pytorch_model.safetensors": b"weights", "notes.txt": b"-"}
        hub.add(NAME, {**files_of(package), **extra})
        yield hub

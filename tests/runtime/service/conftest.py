"""Fixtures of the service tests: the package's pipeline, and the service in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from triptych.runtime import TextToImage

from .queues import Queue
from .serving import Service, service


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


@pytest.fixture(scope="module")
def served(package: Path) -> Iterator[Service]:
    with service(package) as running:
        yield running


@pytest.fixture
def queue(pipe: TextToImage) -> Iterator[Queue]:
    held = Queue(pipe)
    yield held
    held.gate.opened.set()
    held.batcher.abandon()
    held.batcher.join()

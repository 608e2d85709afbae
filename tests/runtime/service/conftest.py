"""What the tests of the service share: the package's pipeline, and the service in this process."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from triptych.runtime import TextToImage

from ...conftest import shared_base
from .serving import Service, service


@pytest.fixture(scope="module")
def alone_with_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two processes of tests do not start Ray at once: its parts would meet at ports that they take at random."""
    with (shared_base(tmp_path_factory) / "ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


@pytest.fixture(scope="module")
def served(package: Path) -> Iterator[Service]:
    with service(package) as running:
        yield running

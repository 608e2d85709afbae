"""One module for each runtime, with `open_peer(setting, **options)` that returns its `Adapter`."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..work import ImageRequest, Size


class Adapter(Protocol):
    """A runtime with the weights of one model. The worker calls these in this order."""

    def prepare(self, size: Size) -> None:
        """Convert the weights once and for all, such as to a file in the runtime's format; timed apart."""

    def load(self, components: Sequence[str], size: Size) -> None:
        """Load these components, to be called at this size; timed."""

    def call(self, component: str, size: Size) -> Callable[[], object]:
        """A function that calls a component once, with its work finished when it returns; timed."""

    def draw(self, request: ImageRequest) -> np.ndarray:
        """Generate images, uint8 [n, H, W, 3]; timed."""

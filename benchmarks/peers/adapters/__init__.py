"""One module for each runtime; `open_peer(setting, **options)` gives what the worker drives."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..work import Picture, Size


class Adapter(Protocol):
    """A runtime with the weights of one model. The worker calls these in this order."""

    def prepare(self, size: Size) -> None:
        """Make what the runtime needs of the weights once and for all, such as a file in its own format; not timed."""

    def load(self, components: Sequence[str], size: Size) -> None:
        """Load these components, to be called at this size; timed."""

    def call(self, component: str, size: Size) -> Callable[[], object]:
        """What is timed for a component: one call, its work finished when it returns."""

    def picture(self, asked: Picture) -> np.ndarray:
        """Pixels uint8 [n, H, W, 3]; timed."""

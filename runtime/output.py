"""Result of a call: images, with what they were made from; and a stopwatch for its timings."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .image.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Output:
    """Images, with their latents, seeds, timings and settings.

    Attributes:
        images: Pillow images; saved as PNG, they carry their settings.
        latents: input of the decoder, float32 [n, C, h, w]; `pipe.decode(out.latents)` gives the images again.
        seeds: of each image; None with latents of the caller.
        timings: seconds by component. `sampler` is the loop without the denoiser; on a GPU the denoiser's seconds hold
            the sampler's arithmetic too. Time between the steps of a stream is in none of them.
        settings: of each image.
    """

    images: "list[Image]"
    latents: np.ndarray
    seeds: list[int | None]
    timings: dict[str, float] = field(default_factory=dict)
    settings: list[Settings] = field(default_factory=list)


class Stopwatch:
    """Seconds by name, without pauses.

    Attributes:
        seconds: measured so far.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._paused = 0.0

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to those of a name."""
        start = self._now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Count the seconds of a block for no name."""
        start = time.perf_counter()
        yield
        self._paused += time.perf_counter() - start

    def _now(self) -> float:
        return time.perf_counter() - self._paused

"""The latent generator as the loop on the host calls it."""

import time
from collections.abc import Callable

import numpy as np

from ..families.conditioning import Conditioning, fed
from ..ort.session import Graph, check_finite


class HostNetwork:
    """The generator of one run of `calls` calls: its last call frees working memory, and none may give NaN.

    Args:
        load: gives the loaded graph, at each call anew: with `memory="low"` others may have taken its place.
        name: of the generator.
        calls: how many there will be.
        timings: if given, the seconds of each call are added under the name.
    """

    def __init__(self, load: Callable[[], Graph], name: str, calls: int, timings: dict[str, float] | None) -> None:
        self._load, self._name, self._calls, self._timings = load, name, calls, timings
        self._call = 0

    def __call__(self, latents: np.ndarray, timestep: float, conditioning: Conditioning) -> np.ndarray:
        """The raw output float32 [n, C, h, w] for latents of that shape.

        Raises:
            NumericalError: it holds NaN or infinity; names the step.
        """
        self._call += 1
        inputs = {**fed(latents, conditioning), "timestep": np.asarray(timestep)}
        start = time.perf_counter()
        outputs = self._load()(inputs, release=self._call == self._calls)
        output = next(iter(outputs.values())).astype(np.float32, copy=False)
        if self._timings is not None:
            self._timings[self._name] = self._timings.get(self._name, 0.0) + time.perf_counter() - start
        check_finite(output, self._name, f" at step {self._call} of {self._calls}")
        return output

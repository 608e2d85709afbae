"""The loop on the host: numpy arithmetic around denoiser calls."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from ..families.conditioning import Conditioning, denoiser_inputs
from ..families.parts import AnyGraph
from ..ort.session import check_finite
from ..sampling import Step, denoise
from .guidance import guided
from .mask_blending import mask_blending
from .run import Run


def denoise_on_host(
    load: Callable[[], AnyGraph], name: str, run: Run, timings: dict[str, float] | None = None
) -> Iterator[Step]:
    """Denoise step by step; leaving the loop early stops the computation.

    Args:
        load: returns the loaded denoiser; called before each call, as with `memory="low"` other graphs may take its
            place.
        name: of the denoiser.
        run: arguments of the run.
        timings: if given, the seconds of each call are added under the name.

    Raises:
        SamplerError, ArgumentError: see `sampling.denoise` and `Guidance.scales`.
        NumericalError: the denoiser gave NaN or infinity; names the step.
    """
    denoiser = HostDenoiser(load, name, len(run.sampler), timings)
    predict = guided(denoiser, run.positive, run.negative, run.guidance, run.sampler)
    blend = None if run.known is None else mask_blending(run.known, run.sampler)
    return denoise(predict, run.noise, run.sampler, run.draw, image_latents=run.image_latents, after_step=blend)


class HostDenoiser:
    """The denoiser for a run of `calls` calls: the last call frees working memory, and NaN is an error.

    Args:
        load, name, timings: see `denoise_on_host`.
        calls: of the run.
    """

    def __init__(self, load: Callable[[], AnyGraph], name: str, calls: int, timings: dict[str, float] | None) -> None:
        self._load, self._name, self._calls, self._timings = load, name, calls, timings
        self._call = 0

    def __call__(self, latents: np.ndarray, timestep: float, conditioning: Conditioning) -> np.ndarray:
        """The raw output float32 [n, C, h, w] for latents of that shape.

        Raises:
            NumericalError: it holds NaN or infinity; names the step.
        """
        self._call += 1
        inputs = {**denoiser_inputs(latents, conditioning), "timestep": np.asarray(timestep)}
        start = time.perf_counter()
        outputs = self._load()(inputs, release=self._call == self._calls)
        output = next(iter(outputs.values())).astype(np.float32, copy=False)
        if self._timings is not None:
            self._timings[self._name] = self._timings.get(self._name, 0.0) + time.perf_counter() - start
        check_finite(output, self._name, f" at step {self._call} of {self._calls}")
        return output

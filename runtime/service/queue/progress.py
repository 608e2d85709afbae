"""Progress of an image: its state, its place in the queue, its steps, and the seconds that are left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...package.model import Model
from ...plan import plan
from ...request import Request
from ...tasks.upscaling import passes


@dataclass(frozen=True)
class Progress:
    """State of an image that is not finished.

    Attributes:
        state: loading (its package), queued or running.
        position: images before it in the queue; None if it does not wait, or the queue does not know.
        step: denoiser calls that are done, in both passes of an image that is upscaled.
        steps: all of them.
        seconds_left: until the image is finished; None if nothing is measured yet.
    """

    state: Literal["loading", "queued", "running"]
    position: int | None
    step: int
    steps: int
    seconds_left: float | None


def costs_of(model: Model, request: Request, upscale: float | None) -> list[float]:
    """Relative seconds of each denoiser call of an image, in both passes if it is upscaled: its pixels."""
    costs: list[float] = []
    for each in (request,) if upscale is None else passes(model, request, upscale):
        resolved = plan(each, model)
        height, width = resolved.size
        costs += [float(height * width)] * len(resolved.sampler)
    return costs


def remaining(costs: Sequence[float], step: int, seconds: float) -> float:
    """Seconds of the calls that are left, by those of the first `step` calls, 1 or more."""
    return seconds * sum(costs[step:]) / sum(costs[:step])

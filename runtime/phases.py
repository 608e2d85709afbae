"""The phases of a call, one after the other: init latents, encode, denoise, decode, output."""

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .conditioning import conditioning_of
from .errors import Cancelled
from .families.conditioning import Conditioning
from .image.encoding import ENCODER
from .image.pixels import to_image
from .image.settings import settings_of
from .init_latents import InitLatents, init_latents
from .output import Output, Stopwatch
from .package.graphs import DECODER
from .plan import Plan
from .sampling import Step
from .stream import progress_bar

if TYPE_CHECKING:
    from .pipeline import TextToImage

Callback = Callable[[Step], bool | None]
"""Called after every step; returning False stops the run."""


def run_phases(
    pipe: "TextToImage", plan: Plan, clock: Stopwatch, callback: Callback | None, progress: bool
) -> Generator[Step, None, Output]:
    """Run all phases of a plan: yield each step, and return the output.

    Args:
        pipe: its methods compute.
        plan: the resolved request.
        clock: measures each phase; it has the seconds that the plan took.
        callback: called after every step.
        progress: show a progress bar of the steps on stderr.

    Raises:
        Cancelled: the callback returned False.
    """
    timings = clock.seconds
    with clock.measure("total"):
        with clock.measure(ENCODER):
            start = init_latents(plan, pipe.encode_image)
        with clock.measure("text_encoder"):
            positive, negative = conditioning_of(plan, pipe.text_encoders, start.extra_channels)
        with clock.measure("sampler"), progress_bar(len(plan.sampler), shown=progress) as count:
            for step in _denoised(pipe, plan, start, positive, negative, timings):
                count()
                if callback is not None and _stops(callback(step)):
                    raise Cancelled(f"cancelled after step {step.index + 1} of {step.total}")
                with clock.pause():
                    yield step
            latents = np.array(step.latents)
        with clock.measure(DECODER):
            pixels = pipe.decode(latents)
    timings["sampler"] -= timings[pipe.family.denoiser]
    if plan.init_image is None:
        del timings[ENCODER]
    settings = settings_of(plan.request, plan.texts, plan.seeds, plan.variation_seeds, pipe.package)
    images = [to_image(each, image_settings) for each, image_settings in zip(pixels, settings, strict=True)]
    return Output(images, latents, list(plan.seeds), timings, settings)


def _denoised(
    pipe: "TextToImage",
    plan: Plan,
    start: InitLatents,
    positive: Conditioning,
    negative: Conditioning | None,
    timings: dict[str, float],
) -> Iterator[Step]:
    """The denoising steps of a plan, see `TextToImage.denoise`."""
    return pipe.denoise(
        positive,
        negative,
        start.noise,
        plan.sampler,
        plan.guidance,
        start.draw,
        timings,
        image_latents=start.image_latents,
        mask=start.mask,
    )


def _stops(answer: Any) -> bool:
    """Whether a callback's answer is False, Python's or numpy's; every other answer continues."""
    return isinstance(answer, bool | np.bool_) and not answer

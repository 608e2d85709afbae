"""One run of the denoising loop, for the host loop and the device loop."""

from dataclasses import dataclass

import numpy as np

from ..families.conditioning import Conditioning
from ..sampling import Sampler
from ..sampling.denoise import Draw
from .guidance import Guidance
from .mask_blending import KnownRegion


@dataclass(frozen=True, eq=False)
class Run:
    """The arguments of a run.

    Attributes:
        positive: conditioning of the prompts.
        negative: conditioning of the negative prompts; None turns guidance off.
        guidance: how the two outputs are combined.
        sampler: the scheduler's table.
        noise: unit Gaussian float32 [n, C, h, w], or the latents to resume from.
        draw: shape -> unit Gaussian, for stochastic samplers.
        image_latents: to add the noise to, float32 [n, C, h, w]; a sampler of strength below 1 needs them.
        known: region of an image that is restored after every step, or None.
    """

    positive: Conditioning
    negative: Conditioning | None
    guidance: Guidance
    sampler: Sampler
    noise: np.ndarray
    draw: Draw | None = None
    image_latents: np.ndarray | None = None
    known: KnownRegion | None = None

"""Latents of a model family between its VAE, its sampler and its denoiser: what packages do not state themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MuBySize = Callable[[Mapping[str, Any], int], float | None]
"""Scheduler configuration, tokens of an image -> mu of `Sampler.from_config`; None where its shift is fixed."""

ANY_TOKENS = 1024
"""Tokens of an image where a scheduler is only tried."""

STATISTICS = ("latents_mean", "latents_std")
SHIFT = ("shift_factor",)


@dataclass(frozen=True)
class Latents:
    """The latents of a family.

    Attributes:
        scaling_factor: their factor, where the VAE's configuration does not set it.
        moved_by: fields of that configuration which move latents, `STATISTICS` or `SHIFT`; diffusers' pipeline of the
            family leaves others unused.
        patch: latents on a side of the denoiser's tokens, of which height and width are multiples.
        mu: shift of the schedule by the size of the image; None where no size shifts it.
    """

    scaling_factor: float = 0.18215
    moved_by: tuple[str, ...] = ()
    patch: int = 1
    mu: MuBySize | None = None

    def mu_for(self, config: Mapping[str, Any], tokens: int) -> float | None:
        """mu of a scheduler for an image of this many tokens; None where its schedule does not shift with them.

        Raises:
            SamplerError: an option of the configuration that cannot be used.
        """
        return None if self.mu is None else self.mu(config, tokens)


LATENTS = Latents()
"""Latents of Stable Diffusion 1.x and 2.x."""

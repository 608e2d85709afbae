"""Previews of an image while it is denoised: their steps, and how they are decoded."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...image.preview import has_previews
from ...pipeline import TextToImage
from ...sampling import Step

MOST = 24
"""Previews of an image at most."""

MOST_DECODED = 4
"""Previews of an image at most where its VAE decoder has to decode them."""


def allowed(pipe: TextToImage) -> int:
    """Previews of an image at most, by what the package has for them."""
    return MOST if has_previews(pipe.package) else MOST_DECODED


def steps_of(count: int, total: int) -> dict[int, int]:
    """Step index -> preview number, for `count` previews at equal distances; fewer if there are few steps.

    The last step has no preview: its result is the image.
    """
    indices = sorted({(number + 1) * total // (count + 1) - 1 for number in range(count)} - {-1, total - 1})
    return {index: number for number, index in enumerate(indices)}


@dataclass(frozen=True)
class Previews:
    """Step callback that passes `count` previews of an image to `show`: number and pixels uint8 [H, W, 3].

    They are those of `TextToImage.preview`. A package that has none uses its VAE decoder, which is slower, for at most
    `MOST_DECODED` previews.
    """

    count: int
    show: Callable[[int, np.ndarray], None]

    def __call__(self, pipe: TextToImage, step: Step, row: int) -> None:
        """See `ticket.StepCallback`."""
        number = steps_of(min(self.count, allowed(pipe)), step.total).get(step.index)
        if number is not None:
            small = has_previews(pipe.package)
            self.show(number, pipe.preview(step)[row] if small else pipe.decode(step.denoised[row : row + 1])[0])

"""Pictures in the making: at which steps, and how they are drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...package.graphs import PREVIEW_DECODER
from ...pipeline import TextToImage
from ...sampling import Step


def steps_of(count: int, total: int) -> dict[int, int]:
    """Index of a step -> number of the preview: `count` of them at even distances, fewer where there are few steps.

    The last step is none of them: what it gives is the picture.
    """
    indices = sorted({(number + 1) * total // (count + 1) - 1 for number in range(count)} - {-1, total - 1})
    return {index: number for number, index in enumerate(indices)}


@dataclass(frozen=True)
class Previews:
    """A watch that shows `count` previews of a picture: `show` gets number and pixels uint8 [H, W, 3] of each.

    They are drawn by the package's preview decoder, or, where it has none, at the cost of its own decoder.
    """

    count: int
    show: Callable[[int, np.ndarray], None]

    def __call__(self, pipe: TextToImage, step: Step, row: int) -> None:
        """See `ticket.Watch`."""
        number = steps_of(self.count, step.total).get(step.index)
        if number is not None:
            small = PREVIEW_DECODER in pipe.package.components
            self.show(number, pipe.preview(step)[row] if small else pipe.decode(step.denoised[row : row + 1])[0])

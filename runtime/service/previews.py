"""Pictures in the making: at which steps, and how they are drawn."""

from collections.abc import Callable

import numpy as np

from ..components import PREVIEW_DECODER
from ..pipeline import TextToImage
from ..sampling import Step
from .batcher import Watch


def steps_of(count: int, total: int) -> dict[int, int]:
    """Index of a step -> number of the preview: `count` of them at even distances, fewer where there are few steps.

    The last step is none of them: what it gives is the picture.
    """
    indices = sorted({(number + 1) * total // (count + 1) - 1 for number in range(count)} - {-1, total - 1})
    return {index: number for number, index in enumerate(indices)}


def watch_of(pipe: TextToImage, count: int, show: Callable[[int, np.ndarray], None]) -> Watch | None:
    """What calls `show` with number and pixels uint8 [H, W, 3] of each of `count` previews; None for none of them.

    They are drawn by the package's preview decoder, or, where it has none, at the cost of its own decoder.
    """
    if count == 0:
        return None
    small = PREVIEW_DECODER in pipe.package.components

    def watch(step: Step, row: int) -> None:
        number = steps_of(count, step.total).get(step.index)
        if number is not None:
            pixels = pipe.preview(step)[row] if small else pipe.decode(step.denoised[row : row + 1])[0]
            show(number, pixels)

    return watch

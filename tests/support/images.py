"""Initial images and masks."""

import numpy as np
from PIL import Image


def example_image(width: int = 128, height: int = 128, seed: int = 0) -> Image.Image:
    """A smooth random image."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def mask(width: int = 128, height: int = 128) -> Image.Image:
    """A mask of the right half and a corner, with a grey edge."""
    values = np.zeros((height, width), np.uint8)
    values[:, width // 2 :] = 255
    values[: height // 3, : width // 4] = 200
    values[:, width // 2 - 3] = 127
    return Image.fromarray(values)

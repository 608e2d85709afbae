"""Write docs/denoising.gif, images during denoising: python docs/denoising.py [PACKAGE]."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from triptych.runtime import TextToImage

PROMPTS = ("red heart", "penguin on a purple background", "sunflower", "rocket on a blue background")
SEED = 3
ZOOM = 2
MILLISECONDS = 150  # a frame; the last is shown ten times as long
TARGET = Path(__file__).with_name("denoising.gif")


def frames(pipe: TextToImage, prompt: str) -> list[np.ndarray]:
    """Decoded latents of every step, with the defaults of the package: uint8 [H, W, 3] each."""
    return [pipe.decode(step.latents)[0] for step in pipe.stream(prompt, seed=SEED)]


def main() -> None:
    """Lay the prompts side by side and write the animation."""
    pipe = TextToImage.load(sys.argv[1] if len(sys.argv) > 1 else "models/emoji-package", device="cpu")
    rows = [np.concatenate(step, axis=1) for step in zip(*(frames(pipe, prompt) for prompt in PROMPTS), strict=True)]
    images = [
        Image.fromarray(row).resize((row.shape[1] * ZOOM, row.shape[0] * ZOOM), Image.Resampling.NEAREST)
        for row in rows
    ]
    durations = [MILLISECONDS] * (len(images) - 1) + [10 * MILLISECONDS]
    images[0].save(TARGET, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True)


if __name__ == "__main__":
    main()

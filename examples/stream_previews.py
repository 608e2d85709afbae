"""Steps one by one, with a preview of each, and a stop as soon as the image hardly changes.

    python examples/stream_previews.py [PACKAGE]

Writes out/stream_previews.gif, the previews in order and the image. Leaving the loop stops the computation; the image
is decoded from the last step. Previews are made of the colours of latents, or by a tiny decoder if the package has one.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from triptych.runtime import TextToImage

TARGET = Path("out/stream_previews.gif")
STEPS = 40
SMALLEST_CHANGE = 0.5  # mean difference of two previews, of 255 levels
SIZE = 256  # pixels of the animation


def main(package: str = "models/emoji-package") -> None:
    """Generate an image, watch it, and write what was seen."""
    frames: list[np.ndarray] = []
    with TextToImage.load(package) as pipe:
        for step in pipe.stream("sunflower", num_inference_steps=STEPS, seed=2):
            frames.append(pipe.preview(step)[0])
            if len(frames) > 1 and np.abs(frames[-1].astype(float) - frames[-2]).mean() < SMALLEST_CHANGE:
                break
        print(f"stopped after {len(frames)} of {step.total} steps")
        frames.append(pipe.decode(step.denoised)[0])

    images = [Image.fromarray(frame).resize((SIZE, SIZE), Image.Resampling.NEAREST) for frame in frames]
    TARGET.parent.mkdir(exist_ok=True)
    durations = [100] * (len(images) - 1) + [2000]  # milliseconds
    images[0].save(TARGET, save_all=True, append_images=images[1:], duration=durations, loop=0)
    print(TARGET)


if __name__ == "__main__":
    main(*sys.argv[1:])

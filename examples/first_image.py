"""One image, saved with its settings, and the same image again from the file.

    python examples/first_image.py [PACKAGE]

Writes out/first_image.png.
"""

import sys
from pathlib import Path

import numpy as np

from triptych.runtime import TextToImage
from triptych.runtime.image.pixels import read_settings

TARGET = Path("out/first_image.png")


def main(package: str = "models/emoji-package") -> None:
    """Generate an image, save it, and generate it again."""
    with TextToImage.load(package) as pipe:
        out = pipe("penguin on a purple background", seed=1, progress=True)
        TARGET.parent.mkdir(exist_ok=True)
        out.images[0].save(TARGET)

        settings = read_settings(TARGET)  # those of the package are among them: steps, guidance, size, scheduler
        print(f"{settings.scheduler}, {settings.num_inference_steps} steps, guidance {settings.guidance_scale:g}")
        again = pipe(**settings.arguments())

    same = np.array_equal(np.asarray(out.images[0]), np.asarray(again.images[0]))
    print(f"{TARGET}: the image from its settings is {'the same' if same else 'another one'}")
    for component, seconds in out.timings.items():
        print(f"  {component}: {seconds * 1000:.0f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])

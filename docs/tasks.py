"""Draw docs/tasks.png with the demo model: image-to-image, inpainting, weighted words and a walk. python docs/tasks.py

Needs models/emoji-package, which `make demo` writes; its defaults are in use.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from triptych.runtime import TextToImage
from triptych.runtime.image.pixels import contact_sheet
from triptych.runtime.request import Request
from triptych.runtime.tasks.interpolation import walk

REPOSITORY = Path(__file__).parents[1]
TARGET = REPOSITORY / "docs" / "tasks.png"
SCALE = 2  # times the model's 64x64 pixels

STRENGTHS = (0.3, 0.5, 0.7, 0.9)
WEIGHTS = (0.2, 0.6, 1.0, 1.5, 2.0)


def right_half(size: int) -> Image.Image:
    """A mask, white on the right."""
    values = np.zeros((size, size), np.uint8)
    values[:, size // 2 :] = 255
    return Image.fromarray(values)


def main() -> None:
    """Generate all rows and write the contact sheet."""
    pipe = TextToImage.load(REPOSITORY / "models" / "emoji-package", device="cpu")

    def draw(prompt: str, seed: int, **arguments: Any) -> Image.Image:
        return pipe(prompt, seed=seed, **arguments).images[0]

    heart = draw("red heart", 1)
    mask = right_half(heart.width)
    rows = {
        "image='red heart', 'strawberry', strength 0.3 to 0.9": [
            heart,
            *(draw("strawberry", 2, image=heart, strength=strength) for strength in STRENGTHS),
        ],
        "image='red heart', its right half as mask_image, 'green heart', three seeds": [
            heart,
            mask.convert("RGB"),
            *(draw("green heart", seed, image=heart, mask_image=mask) for seed in (1, 2, 3)),
        ],
        f"'(strawberry:w) fox', w {WEIGHTS[0]:g} to {WEIGHTS[-1]:g}": [
            draw(f"(strawberry:{weight}) fox", 3) for weight in WEIGHTS
        ],
    }
    walked = walk(pipe, Request(["sunflower", "grinning face"], seed=4), 5)
    rows["from 'sunflower' to 'grinning face', --walk 5"] = [out.images[0] for out in walked]
    cells = [cell.resize((cell.width * SCALE,) * 2, Image.Resampling.NEAREST) for row in rows.values() for cell in row]
    contact_sheet(cells, 5, row_labels=list(rows)).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()

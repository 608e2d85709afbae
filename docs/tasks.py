"""Draws docs/tasks.png with the demo model: image-to-image, inpainting, weighted words and a walk. python docs/tasks.py

Needs models/emoji-package, which `make demo` writes.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from triptych.runtime import TextToImage
from triptych.runtime.image import contact_sheet
from triptych.runtime.interpolation import walk

REPOSITORY = Path(__file__).parents[1]
TARGET = REPOSITORY / "docs" / "tasks.png"
SETTINGS = {"num_inference_steps": 20, "guidance_scale": 2.5}
SCALE = 2  # times the model's 64x64 pixels

STRENGTHS = (0.3, 0.5, 0.7, 0.9)
WEIGHTS = (0.2, 0.6, 1.0, 1.4, 1.8)


def mask(size: int) -> Image.Image:
    """Light in the middle."""
    values = np.zeros((size, size), np.uint8)
    values[size // 4 : -size // 4, size // 4 : -size // 4] = 255
    return Image.fromarray(values)


def main() -> None:
    """Draw all rows and write the sheet."""
    pipe = TextToImage.load(REPOSITORY / "models" / "emoji-package", device="cpu")

    def draw(prompt: str, seed: int, **arguments: object) -> Image.Image:
        return pipe(prompt, seed=seed, **SETTINGS, **arguments).images[0]

    heart, face = draw("red heart", 1), draw("grinning face", 3)
    hole = mask(face.width)
    rows = {
        "image='red heart', 'strawberry', strength 0.3 to 0.9": [
            heart,
            *(draw("strawberry", 2, image=heart, strength=strength) for strength in STRENGTHS),
        ],
        "image='grinning face', mask_image, 'red heart', three seeds": [
            face,
            hole.convert("RGB"),
            *(draw("red heart", seed, image=face, mask_image=hole) for seed in (1, 2, 3)),
        ],
        "'fox on a (purple:w) background', w 0.2 to 1.8": [
            draw(f"fox on a (purple:{weight}) background", 5) for weight in WEIGHTS
        ],
    }
    walked = walk(pipe, ["sunflower", "grinning face"], 5, seed=4, **SETTINGS)
    rows["from 'sunflower' to 'grinning face', --walk 5"] = [out.images[0] for out in walked]
    cells = [cell.resize((cell.width * SCALE,) * 2, Image.Resampling.NEAREST) for row in rows.values() for cell in row]
    contact_sheet(cells, 5, row_labels=list(rows)).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()

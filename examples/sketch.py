"""Image to image: a sketch, redrawn with more and more freedom, and one half of it redrawn alone.

    python examples/sketch.py [PACKAGE]

Writes out/sketch.png: the sketch, images of rising strength, and below them the sketch with its mask and three seeds.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from triptych.runtime import TextToImage
from triptych.runtime.image.pixels import contact_sheet
from triptych.runtime.request import Request

TARGET = Path("out/sketch.png")
PROMPT = "strawberry on a blue background"
STRENGTHS = (0.5, 0.7, 0.8, 0.9)
SEEDS = (1, 2, 3)


def sketched(size: int) -> Image.Image:
    """A red blob with a green top on blue."""
    image = Image.new("RGB", (size, size), (80, 140, 225))
    draw = ImageDraw.Draw(image)
    draw.ellipse((size * 0.25, size * 0.3, size * 0.75, size * 0.85), fill=(220, 40, 50))
    draw.ellipse((size * 0.35, size * 0.2, size * 0.65, size * 0.4), fill=(60, 150, 60))
    return image


def right_half(size: int) -> Image.Image:
    """A mask: white where the image is redrawn."""
    values = np.zeros((size, size), np.uint8)
    values[:, size // 2 :] = 255
    return Image.fromarray(values)


def main(package: str = "models/emoji-package") -> None:
    """Redraw the sketch and write the sheet."""
    with TextToImage.load(package) as pipe:
        size = pipe.plan(Request(PROMPT)).request.width or 64
        sketch, mask = sketched(size), right_half(size)
        free = [pipe(PROMPT, image=sketch, strength=strength, seed=1).images[0] for strength in STRENGTHS]
        half = [
            pipe("green heart on a blue background", image=free[-1], mask_image=mask, seed=seed).images[0]
            for seed in SEEDS
        ]

    labels = [f"strength {STRENGTHS[0]:g} to {STRENGTHS[-1]:g}", "right half: a green heart, seeds 1 to 3"]
    sheet = contact_sheet([sketch, *free, free[-1], mask.convert("RGB"), *half], 1 + len(STRENGTHS), row_labels=labels)
    TARGET.parent.mkdir(exist_ok=True)
    sheet.save(TARGET)
    print(TARGET)


if __name__ == "__main__":
    main(*sys.argv[1:])

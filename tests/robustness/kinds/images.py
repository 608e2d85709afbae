"""Damaged, odd and hostile image files, as --image, --mask or in a batch."""

import io
import json
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from ..alter import altered_bytes
from ..attempt import Case
from ..inputs import Inputs, succeed

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "TGA", "ICO", "JPEG2000", "AVIF", "EPS", "PCX", "SGI")
_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "I", "F", "YCbCr", "HSV", "LAB", "PA")


def case(inputs: Inputs, random: Random) -> Case:
    """An image file in one of the formats and modes, altered or as it is."""
    data, name = _image(random)
    if random.random() < 0.8:
        data, change = altered_bytes(data, random)
        name = f"{name}, {change}"
    use = random.choice(("image", "image", "mask", "batch"))

    def run() -> None:
        Path("x.png").write_bytes(data)
        Image.new("RGB", (64, 64), "red").save("plain.png")
        if use == "batch":
            row = {"id": 1, "prompt": "fox", "image": "x.png", "num_inference_steps": 2}
            Path("jobs.jsonl").write_text(json.dumps(row))
            succeed("batch", inputs.package, "jobs.jsonl", "out", "--device", "cpu")
            return
        files = ("--image", "x.png") if use == "image" else ("--image", "plain.png", "--mask", "x.png")
        succeed("generate", inputs.package, "fox", *files, "--steps", 2, "--out", "out.png", "--device", "cpu")

    return Case(f"{name}, as {use}", run, statuses=(1,) if use == "batch" else ())


def _image(random: Random) -> tuple[bytes, str]:
    """An image file, and its format and mode; PNG and RGB where Pillow cannot write the chosen ones."""
    kind, mode = random.choice(_FORMATS), random.choice(_MODES)
    size = random.choice(((64, 64), (64, 64), (1, 1), (65, 31), (3000, 1)))
    pixels = np.random.default_rng(random.randrange(2**32)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    try:
        image.convert(mode).save(file, kind)
    except (OSError, ValueError, KeyError):
        kind, mode, file = "PNG", "RGB", io.BytesIO()
        image.save(file, kind)
    return file.getvalue(), f"{kind} {mode} {size[0]}x{size[1]}"

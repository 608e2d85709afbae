"""A sheet of one prompt and seed: a row for each scheduler, a column for each number of steps.

    python examples/compare_schedulers.py [PACKAGE]

Writes out/compare_schedulers.png. Deterministic schedulers lead to the same image with enough steps, good ones with
few. A scheduler that draws noise, as that of the last row, leads to another image with every number of steps.
"""

import sys
from pathlib import Path

from triptych.runtime import TextToImage
from triptych.runtime.image.pixels import contact_sheet

TARGET = Path("out/compare_schedulers.png")
PROMPT, SEED = "strawberry on a blue background", 3
SCHEDULERS = ("ddim", "euler", "dpmpp_2m", "unipc", "euler_a")
STEPS = (2, 3, 5, 10, 20)


def main(package: str = "models/emoji-package") -> None:
    """Generate all images and write the sheet."""
    with TextToImage.load(package) as pipe:
        images = [
            pipe(PROMPT, seed=SEED, scheduler=scheduler, num_inference_steps=steps).images[0]
            for scheduler in SCHEDULERS
            for steps in STEPS
        ]
    sheet = contact_sheet(
        images, len(STEPS), row_labels=SCHEDULERS, column_labels=[f"{steps} steps" for steps in STEPS]
    )
    TARGET.parent.mkdir(exist_ok=True)
    sheet.save(TARGET)
    print(f"{TARGET}: {len(images)} images")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Write docs/banner.png, images of the demo model in two rows: python docs/banner.py [PACKAGE]."""

import sys
from pathlib import Path

from PIL import Image

from triptych.runtime import TextToImage
from triptych.runtime.image.pixels import contact_sheet

SUBJECTS = ("red heart", "fox", "penguin", "strawberry", "sunflower", "rocket")
BACKGROUND = "{} on a blue background"
SEED = 1
SIDE = 128  # pixels of a shown image, twice the model's
TARGET = Path(__file__).with_name("banner.png")


def main() -> None:
    """Generate each subject without and with a background, with the package's default settings."""
    pipe = TextToImage.load(sys.argv[1] if len(sys.argv) > 1 else "models/emoji-package", device="cpu")
    prompts = [*SUBJECTS, *(BACKGROUND.format(subject) for subject in SUBJECTS)]
    images = [pipe(prompt, seed=SEED).images[0] for prompt in prompts]
    shown = [image.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for image in images]
    labels = ['"..."', f'"{BACKGROUND.format("...")}"']
    contact_sheet(shown, len(SUBJECTS), row_labels=labels, column_labels=SUBJECTS).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()

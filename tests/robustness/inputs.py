"""The inputs that cases alter, and what the unaltered ones give."""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import triptych.runtime
from tests.support import tiny_package
from triptych.runtime import TextToImage

REPOSITORY = Path(__file__).parents[2]
STEPS = 2
SEED = 7
PROMPT = "a red fox"


@dataclass(frozen=True)
class Inputs:
    """Files of the unaltered inputs.

    Attributes:
        folder: all of them; nothing in it may change.
        package: a folder of graphs, see tests/support/tiny_package.py.
        image: a PNG that Triptych made from `package`, with `PROMPT`, `SEED` and `STEPS`.
        pixels: of that image.
        checkpoint: a diffusers folder; None without PyTorch.
    """

    folder: Path
    package: Path
    image: Path
    pixels: bytes
    checkpoint: Path | None


def prepare(folder: Path) -> Inputs:
    """Write the inputs into an empty folder, in another process: this one is forked, and so may have no threads."""
    subprocess.run([sys.executable, "-m", __name__, str(folder)], check=True, capture_output=True, cwd=REPOSITORY)
    _import_everything()
    image, checkpoint = folder / "made.png", folder / "checkpoint"
    return Inputs(folder, folder / "package", image, pixels_of(image), checkpoint if checkpoint.exists() else None)


def _import_everything() -> None:
    """Import what cases need once, before they are forked."""
    for module in pkgutil.walk_packages(triptych.runtime.__path__, "triptych.runtime."):
        with suppress(ImportError):  # Ray and the page have dependencies of their own
            importlib.import_module(module.name)
    with suppress(ImportError):  # without PyTorch
        importlib.import_module("triptych.export")


def _write(folder: Path) -> None:
    package = tiny_package.write(folder / "package")
    pipe = TextToImage.load(package, device="cpu")
    pipe(PROMPT, num_inference_steps=STEPS, seed=SEED).images[0].save(folder / "made.png")
    if importlib.util.find_spec("torch") is not None:
        from tests.support.checkpoints import make_checkpoint

        make_checkpoint(folder / "checkpoint")


def succeed(*words: object) -> None:
    """Run a command of `triptych` in this process, and come back if it succeeds; otherwise raises SystemExit."""
    from triptych.runtime.cli import main

    sys.argv = ["triptych", *map(str, words)]
    try:
        main()
    except SystemExit as stopped:
        if stopped.code:
            raise


def pixels_of(file: Path) -> bytes:
    """Size and pixels of an image file."""
    with Image.open(file) as image:
        return repr(image.size).encode() + np.asarray(image.convert("RGB")).tobytes()


if __name__ == "__main__":
    _write(Path(sys.argv[1]))

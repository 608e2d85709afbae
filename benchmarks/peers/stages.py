"""Stages of a measurement as lists of cases: `components` and `picture` at the default size, a sweep for each axis."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from triptych.runtime.errors import lookup
from triptych.runtime.package.package import open_package

from .figures import Case
from .work import COMPONENTS, Size

STAGES = (*COMPONENTS, "components", "picture", "sizes", "batches", "threads", "steps")
FULL_SIZES = (256, 384, 512, 768, 1024)  # of a model for 512x512; in proportion for others
BATCHES, THREADS = (1, 2, 4, 8), (1, 2)
SHARES_OF_STEPS = (4, 2, 1)


def default_size(package: str | Path) -> Size:
    """One image of the package's default size."""
    opened = open_package(package)
    factor = 2 ** (len(opened.config("vae_decoder")["block_out_channels"]) - 1)
    side = int(opened.config("unet")["sample_size"]) * factor
    return Size(1, side, side)


def cases_of(stages: Sequence[str], size: Size, steps: int, threads: int) -> list[Case]:
    """Cases of these stages, each once.

    Sweeps measure the U-Net, which is nearly all of an image; the sweep over steps measures the whole image.

    Raises:
        ArgumentError: there is no stage of a name.
    """
    unet = Case("unet", size, threads)
    image = Case("picture", size, threads, steps)
    sides = [side * size.height // 512 for side in FULL_SIZES]
    cases = {
        **{name: [replace(unet, what=name)] for name in COMPONENTS},
        "components": [replace(unet, what=name) for name in COMPONENTS],
        "picture": [image],
        "sizes": [replace(unet, size=Size(size.batch, side, side)) for side in sides],
        "batches": [replace(unet, size=replace(size, batch=batch)) for batch in BATCHES],
        "threads": [replace(unet, threads=count) for count in THREADS if count <= threads],
        "steps": [replace(image, steps=max(1, steps // share)) for share in SHARES_OF_STEPS],
    }
    return list(dict.fromkeys(case for stage in stages for case in lookup(cases, stage, "stage")))

"""What there is to measure, as cases: `components` and `picture` at the package's own size, a sweep for each axis."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from triptych.runtime.errors import ArgumentError, nearest
from triptych.runtime.package.package import open_package

from .figures import Case
from .work import COMPONENTS, Size

STAGES = (*COMPONENTS, "components", "picture", "sizes", "batches", "threads", "steps")
FULL_SIZES = (256, 384, 512, 768, 1024)  # of a model that makes 512x512; of others in proportion
BATCHES, THREADS = (1, 2, 4, 8), (1, 2)
SHARES_OF_STEPS = (4, 2, 1)


def own_size(package: str | Path) -> Size:
    """One picture of the package's own size."""
    opened = open_package(package)
    factor = 2 ** (len(opened.config("vae_decoder")["block_out_channels"]) - 1)
    side = int(opened.config("unet")["sample_size"]) * factor
    return Size(1, side, side)


def cases_of(stages: Sequence[str], size: Size, steps: int, threads: int) -> list[Case]:
    """The cases of these stages, those of several stages once.

    Sweeps are of the U-Net, which is nearly all of a picture; that over steps is of the whole picture.

    Raises:
        ArgumentError: a stage that is none.
    """
    unet = Case("unet", size, threads)
    picture = Case("picture", size, threads, steps)
    sides = [side * size.height // 512 for side in FULL_SIZES]
    cases = {
        **{name: [replace(unet, what=name)] for name in COMPONENTS},
        "components": [replace(unet, what=name) for name in COMPONENTS],
        "picture": [picture],
        "sizes": [replace(unet, size=Size(size.batch, side, side)) for side in sides],
        "batches": [replace(unet, size=replace(size, batch=batch)) for batch in BATCHES],
        "threads": [replace(unet, threads=count) for count in THREADS if count <= threads],
        "steps": [replace(picture, steps=max(1, steps // share)) for share in SHARES_OF_STEPS],
    }
    for stage in stages:
        if stage not in cases:
            raise ArgumentError(f"there is no stage {stage}; {nearest(stage, cases)}")
    return list(dict.fromkeys(case for stage in stages for case in cases[stage]))

"""Packages to measure, from the checkpoint with random weights.

python -m triptych.benchmarks.gpu.export demo|cuda|others

`demo` are the packages of the demo model. `cuda` is the checkpoint for one image with guidance; where the CPU tries the
kit, which cannot run it, with the package in standard operators. `others` are that package, and copies of the cuda
package, by hard links, with another U-Net: with another choice of the operator set, or for several images at once.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.benchmarks.checkpoints.architectures import ARCHITECTURES
from triptych.benchmarks.checkpoints.make_checkpoint import write_checkpoint
from triptych.export import export
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import components_of
from triptych.export.dialects.cuda import cuda_dialect
from triptych.export.dialects.cuda_layers import Choices
from triptych.export.exporter import export_component
from triptych.export.files import write_json
from triptych.export.options import checked_options
from triptych.export.quiet import quiet
from triptych.runtime.package.json_file import read_json
from triptych.runtime.package.manifest import MANIFEST

from . import kit
from .demo import export_packages

VARIANTS = {"cuda-apart": Choices(packed=False), "cuda-conv": Choices(nhwc_conv=False)}
"""Packages with one other choice."""


def make_checkpoint() -> None:
    """Write the checkpoint if it is not there, under another name until it is whole."""
    here = kit.settings()
    if not here.checkpoint.is_dir():
        partial = here.checkpoint.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        pipeline, full, small = ARCHITECTURES[here.model]
        write_checkpoint(partial, full if here.full else small, pipeline=pipeline)
        partial.rename(here.checkpoint)


def export_dialect(name: str) -> None:
    """Export for one image with guidance, in float16 with fixed shapes."""
    here = kit.settings()
    static = (kit.GUIDED, here.side, here.side)
    export(
        here.checkpoint,
        here.package(name),
        precision="fp16",
        dialect=name,
        static=static,
        force=True,
        report=kit.say,
    )


def export_other(target: Path, images: int, choices: Choices) -> None:
    """Copy the cuda package and export another U-Net into it."""
    here = kit.settings()
    source, partial = here.package("cuda"), target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, copy_function=os.link, ignore=shutil.ignore_patterns("unet", MANIFEST))
    checkpoint = open_checkpoint(here.checkpoint)
    options = checked_options("fp16", "cuda", (kit.GUIDED * images, here.side, here.side), None, False)
    options = replace(options, dialect=cuda_dialect(choices))
    with quiet():
        unet = export_component(components_of(checkpoint)["unet"], checkpoint, partial / "unet", options, None)
    manifest = read_json(source / MANIFEST)
    manifest["static"]["batch"] = kit.GUIDED * images
    manifest["components"]["unet"] = unet.as_json()
    write_json(partial / MANIFEST, manifest)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def main() -> None:
    """Export those packages; the seconds of each go into export-NAME.json."""
    (name,) = sys.argv[1:]
    here = kit.settings()
    results = kit.Results(f"export-{name}")

    def timed(key: str, work: Callable[..., None], *arguments: Any) -> None:
        def measure() -> float:
            start = time.perf_counter()
            work(*arguments)
            return round(time.perf_counter() - start, 1)

        results.attempt(key, measure)

    if name == "demo":
        timed("demo", export_packages)
        results.finish()
        return
    timed("checkpoint", make_checkpoint)
    if name == "cuda":
        for dialect in ("cuda",) if here.on_cuda else ("cuda", "portable"):
            timed(dialect, export_dialect, dialect)
    else:
        if not here.package("portable").is_dir():
            timed("portable", export_dialect, "portable")
        for variant, choices in VARIANTS.items():
            timed(variant, export_other, here.package(variant), 1, choices)
        for images in here.batches[1:]:
            timed(f"{images} images", export_other, here.package("cuda", images), images, Choices())
    results.finish()


if __name__ == "__main__":
    main()

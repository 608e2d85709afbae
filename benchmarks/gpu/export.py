"""Packages to measure, from the checkpoint with random weights.

python -m triptych.benchmarks.gpu.export cuda|portable|batches|variants

`batches` and `variants` are copies of the cuda package, by hard links, with another U-Net: for several pictures at
once, or with one of the dialect's choices made otherwise.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from triptych.benchmarks.checkpoints.architectures import ARCHITECTURES
from triptych.benchmarks.checkpoints.make_checkpoint import write_checkpoint
from triptych.export import export
from triptych.export.checkpoint import open_checkpoint
from triptych.export.components import components_of, static_sizes
from triptych.export.dialects.cuda import cuda_dialect
from triptych.export.dialects.cuda_layers import Choices
from triptych.export.files import describe_files
from triptych.export.graph import save, to_onnx
from triptych.export.precision import FP16_FLOOR_DB
from triptych.export.quiet import quiet
from triptych.export.verify import ask, verify
from triptych.runtime.package.package import MANIFEST, read_json

from . import kit

VARIANTS = {"cuda-apart": Choices(packed=False), "cuda-conv": Choices(nhwc_conv=False)}
"""Packages with one choice made otherwise."""


def make_checkpoint() -> None:
    """Once; under another name until it is whole."""
    if not kit.CHECKPOINT.is_dir():
        partial = kit.CHECKPOINT.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        pipeline, full, small = ARCHITECTURES[kit.MODEL]
        write_checkpoint(partial, full if kit.SIZE == "full" else small, pipeline=pipeline)
        partial.rename(kit.CHECKPOINT)


def export_dialect(name: str) -> None:
    """The package for one picture with guidance, in float16 with fixed shapes."""
    static = (kit.GUIDED, kit.SIDE, kit.SIDE)
    export(kit.CHECKPOINT, kit.package(name), precision="fp16", dialect=name, static=static, force=True, report=kit.say)


def export_other(target: Path, pictures: int, choices: Choices) -> None:
    """A copy of the cuda package with another U-Net, verified on one draw."""
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(kit.package("cuda"), partial, copy_function=os.link, ignore=shutil.ignore_patterns("model.onnx*"))
    for graph in kit.package("cuda").glob("[!u]*/model.onnx*"):
        os.link(graph, partial / graph.parent.name / graph.name)
    checkpoint = open_checkpoint(kit.CHECKPOINT)
    component = components_of(checkpoint)["unet"]()
    sizes = static_sizes(checkpoint, component, (kit.GUIDED * pictures, kit.SIDE, kit.SIDE))
    with quiet():
        questions = ask(component, sizes)[:1]
        component = replace(component, module=cuda_dialect(choices).rewrite(component.module).half())
        files = save(to_onnx(component, torch.float16, sizes), partial / "unet")
        del component
        verify("unet", files[0], questions, FP16_FLOOR_DB)
    manifest = read_json(partial / MANIFEST)
    manifest["static"]["batch"] = kit.GUIDED * pictures
    manifest["components"]["unet"]["files"] = describe_files(files, partial)
    (partial / MANIFEST).unlink()  # it is a link to that of the cuda package
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2))
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def main() -> None:
    """One of them; the seconds that each took go into export-NAME.json."""
    (name,) = sys.argv[1:]
    results = kit.Results(f"export-{name}")

    def timed(key: str, work: Callable[..., None], *arguments: Any) -> None:
        def measure() -> float:
            start = time.perf_counter()
            work(*arguments)
            return round(time.perf_counter() - start, 1)

        results.attempt(key, measure)

    timed("checkpoint", make_checkpoint)
    if name == "batches":
        for pictures in kit.PICTURES[1:]:
            timed(f"{pictures} pictures", export_other, kit.package("cuda", pictures), pictures, Choices())
    elif name == "variants":
        for variant, choices in VARIANTS.items():
            timed(variant, export_other, kit.package(variant), 1, choices)
    else:
        timed(name, export_dialect, name)
    results.finish()


if __name__ == "__main__":
    main()

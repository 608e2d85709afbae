"""Images of the demo model: right, the same again, and in fp32 with and without TF32.

python -m triptych.benchmarks.gpu.demo

Images in float16 on the device are compared with those in float32 on the CPU, and must come within FLOOR_DB.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from triptych.export import export
from triptych.runtime import TextToImage

from . import graphs, kit
from .repeat import drawing, peak_signal_to_noise, run_to_run

FLOOR_DB = 35.0
DEMO = Path("models/emoji")
SIDE = 64
PROMPTS = ("red heart", "fox", "strawberry on a blue background", "penguin on a purple background")
STEPS, GUIDANCE = 20, 2.5
TF32: dict[str, dict[str, str]] = {"as chosen": {}, "no TF32": {"use_tf32": "0"}, "TF32": {"use_tf32": "1"}}
"""Provider options of the fp32 package; Triptych's own choice is to leave TF32 off."""


def package(precision: str, operators: str | None = None) -> Path:
    """The demo model as a package of fixed shapes, in the operator set of the device or another one."""
    return kit.settings().work / f"demo-{operators or _operators()}-{precision}"


def export_package(precision: str, operators: str) -> None:
    """Export it."""
    static = (kit.GUIDED, SIDE, SIDE)
    target = package(precision, operators)
    export(DEMO, target, precision=precision, dialect=operators, static=static, force=True, report=kit.say)


def export_packages() -> None:
    """Export the packages of this stage side by side: an export keeps only a few cores busy."""
    needed = dict.fromkeys([("fp16", _operators()), ("fp32", "portable"), ("fp32", _operators())])
    with ProcessPoolExecutor(len(needed), mp_context=get_context("spawn")) as pool:
        list(pool.map(export_package, *zip(*needed, strict=True)))


def _operators() -> str:
    return "cuda" if kit.settings().on_cuda else "portable"


def images(path: Path, device: str, options: dict[str, str] | None = None) -> np.ndarray:
    """Images of all prompts, float64 [prompts, H, W, 3]."""
    pipe = TextToImage.load(path, device=device, provider_options=options)
    draws = [drawing(pipe, prompt, STEPS, GUIDANCE) for prompt in PROMPTS]
    return np.stack([np.asarray(draw(0).images[0], np.float64) for draw in draws])


class Reference:
    """Images in float32 on the CPU."""

    def __init__(self) -> None:
        self._images = images(package("fp32", "portable"), "cpu")

    def decibels(self, made: np.ndarray) -> dict[str, Any]:
        """Peak signal-to-noise ratio of each image against the reference, with an error if one is below the floor."""
        found: dict[str, Any] = {
            prompt: peak_signal_to_noise(image, reference)
            for prompt, image, reference in zip(PROMPTS, made, self._images, strict=True)
        }
        return found | ({"error": f"below the floor of {FLOOR_DB:g} dB"} if min(found.values()) < FLOOR_DB else {})


def half(reference: Reference) -> dict[str, Any]:
    """Images in float16."""
    return reference.decibels(images(package("fp16"), kit.settings().device))


def again() -> dict[str, Any]:
    """The same image in float16 several times."""
    pipe = TextToImage.load(package("fp16"), device=kit.settings().device)
    return run_to_run(drawing(pipe, PROMPTS[0], STEPS, GUIDANCE))


def single(reference: Reference, options: dict[str, str]) -> dict[str, Any]:
    """The U-Net in float32: its outputs against the CPU's, and seconds; and images."""
    path = package("fp32")
    session = graphs.open_session(graphs.denoiser(path), options)
    inputs = graphs.random_inputs(session)
    bound = graphs.Bound(session, inputs)
    seconds = bound.seconds(budget=0.5)
    on_cpu = graphs.open_session(graphs.denoiser(path), device="cpu")
    expected = dict(zip(bound.names, on_cpu.run(None, inputs), strict=True))
    made = images(path, kit.settings().device, options or None)
    return {
        "unet_db": graphs.decibels(bound.outputs(), expected),
        "in_a_row": seconds["in_a_row"],
        **reference.decibels(made),
    }


def main() -> None:
    """Measure; on the CPU, which has no TF32, once in float32."""
    results = kit.Results("demo")
    if not package("fp32", "portable").is_dir():
        raise SystemExit("there is no package: run the stage export-demo")
    reference = Reference()
    results.attempt("images in fp16", half, reference)
    results.attempt("run to run", again)
    for name, options in TF32.items() if kit.settings().on_cuda else [("as chosen", {})]:
        results.attempt(f"fp32, {name}", single, reference, options)
    results.finish()


if __name__ == "__main__":
    main()

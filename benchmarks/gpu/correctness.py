"""Each component on the device against the CPU, in dB, and images of the demo model.

python -m triptych.benchmarks.gpu.correctness

A component in float16 must come within FLOOR_DB of the CPU, which computes the same float16 graph with its operators
expanded. Images of the demo model in float16 on the device are compared with float32 on the CPU.
"""

from pathlib import Path

import numpy as np

from triptych.export import export
from triptych.runtime import TextToImage
from triptych.runtime.package.package import open_package

from . import kit

FLOOR_DB = 40.0
IMAGE_FLOOR_DB = 35.0
DEMO = Path("models/emoji")
PROMPTS = ("red heart", "fox", "strawberry on a blue background", "penguin on a purple background")
SETTINGS = {"num_inference_steps": 20, "guidance_scale": 2.5, "seed": 0}


def component_db(path: Path) -> float:
    """Signal-to-noise ratio of a graph's outputs on the device against the CPU, in dB."""
    session = kit.open_session(path, kit.settings().provider_options)
    inputs = kit.random_inputs(session)
    bound = kit.Bound(session, inputs)
    bound.launch()
    bound.wait()
    on_cpu = kit.open_session(path, device="cpu")
    reference = dict(zip(bound.names, on_cpu.run(None, inputs), strict=True))
    decibels = kit.decibels(bound.outputs(), reference)
    if decibels < FLOOR_DB:
        raise RuntimeError(f"{decibels:.1f} dB is below the floor of {FLOOR_DB:g} dB")
    return decibels


def demo(precision: str, dialect: str) -> Path:
    """The demo model as a package, of fixed shapes except in float32."""
    target = kit.settings().work / f"demo-{dialect}-{precision}"
    if not target.is_dir():
        side = 64
        static = None if precision == "fp32" else (kit.GUIDED, side, side)
        export(DEMO, target, precision=precision, dialect=dialect, static=static, report=kit.say)
    return target


def images(path: Path, device: str) -> np.ndarray:
    """Images of all prompts, float64 [prompts, H, W, 3]."""
    options = (kit.settings().provider_options or None) if device != "cpu" else None
    pipe = TextToImage.load(path, device=device, provider_options=options)
    made = [pipe(prompt, **SETTINGS).images[0] for prompt in PROMPTS]  # type: ignore[arg-type]
    return np.stack([np.asarray(image, np.float64) for image in made])


def image_db() -> dict[str, float]:
    """Peak signal-to-noise ratio of each image, device against CPU."""
    here = kit.settings()
    on_device = images(demo("fp16", "cuda" if here.on_cuda else "portable"), here.device)
    reference = images(demo("fp32", "portable"), "cpu")
    errors = np.mean((on_device - reference) ** 2, axis=(1, 2, 3))
    found = {p: float(10 * np.log10(255**2 / max(e, 1e-9))) for p, e in zip(PROMPTS, errors, strict=True)}
    if min(found.values()) < IMAGE_FLOOR_DB:
        raise RuntimeError(f"below the floor of {IMAGE_FLOOR_DB:g} dB: {found}")
    return found


def main() -> None:
    """Measure components first: they show where an image goes wrong."""
    results = kit.Results("correctness")
    package = open_package(kit.settings().package("cuda"))
    for component in sorted(package.components):
        results.attempt(component, component_db, package.graph(component))
    results.attempt("demo pictures", image_db)
    results.finish()


if __name__ == "__main__":
    main()

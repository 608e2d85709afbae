"""Each component on the device against the CPU, in dB, and the demo model's pictures.

python -m triptych.benchmarks.gpu.correctness

A component in float16 must come within FLOOR_DB of the CPU, which computes the same float16 graph with its operators
expanded. Pictures of the demo model in float16 on the device are compared with float32 on the CPU.
"""

from pathlib import Path

import numpy as np

from triptych.export import export
from triptych.runtime import TextToImage
from triptych.runtime.package.package import open_package

from . import kit

FLOOR_DB = 40.0
PICTURE_FLOOR_DB = 35.0
DEMO = Path("models/emoji")
PROMPTS = ("red heart", "fox", "strawberry on a blue background", "penguin on a purple background")
SETTINGS = {"num_inference_steps": 20, "guidance_scale": 2.5, "seed": 0}


def component_db(path: Path) -> float:
    """A graph on the device against the CPU."""
    ours = kit.open_session(path, kit.PROVIDER_OPTIONS)
    inputs = kit.random_inputs(ours)
    bound = kit.Bound(ours, inputs)
    bound.launch()
    bound.wait()
    reference = kit.open_session(path, device="cpu")
    wanted = dict(zip(bound.names, reference.run(None, inputs), strict=True))
    decibels = kit.decibels(bound.outputs(), wanted)
    if decibels < FLOOR_DB:
        raise RuntimeError(f"{decibels:.1f} dB is below the floor of {FLOOR_DB:g} dB")
    return decibels


def demo(precision: str, dialect: str) -> Path:
    """The demo model as a package, in fixed shapes but for float32."""
    target = kit.WORK / f"demo-{dialect}-{precision}"
    if not target.is_dir():
        side = 64
        static = None if precision == "fp32" else (kit.GUIDED, side, side)
        export(DEMO, target, precision=precision, dialect=dialect, static=static, report=kit.say)
    return target


def pictures(path: Path, device: str) -> np.ndarray:
    """Pixels of all prompts, float64."""
    options = (kit.PROVIDER_OPTIONS or None) if device != "cpu" else None
    pipe = TextToImage.load(path, device=device, provider_options=options)
    images = [pipe(prompt, **SETTINGS).images[0] for prompt in PROMPTS]  # type: ignore[arg-type]
    return np.stack([np.asarray(image, np.float64) for image in images])


def picture_db() -> dict[str, float]:
    """Peak signal-to-noise ratio of each picture, device against CPU."""
    ours = pictures(demo("fp16", "cuda" if kit.ON_CUDA else "portable"), kit.DEVICE)
    wanted = pictures(demo("fp32", "portable"), "cpu")
    errors = np.mean((ours - wanted) ** 2, axis=(1, 2, 3))
    found = {p: float(10 * np.log10(255**2 / max(e, 1e-9))) for p, e in zip(PROMPTS, errors, strict=True)}
    if min(found.values()) < PICTURE_FLOOR_DB:
        raise RuntimeError(f"below the floor of {PICTURE_FLOOR_DB:g} dB: {found}")
    return found


def main() -> None:
    """Components first: they say where it went wrong."""
    results = kit.Results("correctness")
    package = open_package(kit.package("cuda"))
    for component in sorted(package.components):
        results.attempt(component, component_db, package.graph(component))
    results.attempt("demo pictures", picture_db)
    results.finish()


if __name__ == "__main__":
    main()

"""Each component on a device against the CPU, in dB, and a whole picture on both.

python correctness.py PACKAGE DEVICE RESULT.json
"""

import json
import sys
from pathlib import Path

import numpy as np

from triptych.runtime import TextToImage
from triptych.runtime.device import open_device
from triptych.runtime.package import open_package
from triptych.runtime.session import Graph, Tensor

FLOOR_DB = 40  # fp16
LATENT_SIDE = 16  # small: the CPU runs every graph, too
AXES = {"batch_size": 2, "sequence_length": 77, "channels": 3}
STEPS = 5


def random_array(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    """A plausible input of that type and shape."""
    if tensor.name == "timestep":
        return np.asarray(500)
    shape = [axis if isinstance(axis, int) else AXES.get(axis, LATENT_SIDE) for axis in tensor.shape]
    if np.issubdtype(tensor.dtype, np.integer):
        return rng.integers(0, 300, shape)
    return rng.standard_normal(shape)


def decibels(got: np.ndarray, wanted: np.ndarray) -> float:
    """Signal-to-noise ratio of `got` against `wanted`, in dB."""
    wanted = wanted.astype(np.float64)
    error = got.astype(np.float64) - wanted
    return float(10 * np.log10(np.mean(wanted**2) / max(np.mean(error**2), 1e-300)))


def picture(path: str, device: str) -> np.ndarray:
    """The final latents of a small picture."""
    pipe = TextToImage.load(path, device=device)
    side = LATENT_SIDE * pipe.vae_scale_factor
    return pipe("a red fox", num_inference_steps=STEPS, seed=7, height=side, width=side).latents


def main() -> None:
    """Compare, print and write."""
    path, device, result = sys.argv[1:]
    package = open_package(path)
    figures: dict[str, dict[str, float]] = {}
    for component in package.components:
        graphs = [Graph(package.graph(component), open_device(name), component) for name in (device, "cpu")]
        rng = np.random.default_rng(0)
        inputs = {name: random_array(tensor, rng) for name, tensor in graphs[0].inputs.items()}
        ours, reference = (graph(inputs) for graph in graphs)
        figures[component] = {name: decibels(ours[name], reference[name]) for name in reference}
        print(component, *(f"{name} {db:.1f} dB" for name, db in figures[component].items()))
    figures["picture"] = {"latents": decibels(picture(path, device), picture(path, "cpu"))}
    print(f"picture of {STEPS} steps: latents {figures['picture']['latents']:.1f} dB")
    Path(result).write_text(json.dumps(figures, indent=2) + "\n")
    worst = min(db for name, outputs in figures.items() if name != "picture" for db in outputs.values())
    if worst < FLOOR_DB:
        sys.exit(f"a component is at {worst:.1f} dB, under the floor of {FLOOR_DB} dB")


if __name__ == "__main__":
    main()

"""Peak memory of an image with plain ONNX Runtime, `--memory fast` and `--memory low`, and of a decoder in tiles.

    python benchmarks/recorded/memory_policy.py PACKAGE [--int8 PACKAGE] [--json FILE] [--only NAME ...]

Plain is a simple script: all graphs in sessions with ONNX Runtime's defaults at the same time, guidance as a batch of
2. --int8 is the same checkpoint in int8, measured with `--memory low`. Each measurement is a process of its own on the
CPU; --only repeats some and keeps the others of FILE. `peak_bytes` is resident memory; `anonymous_bytes` is without
pages of mapped files, which the system can reclaim. Linux only.
"""

import argparse
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from triptych.benchmarks.components import PROMPT, inputs_of
from triptych.benchmarks.machine import cpu_model, versions
from triptych.benchmarks.memory import anonymous_bytes, peak_bytes
from triptych.runtime import TextToImage
from triptych.runtime.image.decoding import decode, decode_in_tiles
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.library import ort
from triptych.runtime.package.geometry import vae_factor
from triptych.runtime.package.graphs import DECODER, Components
from triptych.runtime.package.package import family_of, open_package

STEPS = 2  # more steps take no more memory
COMPARED, LARGE = 1024, 2048  # pixels of a side: decoded whole and in tiles; in tiles only
_LOOK_SECONDS = 0.005

Figures = dict[str, Any]


@contextmanager
def watched(figures: Figures) -> Iterator[None]:
    """Add seconds and peaks of memory of a block to `figures`; `peak_bytes` is that of the process."""
    done, most = threading.Event(), [0]

    def look() -> None:
        while not done.wait(_LOOK_SECONDS):
            most[0] = max(most[0], anonymous_bytes() or 0)

    thread, start = threading.Thread(target=look), time.perf_counter()
    thread.start()
    try:
        yield
    finally:
        figures["seconds"] = time.perf_counter() - start
        done.set()
        thread.join()
        figures |= {"peak_bytes": peak_bytes(), "anonymous_bytes": most[0]}


def plain(package: Path) -> Figures:
    """Run all graphs for one image of the package's default size in plain ONNX Runtime."""
    pipe = TextToImage.load(package, "cpu", memory="low")
    height, width = (side * pipe.model.latents.factor for side in pipe.model.latents.size)
    inputs, denoiser = inputs_of(pipe, height, width), pipe.family.denoiser
    del pipe
    figures: Figures = {}
    with watched(figures):
        sessions = {
            name: ort.InferenceSession(str(package / name / "model.onnx"), providers=["CPUExecutionProvider"])
            for name in inputs
        }
        for name, session in sessions.items():
            halves = {spec.name for spec in session.get_inputs() if "float16" in spec.type}
            feeds = {key: value.astype(np.float16) if key in halves else value for key, value in inputs[name].items()}
            start = time.perf_counter()
            for _ in range(STEPS if name == denoiser else 1):
                session.run(None, feeds)
            if name == denoiser:
                figures["call_seconds"] = (time.perf_counter() - start) / STEPS
    return figures


def image(package: Path, memory: str) -> Figures:
    """Generate an image through the runtime, with `memory` as its policy."""
    figures: Figures = {}
    with watched(figures):
        pipe = TextToImage.load(package, "cpu", memory=memory)
        out = pipe(PROMPT, num_inference_steps=STEPS, seed=0, scheduler="ddim")
    return figures | {"call_seconds": out.timings[pipe.family.denoiser] / STEPS}


def decoder(package: Path, side: int, memory: str) -> Figures:
    """Decode random latents to side x side pixels, which are among the figures as `pixels`."""
    opened = open_package(package)
    graphs = Components(opened, open_device("cpu"), (DECODER,), memory)
    config = opened.config(DECODER)
    latent, channels = side // vae_factor(config), config["latent_channels"]
    latents = np.random.default_rng(0).standard_normal((1, channels, latent, latent), np.float32)
    latents /= family_of(opened).latents.scaling_factor
    figures: Figures = {}
    with watched(figures):
        if memory == "low":
            pixels = decode_in_tiles(graphs[DECODER], latents, vae_factor(config))
        else:
            pixels = decode(graphs[DECODER], latents)
    beyond = figures["peak_bytes"] - opened.bytes_of(DECODER)
    return figures | {"beyond_weights_bytes": beyond, "pixels": pixels}


LOW_INT8 = "low_int8"
WHOLE, TILED = f"decoder_{COMPARED}_whole", f"decoder_{COMPARED}_tiles"
MEASUREMENTS: dict[str, tuple[Callable[..., Figures], tuple[Any, ...]]] = {
    "plain": (plain, ()),
    "fast": (image, ("fast",)),
    "low": (image, ("low",)),
    WHOLE: (decoder, (COMPARED, "fast")),
    TILED: (decoder, (COMPARED, "low")),
    f"decoder_{LARGE}_tiles": (decoder, (LARGE, "low")),
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--int8", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs="*", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    arguments = parser.parse_args()
    plan = {name: (arguments.package, *MEASUREMENTS[name]) for name in arguments.only}
    if arguments.int8 is not None:
        plan[LOW_INT8] = (arguments.int8, *MEASUREMENTS["low"])
    known = arguments.json is not None and arguments.json.exists()
    result: Figures = json.loads(arguments.json.read_text()) if known else {"measured": {}}
    result |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cpu": cpu_model(), "versions": versions()}
    decoded: dict[str, np.ndarray] = {}
    for name, (package, measure, options) in plan.items():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            figures = process.submit(measure, package, *options).result()
        if "pixels" in figures:
            decoded[name] = figures.pop("pixels")
        result["measured"][name] = figures
        print(name, json.dumps(figures), flush=True)
        if decoded.keys() >= {WHOLE, TILED}:
            error = decoded[WHOLE].astype(float) - decoded[TILED]
            result["tiles_db"] = 10 * float(np.log10(255**2 / np.mean(error**2)))
            print("PSNR of tiles against whole:", round(result["tiles_db"], 1), "dB")
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

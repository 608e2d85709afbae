"""PSNR and SSIM of the same images from two packages of one checkpoint: the cost of a lower precision.

    python benchmarks/recorded/fidelity.py REFERENCE PACKAGE --prompts FILE [--seeds N] [--steps N]
        [--guidance X] [--json FILE]

FILE has a prompt a line; each is used with seeds 0 to N-1. Needs `triptych[export]`, too.

    {"date", "reference", "package", "prompts", "seeds", "steps", "guidance_scale",
     "psnr_db": {"mean", "median", "worst"}, "ssim": {...}, "below_30_db": number of images}
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from triptych.export.verification.image_quality import psnr, ssim
from triptych.runtime import TextToImage

ALIKE_DB = 30.0
"""PSNR below which the eye sees another image; where a seed is near to two images, a rounding decides between them."""


def compare(reference: TextToImage, package: TextToImage, prompts: list[str], seeds: int, **options: Any) -> Any:
    """Mean, median and worst PSNR in dB and SSIM over all prompts and seeds."""
    decibels, similarities = [], []
    for prompt in prompts:
        for seed in range(seeds):
            images = (pipe(prompt, seed=seed, **options).images[0] for pipe in (reference, package))
            expected, found = map(np.asarray, images)
            decibels.append(psnr(found, expected))
            similarities.append(ssim(found, expected))
    below = sum(value < ALIKE_DB for value in decibels)
    return {"psnr_db": _summary(decibels, 2), "ssim": _summary(similarities, 4), "below_30_db": below}


def _summary(values: list[float], digits: int) -> dict[str, float]:
    figures = {"mean": float(np.mean(values)), "median": float(np.median(values)), "worst": min(values)}
    return {name: round(value, digits) for name, value in figures.items()}


def main() -> None:
    """Measure, print, and write to the file given by --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("package", type=Path)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    prompts = arguments.prompts.read_text(encoding="utf-8").splitlines()
    pipes = [TextToImage.load(path, device="cpu") for path in (arguments.reference, arguments.package)]
    options = {"num_inference_steps": arguments.steps, "guidance_scale": arguments.guidance}
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "reference": arguments.reference.name,
        "package": arguments.package.name,
        "prompts": len(prompts),
        "seeds": arguments.seeds,
        "steps": arguments.steps,
        "guidance_scale": arguments.guidance,
        **compare(pipes[0], pipes[1], prompts, arguments.seeds, **options),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a lower precision costs in pictures: two packages of one checkpoint draw the same, PSNR and SSIM compare them.

    python benchmarks/recorded/fidelity.py REFERENCE PACKAGE --prompts FILE [--seeds N] [--steps N]
        [--guidance X] [--json FILE]

FILE has a prompt a line; each is drawn with seeds 0 to N-1. Needs `triptych[export]`, too.

    {"date", "reference", "package", "prompts", "seeds", "steps", "guidance_scale",
     "psnr_db": {"mean", "median", "worst"}, "ssim": {...}, "below_30_db": how many pictures}
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
"""Below it, the eye sees that it is another picture; where a seed is near to two, a rounding decides between them."""


def compare(reference: TextToImage, package: TextToImage, prompts: list[str], seeds: int, **options: Any) -> Any:
    """PSNR in dB and SSIM of every prompt with every seed: mean, median and worst."""
    decibels, similarities = [], []
    for prompt in prompts:
        for seed in range(seeds):
            wanted, drawn = (np.asarray(pipe(prompt, seed=seed, **options).images[0]) for pipe in (reference, package))
            decibels.append(psnr(drawn, wanted))
            similarities.append(ssim(drawn, wanted))
    below = sum(value < ALIKE_DB for value in decibels)
    return {"psnr_db": _summary(decibels, 2), "ssim": _summary(similarities, 4), "below_30_db": below}


def _summary(values: list[float], digits: int) -> dict[str, float]:
    figures = {"mean": float(np.mean(values)), "median": float(np.median(values)), "worst": min(values)}
    return {name: round(value, digits) for name, value in figures.items()}


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("package", type=Path)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    prompts = asked.prompts.read_text(encoding="utf-8").splitlines()
    pipes = [TextToImage.load(path, device="cpu") for path in (asked.reference, asked.package)]
    options = {"num_inference_steps": asked.steps, "guidance_scale": asked.guidance}
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "reference": asked.reference.name,
        "package": asked.package.name,
        "prompts": len(prompts),
        "seeds": asked.seeds,
        "steps": asked.steps,
        "guidance_scale": asked.guidance,
        **compare(pipes[0], pipes[1], prompts, asked.seeds, **options),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if asked.json:
        asked.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Run by the interpreter of an environment with optimum, where Triptych is not: one JSON object a line on stdin.

    {"do": "export", "checkpoint": FOLDER, "package": FOLDER}       export a checkpoint as optimum does
    {"do": "draw", "package": FOLDER, "pipeline": CLASS, "seeds": [...], "image": FILE or null, "mask": FILE or null,
     "arguments": {...}, "out": FILE.npy}                           its final latents
    {"do": "run", "code": TEXT, "out": FILE.png}                    the image that a snippet leaves in `image`

Each is answered with a line, {} or {"error": reason}.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print is no answer


def export(checkpoint: str, package: str) -> None:
    """As `optimum-cli export onnx` does."""
    from optimum.exporters.onnx import main_export

    main_export(checkpoint, output=package, task="text-to-image", do_validation=False, no_post_process=True)


def draw(
    package: str,
    pipeline: str,
    seeds: list[int],
    image: str | None,
    mask: str | None,
    arguments: dict[str, Any],
    out: str,
) -> None:
    """One call of the pipeline, a generator for each image."""
    import numpy as np
    import optimum.onnxruntime
    import torch
    from PIL import Image

    pipe = getattr(optimum.onnxruntime, pipeline).from_pretrained(package, provider="CPUExecutionProvider")
    pipe.set_progress_bar_config(disable=True)
    files = {"image": image, "mask_image": mask}
    given = {name: [Image.open(file)] * len(seeds) for name, file in files.items() if file is not None}
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    latents = pipe(**arguments, **given, generator=generators, output_type="latent").images
    np.save(out, latents.numpy() if isinstance(latents, torch.Tensor) else latents)


def run(code: str, out: str) -> None:
    """A snippet of the documentation, in the folder of the image."""
    os.chdir(os.path.dirname(out))
    names: dict[str, Any] = {}
    exec(code, names)
    names["image"].save(out)


COMMANDS: dict[str, Callable[..., None]] = {"export": export, "draw": draw, "run": run}

for line in sys.stdin:
    request = json.loads(line)
    try:
        COMMANDS[request.pop("do")](**request)
        answer = {}
    except Exception as error:  # the test says what it was
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)

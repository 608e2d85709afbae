"""Packages are exchanged with optimum both ways: its pipelines run ours, and ours runs what it exported.

The environment with optimum is one of the peers', made where TRIPTYCH_PEERS says if it is not there yet.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkpoints import make_checkpoint
from tests.support.images import example_image, mask
from triptych.benchmarks.peers.environments import install, python_of
from triptych.export import export
from triptych.runtime import TextToImage
from triptych.runtime.errors import TriptychError

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4  # of latents of standard deviation 1
MODELS = ("sd15", "sdxl", "lcm")
PIPELINES = {
    "sd15": "ORTStableDiffusionPipeline",
    "sdxl": "ORTStableDiffusionXLPipeline",
    "lcm": "ORTLatentConsistencyModelPipeline",
}
IMAGE_PIPELINES = {
    "sd15": "ORTStableDiffusionImg2ImgPipeline",
    "sdxl": "ORTStableDiffusionXLImg2ImgPipeline",
    "lcm": "ORTLatentConsistencyModelImg2ImgPipeline",
}
SEEDS = [5, 6]
ASKED: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 4, "num_images_per_prompt": 2}


class Optimum:
    """A process in optimum's environment, see with_optimum.py."""

    def __init__(self, python: Path) -> None:
        script = Path(__file__).with_name("with_optimum.py")
        self._process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, do: str, **given: Any) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **given}, default=str), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        assert answer == {}, answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def optimum() -> Iterator[Optimum]:
    try:
        python = python_of("optimum")
    except TriptychError:
        python = install("optimum") / "bin" / "python"
    process = Optimum(python)
    yield process
    process.close()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {model: make_checkpoint(folder / model, model) for model in MODELS}


@pytest.fixture(scope="module")
def packages(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model -> its package, exported here."""
    folder = tmp_path_factory.mktemp("packages")
    return {model: export(source, folder / model, dialect="portable") for model, source in checkpoints.items()}


def compare(optimum: Optimum, package: Path, pipeline: str, tmp_path: Path, **more: Any) -> None:
    """Latents of optimum's pipeline and of ours on the same package."""
    files: dict[str, Path | None] = {"image": None, "mask": None}
    for name, argument in (("image", "image"), ("mask", "mask_image")):
        if argument in more:
            files[name] = tmp_path / f"{name}.png"
            more[argument].save(files[name])
    arguments = ASKED | {key: value for key, value in more.items() if key not in ("image", "mask_image")}
    out = tmp_path / "latents.npy"
    optimum("draw", package=package, pipeline=pipeline, seeds=SEEDS, arguments=arguments, out=out, **files)
    ours = TextToImage.load(package, device="cpu")(**ASKED, **more, seed=SEEDS[0]).latents
    theirs = np.load(out)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE * max(1, theirs.std()), rtol=0)
    assert np.abs(theirs[0] - theirs[1]).mean() > 0.1, "two seeds, two images"


@pytest.mark.parametrize("model", MODELS)
def test_optimum_runs_our_packages(optimum: Optimum, packages: dict[str, Path], tmp_path: Path, model: str) -> None:
    compare(optimum, packages[model], PIPELINES[model], tmp_path)


@pytest.mark.parametrize(
    ("model", "pipeline", "masked"),
    [
        ("sd15", IMAGE_PIPELINES["sd15"], False),
        ("sd15", "ORTStableDiffusionInpaintPipeline", True),
        ("sdxl", IMAGE_PIPELINES["sdxl"], False),
        ("sdxl", "ORTStableDiffusionXLInpaintPipeline", True),
        ("lcm", IMAGE_PIPELINES["lcm"], False),
    ],
)
def test_optimum_runs_image_to_image_with_our_packages(
    optimum: Optimum, packages: dict[str, Path], tmp_path: Path, model: str, pipeline: str, masked: bool
) -> None:
    # explicit, because diffusers' pipeline for inpainting takes another guidance than the rest of SDXL
    given = {"image": example_image(), "strength": 0.7, "guidance_scale": 5.0} | (
        {"mask_image": mask()} if masked else {}
    )
    compare(optimum, packages[model], pipeline, tmp_path, **given)


@pytest.mark.parametrize("model", MODELS)
def test_packages_of_optimum_run_here_unchanged(
    optimum: Optimum, checkpoints: dict[str, Path], tmp_path: Path, model: str
) -> None:
    theirs = tmp_path / "theirs"
    optimum("export", checkpoint=checkpoints[model], package=theirs)
    compare(optimum, theirs, PIPELINES[model], tmp_path)
    compare(optimum, theirs, IMAGE_PIPELINES[model], tmp_path, image=example_image(), strength=0.7)

"""Published models at full width on CUDA: every node there, no forbidden call, and the launches of a denoiser call."""

import json
import shutil
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from triptych.benchmarks.gpu import launches

from .checkpoints import export_unverified, write_model
from .environment import Environment
from .log import Capture, Log
from .process import run

pytestmark = pytest.mark.slow

STEPS = 4
CUDA = "CUDAExecutionProvider"
MOST_KERNELS = 500
"""Launches of one call of SD 1.5's U-Net that are not to be exceeded, whatever is recorded."""

FEWER_LAYERS: dict[str, dict[str, Any]] = {
    "sd15": {},  # whole: its launches are counted
    "sdxl": {"layers_per_block": 1, "transformer_layers_per_block": (1, 1, 1)},
    "refiner": {"layers_per_block": 1, "transformer_layers_per_block": 1},
    "sd35": {"num_layers": 3, "dual_attention_layers": (0,)},
}
"""Model -> changes to its denoiser's configuration."""


@dataclass(frozen=True)
class Run:
    """An image of a model: its log, and where the nodes were."""

    model: str
    log: Log
    placement: dict[str, dict[str, int]]
    warnings: list[str]


@pytest.fixture(scope="module", params=FEWER_LAYERS)
def image(request: pytest.FixtureRequest, standin: Environment, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = write_model(folder / "checkpoint", request.param, **FEWER_LAYERS[request.param])
    package = export_unverified(checkpoint, folder / "package")
    scheduler = "flow_euler" if request.param == "sd35" else "euler"
    arguments: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": 5.0, "scheduler": scheduler}
    if request.param == "refiner":
        Image.new("RGB", (64, 64)).save(folder / "image.png")
        arguments |= {"num_inference_steps": 2 * STEPS, "image": str(folder / "image.png"), "strength": 0.5}
    finished = run(standin, folder, "-m", "tests.standin.programs.images", package, json.dumps(arguments))
    shutil.rmtree(package)  # gigabytes
    assert finished.status == 0, finished.stderr
    found = json.loads(finished.stdout)
    return Run(request.param, finished.log, found["placement"], found["warnings"])


def denoiser_of(log: Log) -> Capture:
    """The graph that is replayed at every step: the largest."""
    return max(log.captures, key=lambda capture: len(capture.nodes.events))


def test_every_node_is_on_cuda(image: Run) -> None:
    assert image.placement.keys() == {CUDA}


def test_fused_kernels_take_the_widths(image: Run) -> None:
    fused = {"MultiHeadAttention", "NhwcConv", "SkipGroupNorm", "BiasAdd"}
    fused |= {"SimplifiedLayerNormalization"} if image.model == "sd35" else {"BiasSplitGelu"}
    assert fused <= image.placement[CUDA].keys()
    assert image.log.of("refused").events == ()


def test_no_call_is_forbidden(image: Run) -> None:
    assert image.warnings == []
    assert image.log.forbidden == []
    assert all(capture.valid for capture in image.log.captures)


def test_the_loop_replays_and_does_not_wait(image: Run) -> None:
    loop = image.log.between("call 0 step 0", f"call 0 step {STEPS - 2}")
    assert loop.waits == []
    size = str(len(denoiser_of(image.log).nodes.events))
    assert [event.values["nodes"] for event in loop.of("replay").events].count(size) == STEPS - 2


def test_launches_of_a_denoiser_call(image: Run) -> None:
    nodes = denoiser_of(image.log).nodes
    kernels, others = sum(nodes.kernels.values()), sum(nodes.copies.values()) + nodes.memsets
    assert len(nodes.events) == kernels + others
    if image.model == "sd15":
        assert kernels <= MOST_KERNELS, nodes.kernels
        assert nodes.copies == {}  # the memsets are those of group norm


def test_launches_are_those_recorded(image: Run) -> None:
    """Where they have changed: write launches.json anew, then the page of CUDA by `make docs`."""
    if image.model != "sd15":
        pytest.skip("recorded are the launches of SD 1.5")
    step = image.log.between("call 0 step 0", "call 0 step 1").of("kernel", "copy", "memset")
    counted = {"unet": counts(denoiser_of(image.log).nodes), "step graph": counts(step)}
    assert launches.recorded()["launches"] == counted


def counts(log: Log) -> dict[str, int]:
    """Launches as they are recorded."""
    return {"kernels": sum(log.kernels.values()), "copies": sum(log.copies.values()) + log.memsets}

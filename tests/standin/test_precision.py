"""Products of float32 graphs compute in float32, and those of float16 graphs on tensor cores."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import once

from .environment import Environment
from .process import REPOSITORY, run

pytestmark = pytest.mark.slow

TF32 = "3"  # CUBLAS_TF32_TENSOR_OP_MATH


@pytest.fixture(scope="module")
def exact_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo checkpoint, exported for CUDA in fp32. Not to be written to."""
    from triptych.export import export

    def make(folder: Path) -> Path:
        return export(REPOSITORY / "models" / "emoji", folder, dialect="cuda", precision="fp32")

    return once(tmp_path_factory, "standin/exact", make)


def modes(environment: Environment, folder: Path, package: Path, **options: str) -> Counter[str]:
    """Math modes of cuBLAS in which the products of an image are computed, with their numbers."""
    arguments = json.dumps({"num_inference_steps": 2})
    program = "tests.standin.programs.images"
    finished = run(environment, folder, "-m", program, package, arguments, "1", json.dumps(options))
    assert finished.status == 0, finished.stderr
    kernels = finished.log.between("call 0", "call 0 end").of("kernel").events
    return Counter(each.values["mode"] for each in kernels if "mode" in each.values)


def test_float32_is_exact_unless_tf32_is_requested(standin: Environment, exact_package: Path, tmp_path: Path) -> None:
    exact = modes(standin, tmp_path, exact_package)
    requested = modes(standin, tmp_path, exact_package, use_tf32="1")
    assert exact.keys() == {"0"}
    # the step graph's products stay exact: they would lose bits of the latents
    assert 0 < requested["0"] < requested[TF32]
    assert exact["0"] == requested.total()

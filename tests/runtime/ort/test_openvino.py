"""Options of the OpenVINO provider, and, slow, the provider itself in an environment of its own."""

import json
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.docs.blocks import blocks
from triptych.export import CalibrationRun, export
from triptych.runtime import TextToImage
from triptych.runtime.errors import ProviderError
from triptych.runtime.ort import device as device_module
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.openvino import with_precision
from triptych.runtime.ort.providers import CPU, OPENVINO

REPOSITORY = Path(__file__).parents[3]
FP32_DB, BF16_DB, INT8_DB, EXACT_DB = 60, 30, 20, 55
"""Floors: fp32 of the latents against the CPU provider's, bf16 and int8 of the image's pixels (peak signal-to-noise
ratio); and what eight bits cannot reach."""

SCRIPT = """\
import json, sys
import numpy as np
from triptych.runtime import TextToImage, TriptychError
package, out, *options = sys.argv[1:]
try:
    options = json.loads(options[0])
    made = TextToImage.load(package, "openvino", provider_options=options)("a fox", num_inference_steps=3, seed=1)
    np.savez(out, latents=made.latents, pixels=np.asarray(made.images[0]))
except TriptychError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(("precision", "hint"), [("fp32", "f32"), ("bf16", "bf16")])
def test_a_precision_is_said_in_the_form_that_the_provider_takes(precision: str, hint: str) -> None:
    options = with_precision({"precision": precision, "num_of_threads": "2"})
    assert options.keys() == {"load_config", "num_of_threads"}
    assert json.loads(options["load_config"]) == {"CPU": {"INFERENCE_PRECISION_HINT": hint}}


def test_options_of_the_provider_itself_are_left_alone() -> None:
    for options in ({}, {"load_config": "{}"}, {"precision": "FP16", "device_type": "GPU"}):
        assert with_precision(options) == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bfloat16"}, "precision=bfloat16; allowed for openvino: fp32, bf16"),
        ({"precision": "bf16", "load_config": "{}"}, "give one of them"),
    ],
)
def test_other_precisions_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ProviderError, match=message):
        open_device("openvino", provider_options=options)
    with pytest.raises(ProviderError, match=message):
        open_device([OPENVINO, CPU], provider_options=options)


def test_the_precision_reaches_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(device_module, "why_not", lambda name, options=None: seen.append((name, dict(options or {}))))
    device = open_device("openvino", provider_options={"precision": "bf16"})
    ((name, options),) = seen
    assert (name, options) == device.providers[0]
    assert "bf16" in options["load_config"]
    assert device.providers[1:] == ((CPU, {}),)


Made = Callable[[Path, dict[str, str]], dict[str, np.ndarray] | str]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installs triptych[openvino] in an environment, and returns the folder of its programs."""
    folder = tmp_path_factory.mktemp("openvino")
    home = folder / "venv"
    venv.create(home, with_pip=True)
    constraints = folder / "constraints.txt"  # of those, OpenVINO's wheel wants an older ONNX Runtime's
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    constraints.write_text("\n".join(line for line in lines if not line.startswith("onnxruntime")) + "\n")
    pip: list[str | Path] = [home / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-c", constraints]
    subprocess.run([*pip, f"{REPOSITORY}[openvino]"], check=True)
    return home / "bin"


@pytest.fixture
def made(programs: Path, tmp_path: Path) -> Made:
    """A package and provider options -> latents and pixels, or the line of an error."""

    def run(package: Path, options: dict[str, str]) -> dict[str, np.ndarray] | str:
        out = tmp_path / "out.npz"
        command: list[str | Path] = [programs / "python", "-c", SCRIPT, package, out, json.dumps(options)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.strip() or dict(np.load(out))

    return run


def decibels(pixels: np.ndarray, reference: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((pixels.astype(np.float64) - reference) ** 2)))


@pytest.mark.slow
def test_openvino_in_an_environment_of_its_own(portable_package: Path, made: Made, tmp_path: Path) -> None:
    """Images in both precisions, against the CPU provider's."""
    reference = TextToImage.load(portable_package, "cpu")("a fox", num_inference_steps=3, seed=1)
    exact, half = made(portable_package, {}), made(portable_package, {"precision": "bf16"})
    assert not isinstance(exact, str)
    assert not isinstance(half, str)
    error = exact["latents"] - reference.latents
    assert 10 * np.log10(np.mean(reference.latents**2) / np.mean(error**2)) > FP32_DB
    assert not np.array_equal(half["latents"], exact["latents"])  # it did compute in another precision
    assert decibels(half["pixels"], np.asarray(reference.images[0])) > BF16_DB
    # A file's name makes ONNX Runtime fall back to the CPU
    assert str(made(portable_package, {"load_config": str(tmp_path / "config.json")})).startswith(
        "ProviderError device 'openvino' cannot"
    )


@pytest.mark.slow
def test_the_command_of_the_page_runs(portable_package: Path, programs: Path, tmp_path: Path) -> None:
    """`triptych generate` in docs/openvino.md, as printed."""
    page = (REPOSITORY / "docs" / "openvino.md").read_text()
    (command,) = [block.text for block in blocks(page) if block.tested is not None]
    (tmp_path / "sd15-openvino").symlink_to(portable_package)
    subprocess.run(["sh", "-euc", f'PATH="{programs}:$PATH"\n{command}'], cwd=tmp_path, check=True)
    assert [file.suffix for file in tmp_path.glob("a-red-fox-*")] == [".png"]


@pytest.mark.slow
def test_openvino_runs_packages_of_eight_bits(
    checkpoint: Path, portable_package: Path, made: Made, tmp_path: Path
) -> None:
    run = CalibrationRun(prompts=("a fox",), steps=3)
    package = export(
        checkpoint, tmp_path / "int8", precision="int8", dialect="portable", calibration=run, allow_low_quality=True
    )
    reference = TextToImage.load(portable_package, "cpu")("a fox", num_inference_steps=3, seed=1)
    for options in ({}, {"precision": "bf16"}):
        drawn = made(package, options)
        assert not isinstance(drawn, str)
        assert INT8_DB < decibels(drawn["pixels"], np.asarray(reference.images[0])) < EXACT_DB

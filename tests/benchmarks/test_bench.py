"""`triptych bench` on a tiny package: its figures agree with each other. No speed is asserted."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.runtime.denoising.test_device_loop import SIZE, TOKENS, write_denoiser
from triptych.benchmarks import measure as measuring
from triptych.benchmarks.bench import bench
from triptych.benchmarks.components import bound_call
from triptych.benchmarks.result import Result
from triptych.runtime.denoising.bound_denoiser import BoundDenoiser
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.families.conditioning import TEXT
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.memory import to_host
from triptych.runtime.ort.session import Graph

SCHEMA = Path(__file__).parents[2] / "docs" / "bench-schema.md"
STEPS = 3
PNDM_CALLS = STEPS + 1  # its second step is done twice
OPTIONS = {"device": "cpu", "session_options": {"intra_op_num_threads": "1"}}


@pytest.fixture(scope="module", autouse=True)
def short() -> Any:
    """A moment of warm calls for each component is enough here."""
    with pytest.MonkeyPatch.context() as patch:
        defaults = measuring.time_calls.__kwdefaults__ or {}
        patch.setattr(measuring.time_calls, "__kwdefaults__", defaults | {"seconds": 0.05})
        yield


@pytest.fixture(scope="module")
def folder(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run at the package's own size wrote."""
    folder = tmp_path_factory.mktemp("bench")
    reported: list[str] = []
    bench(package, OPTIONS, steps=STEPS, json_file=folder / "a.json", plot=folder / "a.png", report=reported.append)
    assert [line.split()[0] for line in reported].count("calling") == 3
    return folder


@pytest.fixture(scope="module")
def written(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "a.json").read_text()))


def test_latencies_are_ordered_and_rates_follow_from_them(written: dict[str, Any]) -> None:
    assert list(written["components"]) == ["text_encoder", "unet", "vae_decoder"]
    for figures in written["components"].values():
        assert 0 < figures["median_seconds"] <= figures["p90_seconds"]
        assert measuring.AT_LEAST <= figures["calls"] <= measuring.AT_MOST
        assert figures["first_seconds"] > 0
        assert figures["load_seconds"] > 0
        rate = 2 * figures["macs"] / figures["median_seconds"]
        assert figures["flops_per_second"] == pytest.approx(rate)
        share = rate / written["matrix_product"]["flops_per_second"]
        assert figures["share_of_matrix_product"] == pytest.approx(share)


@pytest.mark.parametrize("extra", [0, 5])
def test_a_call_on_the_device_is_that_of_the_graph(tmp_path: Path, extra: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph(write_denoiser(tmp_path / "m.onnx", extra=extra), open_device("cpu"), "unet")
    random = np.random.default_rng(0)
    inputs = {
        "sample": random.standard_normal((2, SIZE[0] + extra, *SIZE[1:]), np.float32),
        "timestep": np.asarray(500, np.float32),
        TEXT: random.uniform(0.5, 1, (2, *TOKENS)).astype(np.float32),
    }
    made: list[BoundDenoiser] = []
    original = BoundDenoiser.run

    def run(denoiser: BoundDenoiser) -> None:
        made.append(denoiser)
        original(denoiser)

    monkeypatch.setattr(BoundDenoiser, "run", run)
    call = bound_call(graph, inputs)
    for _ in range(2):
        call()
    assert made[0] is made[1]
    np.testing.assert_allclose(to_host(made[0].output.whole), graph(inputs)["out_sample"], atol=1e-6)


def test_a_network_call_is_measured_with_the_two_rows_of_guidance(written: dict[str, Any], package: Path) -> None:
    manifest = json.loads((package / "triptych.json").read_text())["components"]
    measured = written["components"]
    assert measured["unet"]["shapes"] == {
        "sample": [2, 4, 16, 16],
        "timestep": [],
        "encoder_hidden_states": [2, 77, 44],
    }
    assert measured["unet"]["macs"] == 2 * manifest["unet"]["macs"]
    assert measured["vae_decoder"]["macs"] == manifest["vae_decoder"]["macs"]
    assert measured["text_encoder"]["macs"] == manifest["text_encoder"]["macs"]


def test_the_parts_of_an_image_add_up(written: dict[str, Any]) -> None:
    image, sampler = written["picture"], written["sampler"]
    parts = image["seconds_by_component"]
    assert set(parts) == {"text_encoder", "unet", "sampler", "vae_decoder"}
    assert sum(parts.values()) <= image["seconds"]
    assert sampler["network_calls"] == PNDM_CALLS
    assert sampler["seconds_per_step"] * PNDM_CALLS == pytest.approx(parts["sampler"])
    assert sampler["share_of_network_call"] == pytest.approx(parts["sampler"] / parts["unet"])
    assert image["weights_bytes"] == sum(figures["bytes"] for figures in written["components"].values())
    assert image["peak_to_weights"] == pytest.approx(image["peak_bytes"] / image["weights_bytes"])


def test_the_json_says_what_was_asked_for_and_where(written: dict[str, Any], package: Path) -> None:
    assert written["conditions"] | {"provider_options": {}} == {
        "device": "cpu",
        "provider": "CPUExecutionProvider",
        "session_options": {"intra_op_num_threads": "1"},
        "provider_options": {},
        "height": 128,
        "width": 128,
        "steps": STEPS,
        "guidance_scale": 7.5,
        "scheduler": "PNDMScheduler",
        "memory": "fast",
    }
    assert written["machine"]["threads"] == 1
    assert written["package"]["name"] == package.name
    assert written["package"]["precision"] == "fp32"


def test_every_key_is_described_and_every_description_is_of_a_key(written: dict[str, Any]) -> None:
    rows = [line.split("|")[1] for line in SCHEMA.read_text().splitlines() if line.startswith("| `")]
    described = {key for row in rows for key in re.findall(r"`([^`]+)`", row)}

    def keys(value: Any, path: str, described_whole: bool = False) -> set[str]:
        if path in described or not isinstance(value, dict):
            return {path}
        return {key for name, part in value.items() for key in keys(part, f"{path}.{name}".lstrip("."))}

    found = keys({name: part for name, part in written.items() if name not in ("components", "versions")}, "")
    found |= {"versions.*", "components.*"}
    for figures in written["components"].values():
        found |= keys(figures, "components.*") - {"components.*"}
        found |= {f"components.*.{name}" for name in figures}
    assert found == described


def test_the_plot_is_a_png(folder: Path) -> None:
    with Image.open(folder / "a.png") as image:
        image.verify()
        assert image.format == "PNG"
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "a.png"]  # no temporary files left


def test_the_table_is_for_people(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(package, OPTIONS, steps=1, width=136, height=104)
    printed = capsys.readouterr().out
    for name in ("text_encoder", "unet", "vae_decoder", "sampler", "whole image", "peak memory", "136x104 pixels"):
        assert name in printed
    row = next(line for line in printed.splitlines() if "unet" in line and "s " not in line)
    assert row.split("│")[2].strip() == "-"  # MACs are not known at another size than the package's own


def test_a_package_without_manifest_is_measured_too(package: Path, tmp_path: Path) -> None:
    foreign = shutil.copytree(package, tmp_path / "foreign")
    (foreign / "triptych.json").unlink()
    result = bench(foreign, OPTIONS, steps=1, plot=tmp_path / "a.svg")
    assert isinstance(result, Result)
    assert result.package.precision is None
    assert result.components["unet"].macs is None
    assert result.components["unet"].share_of_matrix_product is None
    assert result.components["unet"].median_seconds > 0
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"json_file": Path("nowhere/a.json")}, "nowhere/a.json cannot be written"),
        ({"json_file": Path(".")}, "is a folder"),
        ({"plot": Path("a.gif")}, r"must end in \.png or \.svg"),
    ],
)
def test_results_that_cannot_be_written_are_refused_first(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    reported: list[str] = []
    with pytest.raises(ArgumentError, match=message):
        bench(package, OPTIONS, **arguments, report=reported.append)
    assert reported == []


def test_what_the_package_does_not_take_is_refused(package: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="not a folder"):
        bench(tmp_path / "none", OPTIONS)
    with pytest.raises(ArgumentError, match="multiple of 8"):
        bench(package, OPTIONS, steps=1, width=100)

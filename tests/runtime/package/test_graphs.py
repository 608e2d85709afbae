"""What is in memory when."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processors import PROCESSORS, environment_of
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, PackageError, ProviderError
from triptych.runtime.ort.cuda import Traits
from triptych.runtime.ort.device import Device, open_device
from triptych.runtime.ort.session import Graph
from triptych.runtime.package import graphs as policy
from triptych.runtime.package.graphs import Components
from triptych.runtime.package.manifest import ComponentRecord, Manifest
from triptych.runtime.package.package import open_package

NAMES = ("text_encoder", "unet", "vae_decoder")
UNPACKED = {"session.disable_prepacking": 1}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the graphs that are loaded, in their order."""
    names: list[str] = []

    def load(*arguments: Any, **options: Any) -> Graph:
        names.append(arguments[2])
        return Graph(*arguments, **options)

    monkeypatch.setattr(policy, "Graph", load)
    return names


def test_fast_has_all_from_the_start_and_keeps_them(package: Path, loads: list[str]) -> None:
    pipe = TextToImage.load(package, device="cpu")
    assert loads == list(NAMES)
    pipe("x", num_inference_steps=2, seed=0)
    pipe("x", num_inference_steps=2, seed=0)
    assert loads == list(NAMES)


def test_low_loads_one_component_at_a_time_in_the_order_of_use(package: Path, loads: list[str]) -> None:
    pipe = TextToImage.load(package, device="cpu", memory="low")
    assert loads == []
    held = []
    pipe(
        ["a cat", "a dog"],
        num_inference_steps=2,
        seed=0,
        callback=lambda step: held.append(tuple(pipe._graphs.loaded)),
    )
    assert loads == list(NAMES)
    assert set(held) == {("unet",)}
    assert tuple(pipe._graphs.loaded) == ("vae_decoder",)


def test_what_is_freed_is_gone_before_the_next_is_loaded(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import weakref

    alive: list[weakref.ref[Graph]] = []

    def load(*arguments: Any, **options: Any) -> Graph:
        assert [ref() for ref in alive if ref() is not None] == []
        alive.append(weakref.ref(graph := Graph(*arguments, **options)))
        return graph

    monkeypatch.setattr(policy, "Graph", load)
    TextToImage.load(package, device="cpu", memory="low")("x", num_inference_steps=2, seed=0)
    assert len(alive) == len(NAMES)


def test_images_are_equal_to_the_bit_where_sessions_are(package: Path) -> None:
    options = policy._mapping(open_package(package), open_device("cpu"), "unet").session_options
    fast = TextToImage.load(package, device="cpu", session_options=options)
    low = TextToImage.load(package, device="cpu", memory="low")
    first, second = (pipe("a red fox", num_inference_steps=3, seed=1) for pipe in (fast, low))
    np.testing.assert_array_equal(np.asarray(first.images[0]), np.asarray(second.images[0]))
    np.testing.assert_array_equal(first.latents, second.latents)


def test_images_are_equal_within_a_few_levels_by_default(package: Path) -> None:
    first, second = (
        np.asarray(
            TextToImage.load(package, device="cpu", memory=memory)("x", num_inference_steps=3, seed=1).images[0]
        ).astype(int)
        for memory in policy.POLICIES
    )
    assert np.abs(first - second).max() <= 1


@pytest.mark.parametrize("optimised", [False, True])
def test_weights_stay_in_their_file_unless_asked_otherwise(package: Path, optimised: bool) -> None:
    manifest = Manifest(components={"unet": ComponentRecord(optimised=optimised)})
    opened = replace(open_package(package), manifest=manifest)
    expected = UNPACKED if optimised else UNPACKED | {"graph_optimization_level": 2}
    assert policy._mapping(opened, open_device("cpu"), "unet").session_options == expected
    asked = {"session.disable_prepacking": "0"}
    device = open_device("cpu", session_options=asked)
    assert policy._mapping(opened, device, "unet").session_options == expected | asked


def test_a_package_without_manifest_says_its_shapes_by_loading_each_once(
    package: Path, tmp_path: Path, loads: list[str]
) -> None:
    for entry in package.iterdir():
        if entry.name != "triptych.json":
            os.symlink(entry, tmp_path / entry.name)
    pipe = TextToImage.load(tmp_path, device="cpu", memory="low")
    assert loads == ["unet", "text_encoder"]
    pipe("x", num_inference_steps=1, seed=0)
    assert loads == ["unet", "text_encoder", "unet", "vae_decoder"]


def test_a_component_that_is_not_there_is_named(package: Path) -> None:
    graphs = Components(open_package(package), open_device("cpu"), (), "low")
    with pytest.raises(PackageError, match="has no safety_checker"):
        graphs["safety_checker"]


def test_an_unknown_policy_names_those_there_are(package: Path) -> None:
    with pytest.raises(ArgumentError, match="unknown memory policy 'small'; allowed: fast, low"):
        TextToImage.load(package, device="cpu", memory="small")


def with_manifest(package: Path, copy: Path, **changes: Any) -> Path:
    """A copy of the package whose manifest has these keys."""
    shutil.copytree(package, copy)
    manifest = json.loads((copy / "triptych.json").read_text())
    (copy / "triptych.json").write_text(json.dumps(manifest | changes))
    return copy


SAFE = {"activations": [0, 255], "weights": [-64, 64]}


@pytest.mark.parametrize(
    ("changes", "saturating", "loads"),
    [
        ({"precision": "int8", "integers": SAFE}, True, True),
        ({"precision": "int8", "integers": {"activations": [0, 255], "weights": [-65, 65]}}, True, False),
        ({"precision": "int8", "integers": None}, True, False),
        ({"precision": "int8", "integers": None}, False, True),
        ({"precision": "fp32", "integers": None}, True, True),
    ],
)
def test_int8_packages_whose_products_would_saturate_here_are_refused(
    changes: dict[str, Any],
    saturating: bool,
    loads: bool,
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = with_manifest(package, tmp_path / "package", **changes)
    monkeypatch.setattr(policy, "saturates", lambda: saturating)
    if loads:
        TextToImage.load(changed, device="cpu", memory="low")
    else:
        with pytest.raises(ProviderError, match=r"int8 weights up to (65|127), .* export it again"):
            TextToImage.load(changed, device="cpu", memory="low")


@pytest.mark.parametrize("processor", PROCESSORS)
def test_an_early_int8_package_is_refused_by_processors_without_vnni(
    processor: str, package: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = environment_of(processor, tmp_path_factory)
    program = "from triptych.runtime.cli import main; main()"
    for name, integers, status in (("early", None, 2), ("now", SAFE, 0)):
        changed = with_manifest(package, tmp_path / name, precision="int8", integers=integers)
        command = (sys.executable, "-c", program, "generate", changed, "x", "--steps", "2", "--out", tmp_path / "out")
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == status
        if status:
            assert "int8 weights up to 127" in done.stderr
            assert len(done.stderr.splitlines()) == 1
    assert len(list((tmp_path / "out").iterdir())) == 1


def traits_of(package: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **manifest: Any) -> dict[str, Traits]:
    """Traits with which the graphs of a package with such a manifest are opened."""
    changed = shutil.copytree(package, folder / "changed")
    recorded = json.loads((changed / "triptych.json").read_text())
    (changed / "triptych.json").write_text(json.dumps(recorded | manifest))
    found: dict[str, Traits] = {}

    class Noting(Graph):
        def __init__(self, path: Path, device: Device, name: str, *, traits: Traits, **others: Any) -> None:
            found[name] = traits
            super().__init__(path, device, name, **others)

    monkeypatch.setattr(policy, "Graph", Noting)
    for name in ("unet", "vae_decoder"):
        policy.load_graph(open_package(changed), open_device("cpu"), name)
    return found


def test_float32_packages_compute_exactly(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert traits_of(package, tmp_path, monkeypatch) == {name: Traits(exact=True) for name in ("unet", "vae_decoder")}


def test_what_an_fp16_package_keeps_in_float32_may_be_rounded(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = traits_of(package, tmp_path, monkeypatch, precision="fp16")
    assert found == {name: Traits() for name in ("unet", "vae_decoder")}


def test_the_denoiser_of_fixed_shapes_is_captured(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = traits_of(package, tmp_path, monkeypatch, static={"batch": 2, "height": 64, "width": 64})
    assert {name: traits.capture for name, traits in found.items()} == {"unet": True, "vae_decoder": False}


def test_unknown_parts_are_refused(package: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(package, tmp_path / "changed")
    recorded = json.loads((changed / "triptych.json").read_text())
    recorded["components"]["unet"]["parts"] = ["text", "depth"]
    (changed / "triptych.json").write_text(json.dumps(recorded))
    with pytest.raises(PackageError, match="has the parts text, depth; this version runs text and time"):
        policy.load_graph(open_package(changed), open_device("cpu"), "unet")
    recorded["components"]["unet"]["parts"] = "text"
    (changed / "triptych.json").write_text(json.dumps(recorded))
    with pytest.raises(PackageError, match=r"components.unet.parts|parts"):
        open_package(changed)

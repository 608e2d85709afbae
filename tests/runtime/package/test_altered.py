"""Packages whose manifest or configurations were altered at random: each loads, or is refused in one line."""

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_package import write
from triptych.runtime import TextToImage
from triptych.runtime.cli.inspection import as_text, describe
from triptych.runtime.errors import TriptychError
from triptych.runtime.package.package import open_package
from triptych.runtime.request import Request

MANIFESTS = 60
CONFIGURATIONS = 15  # of each file
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**40, 10**39, -(2**63), 0.5, -1e30, 1e308, float("nan"), float("inf"),
    "", "x", "../../etc/passwd", "/etc/passwd", "two\nlines", "\u0000", "x" * 10_000, [], [1], [[]], ["x", None],
    {}, {"a": 1},
)  # fmt: skip
FULL = {
    "quality": {
        "pictures": {"pictures": 4, "psnr_db": 36.9, "psnr_db_worst": 30, "ssim": 0.97, "undecided": 1, "against": "x"},
        "semantic": {"names": {"pictures": 200, "right": 0.955}},
    },
    "integers": {"activations": [0, 255], "weights": [-64, 64]},
    "source": {
        "name": "emoji",
        "revision": "abc",
        "variant": "fp16",
        "configuration": "sd15",
        "vae": {"name": "v"},
        "loras": [{"name": "l", "weight": 0.5}],
        "embeddings": ["<cat>"],
        "clip_skip": 1,
    },
    "static": {"batch": 2, "height": 64, "width": 64},
    "versions": {"triptych": "0.1.0"},
    "templates": {"tokenizer": {"before": "user: ", "after": "."}},
}
SHOWN = {
    "parity": {"db": 120.0, "max_abs_error": 1e-6},
    "operators": {"Add": 3},
    "said": {"Gelu": 2},
    "kept_in_fp32": "values reach 1e6",
    "fp32_inside": "the residual stream",
    "macs": 700,
    "default_shape": {"sample": [1, 4, 8, 8]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with a manifest that has every key."""
    written = write(tmp_path_factory.mktemp("altered") / "package")
    manifest = json.loads((written / "triptych.json").read_text())
    manifest = {**manifest, **FULL, "components": {name: c | SHOWN for name, c in manifest["components"].items()}}
    (written / "triptych.json").write_text(json.dumps(manifest))
    return written


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each (container, key) in a JSON value."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def altered(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A copy with one value replaced or removed."""
    changed = copy.deepcopy(value)
    container, key = chance.choice(list(places(changed)))
    if chance.random() < 0.15:
        del container[key]
    else:
        container[key] = chance.choice(VALUES)
    return changed


def use(folder: Path) -> None:
    """Inspect and run a package; every error is one line."""
    for step in (inspect, run):
        message = ""
        try:
            step(folder)
        except TriptychError as error:
            message = str(error)
        assert message.isprintable(), repr(message)
        assert len(message) < 2000


def inspect(folder: Path) -> None:
    description = describe(open_package(folder))
    json.dumps(description)
    as_text(description).encode()


def run(folder: Path) -> None:
    pipe = TextToImage.load(folder, device="cpu", memory="low")
    pipe.generate(Request("a red fox", num_inference_steps=1, seed=0, height=64, width=64))


def test_a_whole_package_passes(folder: Path) -> None:
    inspect(folder)
    run(folder)


@pytest.mark.parametrize("seed", range(3))
def test_a_manifest_that_was_altered_anywhere(folder: Path, seed: int, tmp_path: Path) -> None:
    changed = tmp_path / "package"
    shutil.copytree(folder, changed)
    manifest = json.loads((folder / "triptych.json").read_text())
    chance = random.Random(seed)
    for _ in range(MANIFESTS // 3):
        (changed / "triptych.json").write_text(json.dumps(altered(manifest, chance)))
        use(changed)


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "unet/config.json",
        "vae_decoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer_config.json",
    ],
)
def test_a_configuration_that_was_altered_anywhere(folder: Path, name: str, tmp_path: Path) -> None:
    changed = tmp_path / "package"
    shutil.copytree(folder, changed)
    (changed / "triptych.json").unlink()  # its digests would be in the way
    configuration = json.loads((folder / name).read_text())
    chance = random.Random(name)
    for _ in range(CONFIGURATIONS):
        (changed / name).write_text(json.dumps(altered(configuration, chance)))
        use(changed)

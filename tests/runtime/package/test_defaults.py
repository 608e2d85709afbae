"""Defaults of a package: before the family's, after the call's, and checked when the package is opened."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import tiny_package
from tests.support.tiny_package import DEFAULTS
from triptych.runtime import TextToImage
from triptych.runtime.batch.run import batch, here
from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.package.defaults import FACTS, NAMES, NONE_STATED
from triptych.runtime.package.defaults_in_use import defaults_in_use
from triptych.runtime.package.package import open_package
from triptych.runtime.request import FIELDS, Request


@pytest.fixture(scope="module")
def stating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that states every default. Not to be written to."""
    return tiny_package.write(tmp_path_factory.mktemp("stating") / "tiny", defaults=DEFAULTS)


@pytest.fixture(scope="module")
def pipe(stating: Path) -> TextToImage:
    return TextToImage.load(stating, device="cpu")


def resolved(pipe: TextToImage, **arguments: Any) -> Request:
    return pipe.plan(Request("red fox", **arguments)).request


def changed(package: Path, folder: Path, **defaults: Any) -> Path:
    """A copy of a package whose manifest states other defaults."""
    copy = Path(shutil.copytree(package, folder))
    manifest = json.loads((copy / "triptych.json").read_text())
    (copy / "triptych.json").write_text(json.dumps(manifest | {"defaults": defaults}))
    return copy


def test_every_name_is_an_argument_or_a_fact() -> None:
    assert set(DEFAULTS) == set(NAMES), "the tests state every default"
    assert set(NAMES) - set(FACTS) <= set(FIELDS)


def test_what_a_call_leaves_out_is_the_packages(pipe: TextToImage) -> None:
    used = resolved(pipe)
    stated = {name: DEFAULTS[name] for name in pipe.model.defaults.arguments()}
    assert {name: getattr(used, name) for name in stated} == stated
    assert used.image_guidance_scale is None


def test_values_of_the_call_come_first(pipe: TextToImage) -> None:
    arguments = {"num_inference_steps": 5, "guidance_scale": 0.0, "negative_prompt": "", "width": 128, "height": 64}
    used = resolved(pipe, **arguments)
    assert {name: getattr(used, name) for name in arguments} == arguments


def test_a_scheduler_of_the_call_has_no_options_of_the_packages(pipe: TextToImage) -> None:
    used = resolved(pipe, scheduler="ddim")
    assert (used.scheduler, used.scheduler_options) == ("ddim", None)


def test_options_of_the_call_are_added_to_the_packages(pipe: TextToImage) -> None:
    used = resolved(pipe, scheduler_options={"use_karras_sigmas": True})
    assert used.scheduler == "euler"
    assert used.scheduler_options == {"timestep_spacing": "trailing", "use_karras_sigmas": True}


def test_without_defaults_values_are_the_familys(package: Path) -> None:
    pipe = TextToImage.load(package, device="cpu", memory="low")
    assert pipe.model.defaults == NONE_STATED
    used = resolved(pipe)
    assert (used.num_inference_steps, used.guidance_scale, used.negative_prompt) == (50, 7.5, None)
    assert (used.width, used.height, used.scheduler) == (128, 128, "PNDMScheduler")


def test_an_image_keeps_its_own_size(pipe: TextToImage) -> None:
    used = resolved(pipe, image=np.zeros((72, 80, 3), np.uint8))
    assert (used.height, used.width) == (72, 80)


def test_settings_hold_all_values_and_give_the_image_again(pipe: TextToImage, package: Path) -> None:
    image = pipe("red fox", seed=1)
    settings = image.settings[0]
    stated = {name: DEFAULTS[name] for name in pipe.model.defaults.arguments()}
    assert {name: getattr(settings, name) for name in stated} == stated
    again = TextToImage.load(package, device="cpu")(**settings.arguments())
    assert np.array_equal(image.latents, again.latents), "the package without defaults has the same graphs"


def test_the_defaults_in_use_are_told_with_their_owner(pipe: TextToImage, package: Path) -> None:
    line = "defaults of the package: 3 steps, guidance 2.5, scheduler euler, 64x96, negative prompt 'owl'"
    assert defaults_in_use(Request("red fox"), pipe.model) == line
    request = Request("red fox", num_inference_steps=5, width=64, scheduler="ddim", negative_prompt="")
    assert defaults_in_use(request, pipe.model) == "defaults of the package: guidance 2.5"
    plain = TextToImage.load(package, device="cpu", memory="low").model
    assert defaults_in_use(Request("red fox", sigmas="ays_sd15"), plain) == (
        "defaults of the package: scheduler PNDMScheduler, 128x128; of the family stable-diffusion: guidance 7.5"
    )
    everything = Request("red fox", num_inference_steps=5, guidance_scale=1, width=64, scheduler="ddim")
    assert defaults_in_use(everything, plain) is None


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("num_inference_steps", 0, "a whole number from 1 to 10000"),
        ("num_inference_steps", "20", "a whole number"),
        ("guidance_scale", -1, "a finite number from 0 to"),
        ("guidance_scale", [2.5], "a finite number"),
        ("negative_prompt", ["owl"], "a text"),
        ("negative_prompt", "a" * 100_001, "a text of at most 100000 characters"),
        ("width", True, "a whole number"),
        ("height", -8, "a whole number from 1"),
        ("scheduler", "eulr", "a name that `triptych schedulers` lists"),
        ("scheduler_options", [], "a JSON object"),
        ("example_prompts", "fox", "a list"),
        ("example_prompts", ["fox"] * 101, "a list of at most 100 texts"),
        ("tasks", ["text-to-video"], "a list of: text-to-image"),
        ("license", 2, "a text"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_name(
    package: Path, tmp_path: Path, name: str, value: Any, allowed: str
) -> None:
    copy = changed(package, tmp_path / "package", **{name: value})
    with pytest.raises(PackageError, match=rf"triptych\.json: defaults\.{name} is .* it should be {allowed}") as error:
        open_package(copy)
    assert "\n" not in str(error.value)


def test_keys_of_later_versions_are_left_alone(package: Path, tmp_path: Path) -> None:
    copy = changed(package, tmp_path / "package", of_a_later_version=1, guidance_scale=3)
    assert open_package(copy).manifest.defaults.as_json() == {"guidance_scale": 3.0}


def test_a_batch_is_not_resumed_with_other_defaults(stating: Path, tmp_path: Path) -> None:
    copy, jobs, out = changed(stating, tmp_path / "package", **DEFAULTS), tmp_path / "jobs.jsonl", tmp_path / "out"
    jobs.write_text('{"id": "fox", "prompt": "red fox"}\n')
    reported: list[str] = []

    def run(**options: Any) -> int:
        return batch(copy, jobs, out, here(copy, {"device": "cpu"}, tmp_path, reported.append), **options).before

    assert run() == 0
    assert any("defaults of the package: 3 steps, guidance 2.5" in line for line in reported)
    assert run() == 1
    manifest = json.loads((copy / "triptych.json").read_text())
    manifest["defaults"]["guidance_scale"] = 3.0
    (copy / "triptych.json").write_text(json.dumps(manifest))
    with pytest.raises(ArgumentError, match="already generated from other settings or by another package"):
        run()
    assert run(overwrite=True) == 0

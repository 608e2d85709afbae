"""Descriptions of models and schedulers: read without loading a graph, and true of package and classes."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_package
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.sampling.listing import names
from triptych.runtime.sampling.options import ANYTHING, read
from triptych.runtime.sampling.registry import FOREIGN_OPTIONS, find

from .serving import BODY, GENERATIONS, Service, service

KINDS = {
    "stable-diffusion": ["text-to-image", "image-to-image", "inpainting", "upscaling"],
    "inpainting": ["inpainting"],
    "instruct-pix2pix": ["editing"],
    "sdxl": ["text-to-image", "image-to-image", "inpainting", "upscaling"],
    "sdxl-refiner": ["image-to-image", "inpainting"],
}

NOT_SINGLE = {"trained_betas", "disable_corrector", "tau_func", "solver_p", "variance_type"}
"""Options that are lists, or that change nothing."""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Descriptions by name; nothing is loaded."""
    folder = tmp_path_factory.mktemp("packages")
    with service(*(tiny_package.write(folder / kind, kind) for kind in KINDS), load=False) as running:
        answer = running.client.get("/v1/models")
    assert answer.status_code == 200, answer.text
    return {model["id"]: model for model in answer.json()["data"]}


def test_tasks_are_those_that_the_package_can_do(described: dict[str, dict[str, Any]]) -> None:
    assert {name: model["tasks"] for name, model in described.items()} == KINDS


def test_fields_are_those_that_the_package_can_use(described: dict[str, dict[str, Any]]) -> None:
    fields = {name: set(model["fields"]) for name, model in described.items()}
    assert {"negative_prompt", "guidance_scale", "strength", "mask", "upscale"} <= fields["stable-diffusion"]
    assert not {"prompt_2", "target_size", "image_guidance_scale"} & fields["stable-diffusion"]
    assert {"prompt_2", "negative_prompt_2", "original_size", "target_size"} <= fields["sdxl"]
    assert {"aesthetic_score", "negative_aesthetic_score"} <= fields["sdxl-refiner"]
    assert "upscale" not in fields["sdxl-refiner"]
    assert "image_guidance_scale" in fields["instruct-pix2pix"]
    assert not {"strength", "mask"} & fields["instruct-pix2pix"]


def test_defaults_sizes_and_limits_are_those_of_package_and_service(described: dict[str, dict[str, Any]]) -> None:
    model = described["stable-diffusion"]
    assert model["defaults"] == {
        "num_inference_steps": 50,
        "guidance_scale": 7.5,
        "strength": 0.8,
        "image_guidance_scale": None,
        "scheduler": "PNDMScheduler",
        "scheduler_options": None,
        "negative_prompt": None,
        "size": "128x128",
    }
    assert model["sizes"] == {"multiple": 8, "fixed": False, "suggested": ["128x128"]}, "others are above the limit"
    assert described["instruct-pix2pix"]["defaults"]["num_inference_steps"] == 60, "the limit"
    assert model["limits"]["pixels"] == 128 * 128
    assert model["limits"]["n"] == 3
    assert model["limits"]["queue"] == 8
    assert model["limits"]["partial_images"] == 4, "the package has no preview decoder"
    assert not model["previews"]
    assert model["precision"] == "fp32"
    assert len(model["fingerprint"]) == 12
    assert set(model["schedulers"]) <= set(names())
    assert model["state"] == "unloaded"
    assert (model["example_prompts"], model["license"]) == ([], None)


def test_defaults_of_a_package_come_before_those_of_its_family(tmp_path: Path) -> None:
    package = tiny_package.write(tmp_path / "tiny", defaults=tiny_package.DEFAULTS)
    with service(package) as running:
        model = running.client.get("/v1/models/tiny").json()
        answer = running.client.post(GENERATIONS, json={"prompt": "red fox", "seed": 1})
    expected = {name: tiny_package.DEFAULTS[name] for name in ("num_inference_steps", "guidance_scale", "scheduler")}
    assert model["defaults"] == model["defaults"] | expected | {"size": "64x96", "negative_prompt": "owl"}
    assert model["tasks"] == ["text-to-image"]
    assert (model["example_prompts"], model["license"]) == (["red fox"], "apache-2.0")
    assert answer.status_code == 200, answer.text
    file = tmp_path / "image.png"
    file.write_bytes(base64.b64decode(answer.json()["data"][0]["b64_json"]))
    settings = read_settings(file)
    assert (settings.num_inference_steps, settings.guidance_scale, settings.scheduler) == (3, 2.5, "euler")
    assert (settings.width, settings.height, settings.negative_prompt) == (64, 96, "owl")


def test_sizes_have_about_the_default_area(package: Path) -> None:
    with service(package, pixels=2**20) as running:
        model = running.client.get(f"/v1/models/{package.name}").json()
    assert model["state"] == "ready"
    assert len(model["sizes"]["suggested"]) > 1
    for size in model["sizes"]["suggested"]:
        width, height = map(int, size.split("x"))
        assert 0.5 < width * height / 128**2 < 2
        assert width % 64 == height % 64 == 0


def test_every_scheduler_of_a_model_is_accepted(served: Service, package: Path) -> None:
    model = served.client.get(f"/v1/models/{package.name}").json()
    for name in model["schedulers"]:
        answer = served.client.post(GENERATIONS, json=BODY | {"scheduler": name, "num_inference_steps": 4})
        assert answer.status_code == 200, (name, answer.text)
    assert served.client.post(GENERATIONS, json=BODY | {"scheduler": "flow_euler"}).status_code == 400


@pytest.fixture(scope="module")
def schedulers(served: Service) -> list[dict[str, Any]]:
    answer = served.client.get("/v1/schedulers")
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, Any]] = answer.json()["data"]
    return listed


def test_every_scheduler_is_listed_with_all_its_options(schedulers: list[dict[str, Any]]) -> None:
    assert [each["name"] for each in schedulers] == names()
    for each in schedulers:
        scheduler, _ = find(each["name"])
        listed = {option["name"] for option in each["options"]}
        left_out = {name for name, option in scheduler.options.items() if name not in listed}
        assert left_out <= NOT_SINGLE | {name for name in left_out if scheduler.options[name].allowed == ANYTHING}
        assert each["class_name"] == scheduler.class_name


def test_listed_defaults_and_values_are_those_that_a_scheduler_takes(schedulers: list[dict[str, Any]]) -> None:
    types = {"boolean": bool, "integer": int, "number": int | float, "string": str}
    for each in schedulers:
        config = {"_class_name": each["class_name"]}
        for option in each["options"]:
            default, allowed = option["default"], option["allowed"]
            assert default is None or isinstance(default, types[option["type"]]), option
            assert allowed is None or default in allowed
            for value in (*(() if default is None else (default,)), *(allowed or ())):
                read(
                    find(each["name"])[0].options_class,
                    each["name"],
                    FOREIGN_OPTIONS,
                    {**config, option["name"]: value},
                )


def test_names_have_the_defaults_that_they_stand_for(schedulers: list[dict[str, Any]]) -> None:
    options = {each["name"]: {option["name"]: option["default"] for option in each["options"]} for each in schedulers}
    assert options["dpmpp_2m"]["algorithm_type"] == "dpmsolver++"
    assert options["dpmpp_2m_sde"]["algorithm_type"] == "sde-dpmsolver++"
    noisy = {each["name"] for each in schedulers if each["draws_noise"]}
    assert {"euler_a", "dpmpp_2m_sde"} <= noisy
    assert not {"euler", "dpmpp_2m", "ddim"} & noisy
    assert "eta" in next(each["takes"] for each in schedulers if each["name"] == "ddim")

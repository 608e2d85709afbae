"""Variations: starting noise between that of the seed and that of a variation seed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.images import example_image, mask
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError
from triptych.runtime.image.settings import Settings
from triptych.runtime.init_latents import init_latents
from triptych.runtime.request import Request
from triptych.runtime.tasks.batching import key_of, run
from triptych.runtime.tasks.interpolation import noise_between, walk
from triptych.runtime.tasks.upscaling import upscaled

BASE: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 2, "height": 64, "width": 64, "seed": 7}
HALF: dict[str, Any] = {"variation_seed": 3, "variation_strength": 0.5}
STARTS: dict[str, dict[str, Any]] = {
    "text": {},
    "image": {"image": example_image(64, 64), "strength": 0.7},
    "mask": {"image": example_image(64, 64), "mask_image": mask(64, 64), "strength": 1.0},
}


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


def pixels(pipe: TextToImage, **arguments: Any) -> np.ndarray:
    return np.stack([np.asarray(image) for image in pipe(**BASE | arguments).images])


@pytest.mark.parametrize("start", STARTS)
def test_the_ends_are_the_images_of_the_two_seeds(pipe: TextToImage, start: str) -> None:
    arguments = STARTS[start]
    seed, other = pixels(pipe, **arguments), pixels(pipe, **arguments, **HALF)
    np.testing.assert_array_equal(pixels(pipe, **arguments, **HALF | {"variation_strength": 0}), seed)
    assert (other != seed).any()
    varied = init_latents(pipe.plan(Request(**BASE | arguments | HALF | {"variation_strength": 1})), pipe.encode_image)
    same = init_latents(pipe.plan(Request(**BASE | arguments | {"seed": 3})), pipe.encode_image)
    np.testing.assert_array_equal(varied.noise, same.noise)


def test_the_noise_is_on_the_arc_and_later_draws_are_the_seeds(pipe: TextToImage) -> None:
    varied = init_latents(pipe.plan(Request(**BASE | HALF)), pipe.encode_image)
    plain = init_latents(pipe.plan(Request(**BASE)), pipe.encode_image)
    shape = plain.noise.shape
    np.testing.assert_array_equal(varied.noise, noise_between(7, 3, 0.5, shape))
    np.testing.assert_array_equal(varied.draw(shape), plain.draw(shape))


def test_the_variation_seed_counts_up_while_the_seed_stays(pipe: TextToImage) -> None:
    output = pipe(**BASE | HALF, num_images_per_prompt=2)
    assert output.seeds == [7, 7]
    assert [each.variation_seed for each in output.settings] == [3, 4]
    np.testing.assert_array_equal(
        np.asarray(output.images[1]), pixels(pipe, **HALF | {"variation_seed": 4}, num_images_per_prompt=1)[0]
    )
    assert pipe(**BASE | HALF | {"seed": [1, 2]}, num_images_per_prompt=2).seeds == [1, 2]
    assert pipe(**BASE | {"variation_seed": 3}, num_images_per_prompt=2).seeds == [7, 8]


def test_variations_of_several_seeds_share_a_call(pipe: TextToImage) -> None:
    requests = [
        Request(**BASE | HALF | {"seed": seed, "variation_seed": variation, "scheduler": "euler_a"})
        for seed, variation in ((7, 3), (8, 9))
    ]
    assert len({key_of(pipe, request) for request in requests}) == 1
    assert key_of(pipe, requests[0]) != key_of(pipe, replace(requests[0], variation_strength=0.4))
    for request, image in zip(requests, run(pipe, requests), strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(run(pipe, [request])[0]))


def test_settings_reproduce_a_variation_and_others_are_as_before(pipe: TextToImage) -> None:
    output = pipe(**BASE, variation_strength=0.3)
    settings = Settings.from_json(output.settings[0].to_json())
    assert settings.variation_seed is not None
    np.testing.assert_array_equal(np.asarray(pipe(**settings.arguments()).images[0]), np.asarray(output.images[0]))
    assert f"Variation seed: {settings.variation_seed}, Variation seed strength: 0.3" in settings.to_parameters()
    plain = pipe(**BASE, variation_seed=3).settings[0]
    assert "variation" not in plain.to_json() + plain.to_parameters().lower()
    assert '"variation_seed": 0' in pipe(**BASE | HALF | {"variation_seed": 0}).settings[0].to_json()


def test_both_passes_of_an_upscaled_image_have_one_variation_seed(pipe: TextToImage) -> None:
    output = upscaled(pipe, Request(**BASE, variation_strength=0.5), 2)
    drawn = output.settings[0].variation_seed
    again = upscaled(pipe, Request(**BASE, variation_strength=0.5, variation_seed=drawn), 2)
    np.testing.assert_array_equal(np.asarray(output.images[0]), np.asarray(again.images[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variation_strength": 1.5}, "variation_strength=1.5; allowed: a number from 0 to 1"),
        ({"variation_seed": -1}, "variation_seed=-1; allowed: a whole number from 0"),
        ({"variation_seed": [1, 2], "variation_strength": 0.5}, "variation_seed has 2 seeds for 1 images"),
        ({"latents": np.zeros((1, 4, 8, 8)), "variation_strength": 0.5}, "varies the noise of a seed, and latents"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_variations_that_cannot_be_are_refused(pipe: TextToImage, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pipe.plan(Request(**BASE | arguments))


def test_a_walk_has_no_variations(pipe: TextToImage) -> None:
    with pytest.raises(ArgumentError, match="leave variation_strength out"):
        next(walk(pipe, Request(**BASE | HALF), 2, 9))

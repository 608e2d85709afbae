"""Batching of requests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.images import example_image
from triptych.runtime import TextToImage
from triptych.runtime.request import Request
from triptych.runtime.tasks.batching import key_of, run


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


BASE: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 3}


def test_an_image_is_the_same_alone_and_in_a_batch(pipe: TextToImage) -> None:
    """Includes samplers that draw noise in each step."""
    requests = [
        Request(**(BASE | {"prompt": text, "negative_prompt": negative, "seed": seed, "scheduler": "euler_a"}))
        for text, negative, seed in (("a red fox", "grey", 7), ("an owl", "", 2**40), ("a red fox", "grey", 8))
    ]
    assert len({key_of(pipe, request) for request in requests}) == 1
    together = run(pipe, requests)
    for request, image in zip(requests, together, strict=True):
        (alone,) = run(pipe, [request])
        np.testing.assert_array_equal(np.asarray(image), np.asarray(alone))
        assert image.info == alone.info


def test_requests_with_images_share_a_call(pipe: TextToImage) -> None:
    requests = [
        Request(**(BASE | {"image": example_image(seed=seed), "strength": 0.7, "seed": seed})) for seed in (1, 2)
    ]
    assert len({key_of(pipe, request) for request in requests}) == 1
    for request, image in zip(requests, run(pipe, requests), strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(run(pipe, [request])[0]))


@pytest.mark.parametrize(
    "other",
    [
        {"num_inference_steps": 4},
        {"guidance_scale": 3.0},
        {"scheduler": "ddim"},
        {"height": 64},
        {"negative_prompt": ""},
        {"prompt": "a fox BREAK in the snow"},
        {"image": example_image(), "strength": 0.5},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_settings_or_lengths_do_not(pipe: TextToImage, other: dict[str, Any]) -> None:
    first, same, different = {"seed": 1}, {"seed": 2, "prompt": "an owl"}, {"seed": 1} | other
    key, same_key, different_key = (key_of(pipe, Request(**(BASE | own))) for own in (first, same, different))
    assert key == same_key
    assert key != different_key

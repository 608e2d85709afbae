"""Jobs that share a call, and what they give."""

from typing import Any

import numpy as np
import pytest

from tests.support.images import picture
from triptych.runtime import TextToImage
from triptych.runtime.tasks.jobs import Job, key_of, run

BASE: dict[str, Any] = {"prompt": "a red fox", "num_inference_steps": 3}


def test_a_picture_is_the_same_in_company_and_alone(pipe: TextToImage) -> None:
    """Also where noise is drawn on the way."""
    jobs = [
        Job(BASE | {"prompt": text, "negative_prompt": avoided, "seed": seed, "scheduler": "euler_a"})
        for text, avoided, seed in (("a red fox", "grey", 7), ("an owl", "", 2**40), ("a red fox", "grey", 8))
    ]
    assert len({key_of(pipe, job) for job in jobs}) == 1
    together = run(pipe, jobs)
    for job, image in zip(jobs, together, strict=True):
        (alone,) = run(pipe, [job])
        np.testing.assert_array_equal(np.asarray(image), np.asarray(alone))
        assert image.info == alone.info


def test_pictures_to_begin_from_share_a_call(pipe: TextToImage) -> None:
    jobs = [Job(BASE | {"image": picture(seed=seed), "strength": 0.7, "seed": seed}) for seed in (1, 2)]
    assert len({key_of(pipe, job) for job in jobs}) == 1
    for job, image in zip(jobs, run(pipe, jobs), strict=True):
        np.testing.assert_array_equal(np.asarray(image), np.asarray(run(pipe, [job])[0]))


@pytest.mark.parametrize(
    "other",
    [
        {"num_inference_steps": 4},
        {"guidance_scale": 3.0},
        {"scheduler": "ddim"},
        {"height": 64},
        {"negative_prompt": ""},
        {"prompt": "a fox BREAK in the snow"},
        {"image": picture(), "strength": 0.5},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_settings_or_lengths_do_not(pipe: TextToImage, other: dict[str, Any]) -> None:
    assert key_of(pipe, Job(BASE | {"seed": 1})) == key_of(pipe, Job(BASE | {"seed": 2, "prompt": "an owl"}))
    assert key_of(pipe, Job(BASE | {"seed": 1})) != key_of(pipe, Job(BASE | {"seed": 1} | other))

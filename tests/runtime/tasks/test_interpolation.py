"""Interpolation between seeds and between prompts."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.command_line import refused, run
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError
from triptych.runtime.families.conditioning import TEXT
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.noise import noise_source, slerp
from triptych.runtime.request import Request
from triptych.runtime.tasks.interpolation import conditioning_between, noise_between, walk

SHAPE = (1, 4, 16, 16)
STEPS = 2


@pytest.fixture(scope="module")
def pipe(exported_package: Path) -> TextToImage:
    return TextToImage.load(exported_package, device="cpu")


@settings(max_examples=50)
@given(seed=st.integers(0, 999), share=st.floats(0, 1), angle=st.floats(0.01, 3))
def test_the_arc_is_walked_at_one_speed(seed: int, share: float, angle: float) -> None:
    """The result is at that share of the angle, with the norm of the ends."""
    first, across = np.linalg.qr(np.random.default_rng(seed).standard_normal((12, 2)))[0].T
    second = np.cos(angle) * first + np.sin(angle) * across
    between = slerp(first[None], second[None], share, axes=(1,))[0]
    assert np.linalg.norm(between) == pytest.approx(1, abs=1e-6)
    assert np.arccos(np.clip(between @ first, -1, 1)) == pytest.approx(share * angle, abs=1e-3)


def test_vectors_that_do_not_differ_stay_as_they_are() -> None:
    vectors = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    vectors[1] = 0
    np.testing.assert_allclose(slerp(vectors, vectors, 0.3, axes=(1,)), vectors, atol=1e-6)


def test_noise_between_seeds_is_unit_noise() -> None:
    ends = [noise_source("torch", seed).randn(SHAPE) for seed in (3, 4)]
    np.testing.assert_array_equal(noise_between(3, 4, 0, SHAPE), ends[0])
    np.testing.assert_allclose(noise_between(3, 4, 1, SHAPE), ends[1], atol=1e-6)
    middle = noise_between(3, 4, 0.5, SHAPE)
    assert middle.std() == pytest.approx(1, abs=0.1), "a straight line would have 0.71"
    for end in ends:
        assert np.corrcoef(middle.ravel(), end.ravel())[0, 1] == pytest.approx(0.71, abs=0.1)


def test_the_ends_of_a_walk_are_the_images_of_the_prompts(pipe: TextToImage) -> None:
    prompts = ["a fox", "an owl BREAK at night", "a car"]
    arguments: dict[str, Any] = {"num_inference_steps": STEPS, "negative_prompt": "grey"}
    outs = list(walk(pipe, Request(prompts, seed=5, **arguments), 3, to_seed=6))
    assert len(outs) == 5
    # a prompt of two chunks makes all of them two chunks long, so that the ends are those of one call
    tokens = pipe.encode(prompts)
    for k, (row, seed) in {0: (0, 5), -1: (2, 6)}.items():
        own = {TEXT: tokens[TEXT][row : row + 1]}
        noise = noise_source("torch", seed).randn(SHAPE)
        alone = pipe(prompts[row], prompt_embeds=own, latents=noise, **arguments)
        np.testing.assert_allclose(outs[k].latents, alone.latents, atol=1e-4)
    latents = [out.latents for out in outs]
    steps = [np.abs(before - after).mean() for before, after in pairwise(latents)]
    assert 0 < max(steps) < np.abs(latents[0] - latents[-1]).mean()


def test_embeddings_take_the_place_of_the_prompt(pipe: TextToImage) -> None:
    arguments: dict[str, Any] = {"num_inference_steps": STEPS, "seed": 4, "negative_prompt": "grey"}
    out = pipe("whatever", prompt_embeds=pipe.encode(["a fox"]), **arguments)
    np.testing.assert_array_equal(out.latents, pipe("a fox", **arguments).latents)
    between = conditioning_between(pipe.encode(["a fox"]), pipe.encode(["an owl"]), 0.5)
    assert not np.allclose(pipe("x", prompt_embeds=between, **arguments).latents, out.latents)
    with pytest.raises(ArgumentError, match="prompt_embeds has 1 rows of encoder_hidden_states for 2 images"):
        pipe(["a", "b"], prompt_embeds=pipe.encode(["a fox"]), num_inference_steps=STEPS)


def test_embeddings_take_the_place_of_the_negative_prompt(pipe: TextToImage) -> None:
    arguments: dict[str, Any] = {"num_inference_steps": STEPS, "seed": 4}
    expected = pipe("a fox BREAK at night", negative_prompt="grey", **arguments).latents
    both = pipe.encode(["a fox BREAK at night", "grey"])
    positive, negative = ({TEXT: both[TEXT][row : row + 1]} for row in (0, 1))
    outs = [
        pipe("a fox BREAK at night", negative_prompt_embeds=negative, **arguments),
        pipe("whatever", prompt_embeds=positive, negative_prompt_embeds=negative, **arguments),
        pipe("whatever", prompt_embeds=positive, negative_prompt="grey", **arguments),
    ]
    for out in outs:
        np.testing.assert_array_equal(out.latents, expected)
    assert [out.settings[0].seed for out in outs] == [None] * 3, "settings do not hold the embeddings"
    assert not np.allclose(pipe("a fox BREAK at night", **arguments).latents, expected)
    short = pipe("a fox", negative_prompt_embeds=negative, **arguments).latents  # padded to the negative's length
    assert not np.allclose(short, expected)
    with pytest.raises(ArgumentError, match="154 tokens and 77 of the negative; encode both in one call"):
        pipe("a fox BREAK at night", negative_prompt_embeds=pipe.encode(["grey"]), **arguments)


def test_the_command_line_walks(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", package, "a fox", "--steps", 1, "--seed", 3, "--out", tmp_path / "out"]
    status, out, err = run(*command, "--walk", 3, "--to-seed", 4, capsys=capsys)
    assert status == 0
    written = [Path(line) for line in out.split()]
    assert [path.name for path in written] == ["walk-000.png", "walk-001.png", "walk-002.png"]
    assert "3 images in" in err
    with pytest.raises(ArgumentError, match="from latents or embeddings"):
        read_settings(written[1]).arguments()
    for arguments, message in (
        (["--walk", 3], "a walk needs two PROMPTs or two seeds; give a second PROMPT, or --to-seed"),
        (["--walk", 1, "--to-seed", 4], "1 is not in the range x>=2"),
        (["--to-seed", 4], "--to-seed is the end of a walk; add --walk"),
        (
            ["--walk", 3, "--to-seed", 4, "--num", 2],
            "--walk cannot be combined with --num, --grid, --upscale or --save-latents",
        ),
    ):
        assert message in refused(*command, *arguments, capsys=capsys)


def test_noise_between_seeds_needs_no_torch() -> None:
    expected = torch.randn(SHAPE, generator=torch.Generator("cpu").manual_seed(9)).numpy()
    np.testing.assert_allclose(noise_between(9, 2, 0, SHAPE), expected, atol=1e-6)

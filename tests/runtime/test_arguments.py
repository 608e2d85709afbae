"""Arguments of a loaded package: converted or refused in one line before anything is computed."""

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.runtime import TextToImage, footprint, foreign
from triptych.runtime.errors import ArgumentError, Cancelled, SamplerError, TriptychError
from triptych.runtime.request import FIELDS, Request
from triptych.runtime.tasks.interpolation import walk
from triptych.runtime.tasks.upscaling import upscaled


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


PLAIN: dict[str, Any] = {
    "seed": np.arange(7, 8),
    "height": np.int64(64),
    "width": np.array(64),
    "num_inference_steps": np.uint8(2),
    "guidance_scale": np.array([2.0, 3.0], np.float16),
    "guidance_interval": np.array([0, np.inf]),
    "guidance_projection": np.array([0, 15, -0.5]),
    "eta": np.float32(0),
    "prompt": np.str_("a fox"),
    "negative_prompt": np.array(["an owl"]),
    "scheduler": np.str_("euler"),
}


def test_values_of_numpy_give_the_image_and_the_settings_of_plain_ones(pipe: TextToImage) -> None:
    given = pipe(**PLAIN)
    same = pipe(
        "a fox",
        seed=7,
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=[2.0, 3.0],
        guidance_interval=(0, float("inf")),
        guidance_projection=(0, 15, -0.5),
        negative_prompt="an owl",
        scheduler="euler",
    )
    np.testing.assert_array_equal(np.asarray(given.images[0]), np.asarray(same.images[0]))
    assert given.seeds == [7]
    assert type(given.seeds[0]) is int
    assert given.settings == same.settings
    assert given.settings[0].to_json() == same.settings[0].to_json()


class Unwritable:
    def __repr__(self) -> str:
        raise KeyError


EXTREME: tuple[Any, ...] = (10**400, -(10**400), 10**5000, 1e308, float("nan"), float("inf"), -0.0, Unwritable())
"""Beyond floating point, beyond what Python writes in digits, and what cannot be written at all."""


@pytest.mark.parametrize("name", FIELDS)
def test_extreme_values_of_any_argument_are_refused_or_planned(pipe: TextToImage, name: str) -> None:
    for value in EXTREME:
        for given in (value, [value], (value, 1), {"beta_start": value}, {"steps_offset": value}):
            arguments: dict[str, Any] = {"prompt": "a fox", "height": 64, "width": 64, name: given}
            with suppress(TriptychError):
                pipe.plan(Request(**arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 7.0}, "seed=7.0; allowed: a whole number from 0"),
        ({"seed": True}, "seed=True; allowed"),
        ({"seed": np.zeros((2, 2), int)}, r"seed=array\(\[\[0, 0\], \[0, 0\]\]\); allowed"),
        ({"seed": [1, 2]}, "seed has 2 seeds for 1 images"),
        ({"height": 10**30}, "height=10+; allowed: a whole number of pixels, 1 or more, to 1000000"),
        ({"height": 800_000, "width": 800_000}, "1 image of 800000x800000 pixels needs .* GiB"),
        ({"num_images_per_prompt": 10**9}, "num_images_per_prompt=1000000000; allowed: a whole number, 1 or more, to"),
        ({"num_inference_steps": "2"}, "num_inference_steps='2'; allowed: a whole number, 1 or more"),
        ({"num_inference_steps": 10**12}, "num_inference_steps=1000000000000 must be a whole number, 1 or more"),
        ({"guidance_scale": 1e30}, r"guidance_scale=1e\+30; allowed: a number"),
        ({"guidance_scale": 10**400}, "guidance_scale=10+ .*; allowed: a number"),
        ({"strength": "0.5", "image": Image.new("RGB", (64, 64))}, "strength='0.5'; allowed: a number above 0, to 1"),
        ({"eta": "0"}, "eta='0'; allowed: a number from 0 to 1"),
        ({"timesteps": {3}}, r"timesteps=\{3\}; allowed: a list of numbers, or a name"),
        ({"sigmas": [1, "a"]}, r"sigmas=\[1, 'a'\]; allowed"),
        ({"latents": "noise"}, "latents='noise'; allowed: an array of numbers"),
        ({"latents": np.full((1, 4, 16, 16), 1e300)}, "latents hold NaN or infinity"),
        ({"prompt_embeds": [1]}, r"prompt_embeds=\[1\]; allowed: arrays of numbers by name"),
        ({"prompt_embeds": {}}, "prompt_embeds lacks encoder_hidden_states"),
        ({"prompt_embeds": {"encoder_hidden_states": np.zeros((1, 77, 5))}}, r"shape \[1, 77, 5\]; allowed: \[1, "),
        ({"prompt_embeds": {"encoder_hidden_states": np.zeros(4)}}, r"shape \[4\]; allowed: \[1, "),
        (
            {"prompt_embeds": {"encoder_hidden_states": np.full((1, 77, 4), np.nan)}},
            "encoder_hidden_states holds NaN or infinity",
        ),
        (
            {"prompt_embeds": {"encoder_hidden_states": np.zeros((1, 77, 4)), "text_embeds": np.zeros((1, 4))}},
            "text_embeds, which this model does not take",
        ),
        ({"negative_prompt_embeds": {}}, "negative_prompt_embeds lacks encoder_hidden_states"),
        (
            {"negative_prompt_embeds": {"encoder_hidden_states": np.zeros((2, 77, 4))}},
            "negative_prompt_embeds has 2 rows of encoder_hidden_states for 1 images",
        ),
        (
            {"negative_prompt_embeds": {"encoder_hidden_states": np.zeros((1, 77, 4))}, "negative_prompt": "x"},
            "negative_prompt and negative_prompt_embeds: the latter takes its place; leave one out",
        ),
        (
            {
                "prompt_embeds": {"encoder_hidden_states": np.zeros((1, 77, 4))},
                "negative_prompt_embeds": {"encoder_hidden_states": np.zeros((1, 154, 4))},
            },
            "prompt_embeds has 77 tokens and negative_prompt_embeds 154; encode both in one call",
        ),
        ({"noise": 3}, "noise=3; allowed: a name"),
        ({"callback": 3}, "callback=3; allowed: a function that takes a Step"),
        ({"generator": None}, "generator: use seed="),
        ({"output_type": "pil"}, "output_type: use Output.images"),
        ({"guidence_scale": 3}, "unknown argument guidence_scale; did you mean guidance_scale"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_values_that_cannot_be_used_are_one_line_before_any_step(
    pipe: TextToImage, arguments: dict[str, Any], message: str
) -> None:
    steps: list[int] = []
    call: dict[str, Any] = {"num_inference_steps": 2, "callback": lambda step: steps.append(step.index)} | arguments
    with pytest.raises((ArgumentError, SamplerError), match=message) as caught:
        pipe("a fox", **call)
    assert len(str(caught.value).splitlines()) == 1
    assert steps == []


def test_calls_without_a_prompt_or_with_more_than_that(pipe: TextToImage) -> None:
    call: Any = pipe
    with pytest.raises(ArgumentError, match="no prompt: give it first"):
        call(seed=1)
    with pytest.raises(ArgumentError, match="2 arguments without names; allowed: prompt"):
        call("a fox", 20)


@pytest.mark.parametrize("answer", [False, np.False_])
def test_a_callback_that_returns_false_stops(pipe: TextToImage, answer: Any) -> None:
    with pytest.raises(Cancelled, match="after step 1 of 2"):
        pipe("a fox", scheduler="euler", num_inference_steps=2, callback=lambda step: answer)


@pytest.mark.parametrize("answer", [None, True, 0, "", np.True_, np.array([])])
def test_a_callback_that_returns_anything_else_goes_on(pipe: TextToImage, answer: Any) -> None:
    assert pipe("a fox", num_inference_steps=1, callback=lambda step: answer).images


def test_an_error_of_the_callback_is_the_callers_own(pipe: TextToImage) -> None:
    def fail(step: object) -> bool:
        raise LookupError("mine")

    with pytest.raises(LookupError, match=r"^'mine'$|^mine$"):
        pipe("a fox", num_inference_steps=1, callback=fail)


@pytest.mark.parametrize("name", foreign.MEMBERS)
def test_members_of_diffusers_pipelines_are_answered(pipe: TextToImage, name: str) -> None:
    assert not hasattr(pipe, name)
    for owner in (pipe, TextToImage):
        with pytest.raises(ArgumentError, match=f"^{name}: ."):
            getattr(owner, name)


def test_arguments_that_are_answered_do_not_exist() -> None:
    assert not set(foreign.CALL) & set(Request.__dataclass_fields__)


def test_loading_answers_arguments_of_diffusers(package: Path) -> None:
    load: Any = TextToImage.load
    with pytest.raises(ArgumentError, match="torch_dtype: the precision is chosen at export"):
        load(package, torch_dtype="float16")
    with pytest.raises(ArgumentError, match="package=3; allowed: a folder"):
        load(3)
    with pytest.raises(ArgumentError, match="unknown memory policy 3"):
        load(package, memory=3)


def test_a_pipeline_cannot_be_pickled(pipe: TextToImage) -> None:
    with pytest.raises(ArgumentError, match=r"cannot be copied or pickled.*TextToImage.load in each process"):
        pickle.dumps(pipe)


def test_sizes_are_limited_by_memory(pipe: TextToImage, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request("a fox", height=128, width=128)
    plan = pipe.plan(request)
    needed = footprint.bytes_needed(plan, on_host=True, tiled=False)
    assert needed > footprint.bytes_needed(plan, on_host=False, tiled=False)
    assert 0 < needed < footprint.bytes_available()
    monkeypatch.setattr(footprint, "bytes_available", lambda: needed)
    assert pipe.plan(request).size == (128, 128)
    with pytest.raises(ArgumentError, match=r"1 image of 136x128 pixels needs .* GiB of memory or more; allowed"):
        pipe.plan(Request("a fox", height=128, width=136))


@pytest.mark.parametrize(
    ("factor", "arguments"), [("2", {}), (10**9, {}), (2, {"strength": 0.1}), (900, {}), (None, {})], ids=str
)
def test_upscaling_is_checked_before_its_first_pass(
    pipe: TextToImage, factor: Any, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footprint, "bytes_available", lambda: 2**30)
    steps: list[int] = []
    request = Request("a fox", num_inference_steps=2, **arguments)
    with pytest.raises(TriptychError):
        upscaled(pipe, request, factor, lambda step: steps.append(step.index))
    assert steps == []


def test_a_walk_takes_whole_numbers(pipe: TextToImage) -> None:
    request = Request("a fox", num_inference_steps=1, seed=1)
    assert len(list(walk(pipe, request, np.int64(2), np.int64(2)))) == 2  # type: ignore[arg-type]
    for images, to_seed in (("2", 3), (2.0, 3), (2, "3"), (2, 3.0)):
        with pytest.raises(ArgumentError, match="allowed"):
            next(walk(pipe, request, images, to_seed))  # type: ignore[arg-type]

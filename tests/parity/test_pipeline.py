"""The runtime against diffusers: same checkpoint, scheduler, seed, fp32, CPU."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.schedulers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler

from tests.parity.comparison import LATENTS_TOLERANCE, PIXEL_TOLERANCE, SEED, check, theirs
from tests.support.packages import linked
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError, Cancelled, NumericalError, PackageError, SamplerError
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.sampling import Sampler

FP16_LATENTS_DB = 40  # of final latents, as of each component
STEPS = 6


@pytest.fixture(scope="module")
def pipe(package: Path) -> TextToImage:
    return TextToImage.load(package, device="cpu")


@pytest.fixture(scope="module")
def diffusers_pipe(checkpoint: Path) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe


SCHEDULERS = {
    "pndm": PNDMScheduler,
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_gives_the_image_of_diffusers(
    pipe: TextToImage, diffusers_pipe: StableDiffusionPipeline, name: str
) -> None:
    own = diffusers_pipe.scheduler
    diffusers_pipe.scheduler = SCHEDULERS[name].from_config(own.config)
    try:
        expected = theirs(diffusers_pipe, 1, prompt="a red fox", num_inference_steps=STEPS)
    finally:
        diffusers_pipe.scheduler = own
    check(pipe("a red fox", num_inference_steps=STEPS, seed=SEED, scheduler=name), *expected)


OUTDATED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("options", [{"clip_sample": True, "steps_offset": 0}, {}], ids=["stated", "by default"])
@pytest.mark.parametrize("other", [None, "ddim", "pndm"])
def test_outdated_scheduler_options_are_mended_as_diffusers_does(
    package: Path,
    tmp_path: Path,
    diffusers_pipe: StableDiffusionPipeline,
    options: dict[str, Any],
    other: str | None,
) -> None:
    """Early checkpoints have steps_offset 0 and clip_sample true; StableDiffusionPipeline changes both on loading."""
    own, own_class = ("DDIMScheduler", DDIMScheduler) if other != "ddim" else ("PNDMScheduler", PNDMScheduler)
    config = {"_class_name": own, **options, **OUTDATED}
    parts = {**diffusers_pipe.components, "scheduler": own_class.from_config(config)}
    outdated = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    outdated.set_progress_bar_config(disable=True)
    if other is not None:
        outdated.scheduler = SCHEDULERS[other].from_config(outdated.scheduler.config)
    expected = theirs(outdated, 1, prompt="a red fox", num_inference_steps=STEPS)
    pipe = TextToImage.load(linked(package, tmp_path / "p", scheduler=config), device="cpu")
    check(pipe("a red fox", num_inference_steps=STEPS, seed=SEED, scheduler=other), *expected)


@pytest.mark.parametrize(
    ("count", "arguments"),
    [
        (1, {"prompt": "a red fox", "guidance_scale": 1.0}),
        (1, {"prompt": "a red fox", "negative_prompt": "blurry, grey"}),
        (1, {"prompt": "", "guidance_scale": 3.5}),
        (1, {"prompt": "wide", "height": 128, "width": 192}),
        (1, {"prompt": "odd", "height": 136, "width": 104}),
        (3, {"prompt": "three of them", "num_images_per_prompt": 3}),
        (4, {"prompt": ["a cat", "a dog"], "negative_prompt": ["dog", "cat"], "num_images_per_prompt": 2}),
    ],
    ids=lambda value: value if isinstance(value, int) else "-".join(value),
)
def test_every_kind_of_call_gives_the_images_of_diffusers(
    pipe: TextToImage, diffusers_pipe: StableDiffusionPipeline, count: int, arguments: dict[str, Any]
) -> None:
    expected = theirs(diffusers_pipe, count, num_inference_steps=STEPS, **arguments)
    check(pipe(**arguments, num_inference_steps=STEPS, seed=SEED), *expected)


def test_given_latents_take_the_place_of_the_seed(pipe: TextToImage, diffusers_pipe: StableDiffusionPipeline) -> None:
    noise = np.random.default_rng(3).standard_normal((1, 4, 16, 16)).astype(np.float32)
    latents = diffusers_pipe("x", num_inference_steps=3, latents=torch.from_numpy(noise), output_type="latent").images
    out = pipe("x", num_inference_steps=3, latents=noise)
    np.testing.assert_allclose(out.latents, latents.numpy(), atol=LATENTS_TOLERANCE, rtol=0)
    assert out.seeds == [None]


def test_an_image_is_the_same_alone_and_in_a_batch(pipe: TextToImage) -> None:
    batch = pipe(["a cat", "a dog"], num_inference_steps=3, seed=SEED, num_images_per_prompt=2)
    assert batch.seeds == [SEED + k for k in range(4)]
    alone = pipe("a dog", num_inference_steps=3, seed=SEED + 3)
    np.testing.assert_array_equal(np.asarray(alone.images[0]), np.asarray(batch.images[3]))


def test_parts_can_be_used_alone_and_give_the_image_of_the_call(pipe: TextToImage) -> None:
    out = pipe("a red fox", num_inference_steps=3, seed=SEED)
    positive, negative = pipe.encode(["a red fox"]), pipe.encode([""])
    sampler = Sampler.from_config(pipe.package.scheduler_config(), num_inference_steps=3)
    from triptych.runtime.noise import noise_source

    noise = noise_source("torch", SEED).randn((1, 4, 16, 16))
    previews = []
    for step in pipe.denoise(positive, negative, noise, sampler, guidance_scale=7.5):
        previews.append(pipe.decode(step.denoised))
    np.testing.assert_array_equal(step.latents, out.latents)
    np.testing.assert_array_equal(pipe.decode(out.latents)[0], np.asarray(out.images[0]))
    assert previews[0].shape == (1, 128, 128, 3)
    assert len(previews) == len(sampler.timesteps)


def test_the_callback_sees_every_step_and_can_cancel(pipe: TextToImage) -> None:
    seen = []
    pipe("x", num_inference_steps=3, seed=0, scheduler="ddim", callback=lambda step: seen.append(step.index))
    assert seen == [0, 1, 2]
    with pytest.raises(Cancelled, match="cancelled after step 2 of 3"):
        pipe("x", num_inference_steps=3, seed=0, scheduler="ddim", callback=lambda step: step.index < 1)


def test_settings_repeat_the_image(pipe: TextToImage, tmp_path: Path) -> None:
    out = pipe(
        ["a", "b ✈"], negative_prompt="c", num_inference_steps=3, guidance_scale=2.5, scheduler="euler", width=192
    )
    out.images[1].save(tmp_path / "b.png")
    settings = read_settings(tmp_path / "b.png")
    assert settings.seed == out.seeds[1]
    again = pipe(**settings.arguments()).images[0]
    assert np.abs(np.asarray(again).astype(int) - np.asarray(out.images[1])).max() <= PIXEL_TOLERANCE


def test_a_seed_for_each_image(pipe: TextToImage) -> None:
    """Also where noise is drawn on the way."""
    batch = pipe(["a cat", "a dog"], num_inference_steps=3, seed=[SEED, 7], scheduler="euler_a")
    assert batch.seeds == [SEED, 7]
    alone = pipe("a dog", num_inference_steps=3, seed=7, scheduler="euler_a")
    np.testing.assert_array_equal(batch.latents[1:], alone.latents)


def test_drawn_seeds_differ_and_are_told(pipe: TextToImage) -> None:
    first, second = (pipe("x", num_inference_steps=1) for _ in range(2))
    assert first.seeds != second.seeds  # fails by chance once in 2^32 runs
    np.testing.assert_array_equal(pipe("x", num_inference_steps=1, seed=first.seeds[0]).latents, first.latents)


@pytest.mark.parametrize("noise", ["torch_cuda", "numpy"])
def test_other_noise_gives_another_image(pipe: TextToImage, noise: str) -> None:
    out = pipe("x", num_inference_steps=1, seed=0, noise=noise)
    assert np.abs(out.latents - pipe("x", num_inference_steps=1, seed=0).latents).max() > 0.1


def test_timings_add_up(pipe: TextToImage) -> None:
    timings = pipe("x", num_inference_steps=2, seed=0).timings
    parts = {"text_encoder", "unet", "sampler", "vae_decoder"}
    assert parts | {"total"} == timings.keys()
    assert 0 < sum(timings[part] for part in parts) <= timings["total"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompt": []}, ArgumentError, "no prompt"),
        ({"prompt": 3}, ArgumentError, "must be text or a list of texts, not int"),
        ({"prompt": [3]}, ArgumentError, "prompt must be text, not int"),
        ({"negative_prompt": ["a", "b"]}, ArgumentError, "negative_prompt has 2 texts for 1 prompts"),
        ({"num_images_per_prompt": 0}, ArgumentError, "num_images_per_prompt=0; allowed: a whole number, 1 or more"),
        ({"num_inference_steps": 0}, SamplerError, "0"),
        ({"num_inference_steps": -3}, SamplerError, "-3"),
        ({"height": 100}, ArgumentError, "height=100 must be a positive multiple of 8"),
        ({"width": 0}, ArgumentError, "width=0; allowed: a whole number of pixels, 1 or more"),
        ({"seed": -1}, ArgumentError, r"seed=-1; allowed: a whole number from 0 to 2\^64 - 1"),
        ({"seed": 2**64}, ArgumentError, r"seed=18446744073709551616; allowed: a whole number from 0 to 2\^64 - 1"),
        ({"seed": [-1]}, ArgumentError, r"seed=\[-1\]; allowed: a whole number from 0 to 2\^64 - 1"),
        ({"seed": [1, 2]}, ArgumentError, "seed has 2 seeds for 1 images"),
        ({"scheduler": "dpmp_2m"}, SamplerError, "dpmpp_2m"),
        ({"noise": "trch"}, ArgumentError, "torch"),
        ({"latents": np.zeros((1, 4, 8, 8))}, ArgumentError, r"latents have shape \[1, 4, 8, 8\].*\[1, 4, 16, 16\]"),
        ({"latents": np.full((1, 4, 16, 16), np.nan)}, ArgumentError, "latents hold NaN"),
    ],
    ids=str,
)
def test_bad_arguments_are_one_clear_line(
    pipe: TextToImage, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        pipe(**{"prompt": "x", "num_inference_steps": 1, **arguments})
    assert "\n" not in str(caught.value)


class Poisoned:
    """A graph that returns NaN from a given call on."""

    def __init__(self, graph: Any, call: int) -> None:
        self.graph, self.calls_left = graph, call
        self.inputs, self.outputs, self.name = graph.inputs, graph.outputs, graph.name

    def __call__(self, arrays: Any, release: bool = False) -> dict[str, np.ndarray]:
        self.calls_left -= 1
        outputs = self.graph(arrays)
        return {k: v * np.nan for k, v in outputs.items()} if self.calls_left <= 0 else outputs


@pytest.mark.parametrize(
    ("component", "call", "message"),
    [
        ("text_encoder", 1, "text_encoder gave NaN or infinity; .*--precision fp32"),
        ("unet", 2, "unet gave NaN or infinity at step 2 of 3; .*--precision fp32"),
        ("vae_decoder", 1, "vae_decoder gave NaN or infinity; .*--precision fp32"),
    ],
)
def test_nan_names_the_component_and_the_step(package: Path, component: str, call: int, message: str) -> None:
    pipe = TextToImage.load(package, device="cpu")
    pipe._graphs.loaded[component] = Poisoned(pipe._graphs[component], call)  # type: ignore[assignment]
    with pytest.raises(NumericalError, match=message):
        pipe("x", num_inference_steps=3, seed=0, scheduler="ddim")


def test_widths_that_differ_are_refused(package: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    from tests.support.graphs import write_graph

    broken = tmp_path / "broken"
    broken.mkdir()
    for entry in package.iterdir():
        if entry.name not in ("text_encoder", "triptych.json"):
            os.symlink(entry, broken / entry.name)
    write_graph(
        broken / "text_encoder" / "model.onnx",
        [
            helper.make_node("Constant", [], ["table"], value=numpy_helper.from_array(np.zeros((700, 45), np.float32))),
            helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"]),
        ],
        [("input_ids", TensorProto.INT64, ["b", "s"])],
        [("last_hidden_state", TensorProto.FLOAT, ["b", "s", 45])],
    )
    with pytest.raises(PackageError, match="text_encoder gives embeddings of width 45 but unet takes 44"):
        TextToImage.load(broken, device="cpu")


def test_one_object_serves_threads(pipe: TextToImage) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def run(seed: int) -> np.ndarray:
        return pipe("x", num_inference_steps=3, seed=seed).latents

    expected = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for actual, expected_latents in zip(threads.map(run, range(4)), expected, strict=True):
            np.testing.assert_allclose(actual, expected_latents, atol=1e-5)


def test_settings_are_complete() -> None:
    """Every argument that changes the image is in the settings, or is a way to give several images at once."""
    import inspect

    from triptych.runtime.image.settings import Settings

    arguments = set(inspect.signature(TextToImage.__call__).parameters)
    fields = {field.name for field in dataclasses.fields(Settings)}
    unrepeatable = {
        "latents",
        "prompt_embeds",
        "negative_prompt_embeds",
        "image",
        "mask_image",
    }  # settings of such an image have no seed, or a strength
    assert arguments - fields == {"self", "num_images_per_prompt", "callback", "progress", *unrepeatable}


def test_an_fp16_package_of_fixed_shapes_takes_its_own_size_only(
    static_package: Path, diffusers_pipe: StableDiffusionPipeline
) -> None:
    pipe = TextToImage.load(static_package, device="cpu")
    height, width = 144, 112
    expected, _ = theirs(diffusers_pipe, 1, prompt="a red fox", num_inference_steps=STEPS, height=height, width=width)
    out = pipe("a red fox", num_inference_steps=STEPS, seed=SEED)
    assert out.images[0].size == (width, height)
    noise, signal = np.mean((out.latents - expected) ** 2), np.mean(expected**2)
    assert 10 * np.log10(signal / noise) > FP16_LATENTS_DB
    pipe(["a", "b", "c"], num_inference_steps=1, guidance_scale=1.0)  # a batch of 3 in calls of the graph's 2
    sizes: list[dict[str, Any]] = [{"height": 128}, {"width": 120}]
    for arguments in sizes:
        with pytest.raises(ArgumentError, match=r"exported with static shapes, (height=144|width=112) only"):
            pipe("x", **arguments)

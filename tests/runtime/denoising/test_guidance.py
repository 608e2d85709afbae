"""Guidance against its formulas written out, against diffusers, and by counting denoiser calls."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from PIL import Image

from tests.support.command_line import refused, run
from triptych.runtime import TextToImage
from triptych.runtime.denoising.guidance import Guidance, Projection, guided, project_update, rescaled
from triptych.runtime.errors import ArgumentError, SamplerError
from triptych.runtime.families.conditioning import TEXT, Conditioning
from triptych.runtime.image.pixels import read_settings
from triptych.runtime.image.settings import Settings
from triptych.runtime.ort.session import Graph
from triptych.runtime.sampling import Sampler, denoise

TOLERANCE = 1e-5  # relative, float32
LATENTS_TOLERANCE = 1e-3  # absolute, final latents of the tiny package
SHAPE = (3, 4, 5, 6)
SEED = 77
SD = {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DDIM = {**SD, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}


def arrays(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal(SHAPE).astype(np.float32) * (1 + k) for k in range(count)]


class Network:
    """Outputs that depend on conditioning [n, 1, 1], latents and time; remembers the rows of every call."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, latents: np.ndarray, timestep: float, conditioning: Conditioning) -> np.ndarray:
        self.rows.append(len(latents))
        return np.tanh(latents * conditioning[TEXT][..., None] + np.float32(timestep / 700)).astype(np.float32)


POSITIVE = {TEXT: np.array([0.9, 1.0, 1.1], np.float32).reshape(3, 1, 1)}
NEGATIVE = {TEXT: np.array([-0.2, 0.1, 0.3], np.float32).reshape(3, 1, 1)}


def outputs(latents: np.ndarray, timestep: float) -> tuple[np.ndarray, np.ndarray]:
    denoiser = Network()
    return denoiser(latents, timestep, POSITIVE), denoiser(latents, timestep, NEGATIVE)


def sampler(steps: int = 6, **options: Any) -> Sampler:
    return Sampler.from_config(DDIM | options, num_inference_steps=steps)


def predictions(guidance: Guidance, sampler: Sampler) -> tuple[list[np.ndarray], list[np.ndarray], list[int]]:
    """Inputs and outputs of the guided denoiser at each call of a run, and the rows of each call."""
    denoiser, fed, given = Network(), [], []
    predict = guided(denoiser, POSITIVE, NEGATIVE, guidance, sampler)

    def watched(latents: np.ndarray, timestep: float) -> np.ndarray:
        fed.append(latents.copy())
        given.append(predict(latents, timestep))
        return given[-1]

    for _ in denoise(watched, arrays(1)[0], sampler):
        pass
    return fed, given, denoiser.rows


def test_classifier_free_guidance_is_its_formula() -> None:
    own = sampler()
    fed, given, rows = predictions(Guidance(4.5), own)
    for latents, result, timestep in zip(fed, given, own.timesteps, strict=True):
        positive, negative = outputs(latents, timestep)
        np.testing.assert_allclose(result, negative + 4.5 * (positive - negative), rtol=TOLERANCE, atol=TOLERANCE)
    assert rows == [6] * 6


def test_rescaling_is_that_of_diffusers() -> None:
    result, positive = arrays(2)
    for share in (0.3, 0.7, 1.0):
        theirs = rescale_noise_cfg(torch.from_numpy(result), torch.from_numpy(positive), share).numpy()
        np.testing.assert_allclose(rescaled(result, positive, share), theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_rescaled_run_is_its_formula() -> None:
    own = sampler()
    fed, given, _ = predictions(Guidance(4.5, rescale=0.6), own)
    for latents, result, timestep in zip(fed, given, own.timesteps, strict=True):
        positive, negative = outputs(latents, timestep)
        plain = negative + 4.5 * (positive - negative)
        ratio = np.array([p.std() / q.std() for p, q in zip(positive, plain, strict=True)]).reshape(3, 1, 1, 1)
        np.testing.assert_allclose(result, 0.6 * plain * ratio + 0.4 * plain, rtol=1e-4, atol=TOLERANCE)


def test_the_projection_of_one_update_is_its_formula() -> None:
    update, x0 = arrays(2)
    for eta, threshold in ((0.0, 0.0), (0.0, 5.0), (0.4, 1e6), (1.0, 2.0)):
        result = project_update(update, x0, eta, threshold)
        for one, own, image in zip(result, update, x0, strict=True):
            short = own * min(1, threshold / np.linalg.norm(own)) if threshold else own
            parallel = (short * image).sum() / (image**2).sum() * image
            np.testing.assert_allclose(one, short - parallel + eta * parallel, rtol=1e-4, atol=TOLERANCE)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("projection", [Projection(), Projection(0.3, 4.0, -0.75), Projection(1.0, 0.0, 0.0)])
def test_projected_guidance_is_that_of_diffusers_applied_to_x0(prediction: str, projection: Projection) -> None:
    """diffusers' numbers in the paper's convention: at scale - 1 from the positive prediction on."""
    own, scale = sampler(prediction_type=prediction), 6.0
    fed, given, _ = predictions(Guidance(scale, projection=projection), own)
    momentum = MomentumBuffer(projection.momentum)
    for i, (latents, result) in enumerate(zip(fed, given, strict=True)):
        alpha, sigma = own.alphas[i], own.sigmas[i]

        def x0(output: np.ndarray, x: np.ndarray = latents, a: float = alpha, s: float = sigma) -> np.ndarray:
            by = {"epsilon": (x - s * output) / a, "v_prediction": a * x - s * output, "sample": output}
            return by[prediction]

        pair = (torch.from_numpy(x0(output)) for output in outputs(latents, own.timesteps[i]))
        expected = normalized_guidance(
            *pair, scale - 1, momentum, projection.eta, projection.norm_threshold, use_original_formulation=True
        )
        np.testing.assert_allclose(x0(result), expected.numpy(), rtol=1e-3, atol=1e-3)


def test_a_projection_that_leaves_the_update_as_it_is_changes_nothing() -> None:
    own = sampler()
    _, plain, _ = predictions(Guidance(4.5), own)
    _, projected, _ = predictions(Guidance(4.5, projection=Projection(1.0, 0.0, 0.0)), own)
    np.testing.assert_allclose(projected[-1], plain[-1], rtol=1e-4, atol=1e-5)


def test_outside_the_interval_the_denoiser_runs_at_batch_n_without_the_negative() -> None:
    own = sampler(12)
    low, high = 0.28, 5.42
    inside = [low < level <= high for level in own.noise_levels]
    assert 2 < sum(inside) < 11
    fed, given, rows = predictions(Guidance(3.0, interval=(low, high)), own)
    assert rows == [6 if guides else 3 for guides in inside]
    for i, guides in enumerate(inside):
        positive, negative = outputs(fed[i], own.timesteps[i])
        expected = negative + 3 * (positive - negative) if guides else positive
        np.testing.assert_allclose(given[i], expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_upper_end_belongs_to_the_interval_and_the_lower_does_not() -> None:
    own = sampler()
    levels = own.noise_levels
    scales = Guidance(3.0, interval=(levels[4], levels[1])).scales(own)
    assert scales.tolist() == [1, 3, 3, 3, 1, 1]
    assert Guidance(3.0, interval=(0, float("inf"))).scales(own).tolist() == [3] * 6


@pytest.mark.parametrize("name", ["PNDMScheduler", "HeunDiscreteScheduler"])
def test_the_interval_is_judged_by_call_where_a_step_has_several(name: str) -> None:
    own = Sampler.from_config(SD | {"_class_name": name, "steps_offset": 1}, num_inference_steps=8)
    assert len(own) > 8
    interval = (own.noise_levels[9], own.noise_levels[1])  # it begins within a step: the first call is outside
    _, _, rows = predictions(Guidance(3.0, interval=interval), own)
    assert rows == [6 if interval[0] < level <= interval[1] else 3 for level in own.noise_levels]
    assert rows[:3] == [3, 6, 6]


def test_a_schedule_has_a_scale_for_each_call_and_1_is_none() -> None:
    own, scales = sampler(), [2.0, 1.0, 5.0, 0.5, 3.0, 1.5]
    fed, given, rows = predictions(Guidance(scales), own)
    assert rows == [6 if scale > 1 else 3 for scale in scales]
    for i, scale in enumerate(scales):
        positive, negative = outputs(fed[i], own.timesteps[i])
        expected = negative + max(scale, 1) * (positive - negative)
        np.testing.assert_allclose(given[i], expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_projection_needs_an_output_that_determines_x0() -> None:
    """Clipped, epsilon is allowed from pure noise; but no difference of two x0 comes out of it."""
    own = sampler(clip_sample=True, rescale_betas_zero_snr=True, timestep_spacing="trailing", steps_offset=0)
    with pytest.raises(ArgumentError, match="does not determine x0"):
        Guidance(projection=Projection()).scales(own)


# Through the pipeline and the command line, with the tiny package


@pytest.fixture(scope="module")
def pipe(exported_package: Path) -> TextToImage:
    return TextToImage.load(exported_package, device="cpu")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The component and number of rows of every call of a graph."""
    seen: list[tuple[str, int]] = []
    original = Graph.__call__

    def call(self: Graph, arrays: Any, *, release: bool = False) -> dict[str, np.ndarray]:
        seen.append((self.name, max(array.shape[0] for array in arrays.values() if array.ndim > 1)))
        return original(self, arrays, release=release)

    monkeypatch.setattr(Graph, "__call__", call)
    return seen


def expected_rows(pipe: TextToImage, name: str, steps: int, interval: tuple[float, float], images: int) -> list[int]:
    config = pipe.family.scheduler_config(pipe.package.scheduler_config(), name)
    levels = Sampler.from_config(config, num_inference_steps=steps).noise_levels
    rows = [2 * images if interval[0] < level <= interval[1] else images for level in levels]
    assert set(rows) == {images, 2 * images}
    return rows


def test_the_denoiser_of_a_package_runs_at_batch_n_outside_the_interval(
    pipe: TextToImage, calls: list[tuple[str, int]]
) -> None:
    out = pipe(["a", "b"], num_inference_steps=7, seed=1, scheduler="euler", guidance_interval=(0.28, 5.42))
    rows = [rows for name, rows in calls if name == "unet"]
    assert rows == expected_rows(pipe, "euler", 7, (0.28, 5.42), 2)
    everywhere = pipe(["a", "b"], num_inference_steps=7, seed=1, scheduler="euler")
    assert np.abs(out.latents - everywhere.latents).max() > 0.01


def test_the_command_line_reaches_the_interval(
    pipe: TextToImage,
    package: Path,
    tmp_path: Path,
    calls: list[tuple[str, int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = tmp_path / "one.png", tmp_path / "two.png"
    command = ["generate", package, "a fox", "--steps", 6, "--scheduler", "euler", "--seed", 3, "--negative", "owl"]
    options = ["--guidance-interval", "0.28,5.42", "--guidance-rescale", "0.7", "--device", "cpu"]
    assert run(*command, *options, "--out", first, capsys=capsys)[0] == 0
    rows = [rows for name, rows in calls if name == "unet"]
    assert rows == expected_rows(pipe, "euler", 6, (0.28, 5.42), 1)
    settings = read_settings(first)
    assert (settings.guidance_interval, settings.guidance_rescale) == ([0.28, 5.42], 0.7)
    assert run("generate", package, "--from-image", first, "--out", second, capsys=capsys)[0] == 0
    np.testing.assert_array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))
    assert read_settings(second) == settings
    assert [rows for name, rows in calls if name == "unet"] == 2 * rows


def test_a_negative_prompt_that_is_never_used_is_not_encoded(pipe: TextToImage, calls: list[tuple[str, int]]) -> None:
    def encoded(**arguments: Any) -> int:
        calls.clear()
        pipe("a", negative_prompt="b", num_inference_steps=2, seed=0, scheduler="euler", **arguments)
        return sum(rows for name, rows in calls if name == "text_encoder")

    assert encoded() == 2
    assert encoded(guidance_interval=(0, 0.0001)) == 1
    assert encoded(guidance_scale=[1.0, 0.5]) == 1
    assert encoded(guidance_scale=[1.0, 1.5]) == 2


def test_a_guided_image_is_the_same_alone_and_in_a_batch(pipe: TextToImage) -> None:
    arguments: dict[str, Any] = {
        "num_inference_steps": 4,
        "scheduler": "euler",
        "guidance_rescale": 0.7,
        "guidance_interval": (0.28, 20),
        "guidance_projection": Projection(0.2, 9.0),
    }
    batch = pipe(["a", "b", "c"], seed=5, **arguments)
    np.testing.assert_array_equal(pipe("b", seed=6, **arguments).latents[0], batch.latents[1])


def test_a_graph_of_fixed_batch_takes_an_interval_too(static_package: Path) -> None:
    """The graph runs with its two rows, and one is used."""
    pipe = TextToImage.load(static_package, device="cpu")
    arguments: dict[str, Any] = {"num_inference_steps": 3, "seed": 0, "scheduler": "euler"}
    none = pipe("a", guidance_scale=1.0, **arguments).latents
    np.testing.assert_array_equal(pipe("a", guidance_interval=(0, 0.0001), **arguments).latents, none)
    assert np.abs(pipe("a", guidance_interval=(0.28, 5.42), **arguments).latents - none).max() > 0.01


@pytest.fixture(scope="module")
def theirs(checkpoint: Path) -> Callable[..., np.ndarray]:
    """Final latents of diffusers with one of its schedulers."""
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    own = pipe.scheduler.config

    def latents(scheduler: Any, **arguments: Any) -> np.ndarray:
        pipe.scheduler = scheduler.from_config(own)
        generator = torch.Generator("cpu").manual_seed(SEED)
        made = pipe("a red fox", generator=generator, output_type="latent", **arguments)
        return np.asarray(made.images)

    return latents


@pytest.mark.parametrize(
    ("name", "scheduler", "arguments"),
    [
        ("euler", EulerDiscreteScheduler, {"num_inference_steps": 5, "guidance_rescale": 0.7}),
        ("ddim", DDIMScheduler, {"num_inference_steps": 5, "eta": 0.6}),
        ("euler", EulerDiscreteScheduler, {"timesteps": [900, 600, 333, 40]}),
        ("euler", EulerDiscreteScheduler, {"sigmas": [12.0, 4.0, 1.5, 0.5, 0.1, 0.0]}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_the_image_is_that_of_diffusers(
    pipe: TextToImage,
    theirs: Callable[..., np.ndarray],
    tmp_path: Path,
    name: str,
    scheduler: Any,
    arguments: dict[str, Any],
) -> None:
    out = pipe("a red fox", seed=SEED, scheduler=name, **arguments)
    np.testing.assert_allclose(out.latents, theirs(scheduler, **arguments), atol=LATENTS_TOLERANCE, rtol=0)
    plain = pipe("a red fox", seed=SEED, scheduler=name, num_inference_steps=5)
    assert np.abs(out.latents - plain.latents).max() > 0.01, "the arguments changed nothing"
    out.images[0].save(tmp_path / "fox.png")
    again = pipe(**read_settings(tmp_path / "fox.png").arguments())
    np.testing.assert_array_equal(again.latents, out.latents)


def test_settings_hold_all_values_in_use(pipe: TextToImage, tmp_path: Path) -> None:
    out = pipe(
        "a",
        scheduler="euler",
        timesteps="ays_sd15",
        guidance_scale=np.linspace(2, 4, 10),  # type: ignore[arg-type]  # any sequence will do
        guidance_interval=(0.1, 9),
        guidance_projection=Projection(0.1),
        seed=1,
    )
    out.images[0].save(tmp_path / "a.png")
    settings = read_settings(tmp_path / "a.png")
    assert settings.timesteps == "ays_sd15"
    assert settings.num_inference_steps == 10
    assert settings.guidance_projection == [0.1, 15.0, -0.5]
    np.testing.assert_array_equal(pipe(**settings.arguments()).latents, out.latents)


def test_a_short_name_is_kept_with_the_options_that_it_stands_for(pipe: TextToImage, tmp_path: Path) -> None:
    out = pipe("a", scheduler="dpmpp_2m", num_inference_steps=3, seed=1)
    out.images[0].save(tmp_path / "a.png")
    assert read_settings(tmp_path / "a.png").arguments()["scheduler"] == "dpmpp_2m"


def test_settings_of_the_first_version_are_read(pipe: TextToImage) -> None:
    out = pipe("a", num_inference_steps=3, seed=1)
    stored = json.loads(out.images[0].info["triptych"])
    new = {"guidance_rescale", "guidance_interval", "guidance_projection", "eta", "timesteps", "sigmas"}
    assert new <= stored.keys()
    old = Settings.from_json(json.dumps({key: value for key, value in stored.items() if key not in new}))
    assert old == Settings.from_json(json.dumps(stored))
    np.testing.assert_array_equal(pipe(**old.arguments()).latents, out.latents)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"guidance_scale": "7"}, ArgumentError, "guidance_scale='7'; allowed: a number, or one for each"),
        ({"guidance_scale": float("nan")}, ArgumentError, "guidance_scale=nan; allowed"),
        ({"guidance_scale": [2.0, 3.0]}, ArgumentError, "guidance_scale has 2 values; .* has 3 denoiser calls"),
        ({"guidance_rescale": 1.2}, ArgumentError, "guidance_rescale=1.2; allowed: a number from 0 to 1"),
        ({"guidance_rescale": None}, ArgumentError, "guidance_rescale=None; allowed"),
        ({"guidance_interval": (5.42, 0.28)}, ArgumentError, r"guidance_interval=\(5.42, 0.28\); allowed: two noise"),
        ({"guidance_interval": (0.28,)}, ArgumentError, "guidance_interval=.*0 <= low < high"),
        ({"guidance_interval": 3}, ArgumentError, "guidance_interval=3; allowed"),
        ({"guidance_interval": (-1, 3)}, ArgumentError, "guidance_interval=.*0 <= low < high"),
        ({"guidance_interval": (0, float("nan"))}, ArgumentError, "guidance_interval=.*0 <= low < high"),
        ({"guidance_projection": (0, 15)}, ArgumentError, r"guidance_projection=\(0, 15\); allowed: \(eta, norm"),
        ({"guidance_projection": (0, -1, 0)}, ArgumentError, "guidance_projection"),
        ({"guidance_projection": (0, 15, 1)}, ArgumentError, "guidance_projection"),
        ({"eta": 0.5}, SamplerError, "takes no eta"),
        ({"eta": 2, "scheduler": "ddim"}, SamplerError, "eta=2"),
        ({"timesteps": "ays_sd16"}, SamplerError, "ays_sd15"),
        ({"sigmas": [1.0, 2.0]}, SamplerError, "sigmas must decrease"),
    ],
    ids=str,
)
def test_unsupported_arguments_are_one_line_before_anything_is_computed(
    pipe: TextToImage,
    calls: list[tuple[str, int]],
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        pipe(**{"prompt": "x", "num_inference_steps": 3, "scheduler": "euler", **arguments})
    assert "\n" not in str(caught.value)
    assert calls == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--guidance-interval", "5"], "--guidance-interval 5; allowed: two noise levels"),
        (["--guidance-interval", "5,x"], "'5,x' is not a list of comma-separated numbers"),
        (["--guidance-rescale", "2"], "--guidance-rescale 2.0; allowed: a number from 0 to 1"),
        (["--guidance", "2,3"], "--guidance has 2 values"),
        (["--guidance", "strong"], "'strong' is not a list of comma-separated numbers"),
        (["--eta", "2", "--scheduler", "ddim"], "--eta 2"),
        (["--timesteps", "ays_sd16", "--scheduler", "euler"], "ays_sd15"),
        (["--sigmas", "1,2", "--scheduler", "euler"], "--sigmas must decrease"),
        (["--sigmas", "3,2,1", "--timesteps", "9,8", "--scheduler", "euler"], "exclude each other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_options_are_one_line_and_status_2(
    package: Path,
    calls: list[tuple[str, int]],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert message in refused("generate", package, "a fox", "--steps", 3, *arguments, capsys=capsys)
    assert calls == []

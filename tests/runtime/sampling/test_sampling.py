"""The contract of the sampling package: names, grids by hand, refusals, and that nothing is shared or overwritten."""

import copy
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import diffusers
import numpy as np
import pytest
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

from tests.support.sampling import SHAPE, drawing, network, unit_noise
from triptych.runtime import sampling
from triptych.runtime.errors import ArgumentError, SamplerError
from triptych.runtime.sampling import Sampler, denoise, with_scheduler
from triptych.runtime.sampling.options import declared
from triptych.runtime.sampling.registry import FOREIGN_OPTIONS, SCHEDULERS, UNSUPPORTED, find
from triptych.runtime.sampling.scheduler import Scheduler

CLASS_NAMES = [scheduler.class_name for scheduler in SCHEDULERS]
SHORT_NAMES = [name for scheduler in SCHEDULERS for name in scheduler.short_names]
SD15 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}


def run(config: dict[str, Any], steps: int = 5, **options: Any) -> np.ndarray:
    *_, last = denoise(network, unit_noise(), Sampler.from_config(config, steps, **options), drawing(2))
    return last.latents


def test_what_is_exported() -> None:
    assert sampling.__all__ == ["Sampler", "Step", "defaults", "denoise", "with_scheduler"]


# Lin et al. 2023, table 2, for 10 of 1000 timesteps
@pytest.mark.parametrize(
    ("spacing", "timesteps"),
    [
        ("leading", [900, 800, 700, 600, 500, 400, 300, 200, 100, 0]),
        ("linspace", [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]),
        ("trailing", [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]),
    ],
)
def test_spacings_by_hand(spacing: str, timesteps: list[int]) -> None:
    config = {"_class_name": "DDIMScheduler", "timestep_spacing": spacing, "clip_sample": False}
    sampler = Sampler.from_config(config, 10)
    assert sampler.timesteps.tolist() == timesteps
    assert sampler.timesteps.dtype == np.float64


@pytest.mark.parametrize(
    ("name", "timesteps"),
    [
        # leading with steps_offset 1; PLMS calls its second timestep twice
        ("ddim", [801, 601, 401, 201, 1]),
        ("pndm", [801, 601, 601, 401, 201, 1]),
        ("euler", [999, 749.25, 499.5, 249.75, 0]),
        ("dpmpp_2m", [999, 799, 599, 400, 200]),
    ],
)
def test_stable_diffusion_by_hand(name: str, timesteps: list[float]) -> None:
    assert Sampler.from_config(with_scheduler(SD15, name), 5).timesteps.tolist() == timesteps


def test_runge_kutta_start_by_hand() -> None:
    """Four calls for each of the first three steps (Liu et al. 2022, algorithm 2), then one a step."""
    sampler = Sampler.from_config(SD15 | {"skip_prk_steps": False, "steps_offset": 0}, 5)
    assert sampler.timesteps.tolist() == [800, 700, 700, 600, 600, 500, 500, 400, 400, 300, 300, 200, 200, 0]


def test_levels_of_stable_diffusion() -> None:
    """sigma_max 14.6146 and sigma_min 0.0292, as k-diffusion prints them for this model."""
    sampler = Sampler.from_config(with_scheduler(SD15, "euler"), 30)
    assert sampler.noise_levels[[0, -1]] == pytest.approx([14.6146, 0.0292], abs=1e-4)
    np.testing.assert_allclose(sampler.alphas**2 + sampler.sigmas**2, 1)
    assert len(sampler) == len(sampler.timesteps) == 30
    assert not sampler.stochastic
    assert sampler.order == 1


def test_steps_tell_what_happened() -> None:
    sampler = Sampler.from_config(SD15, 4)
    steps = list(denoise(network, unit_noise(), sampler))
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert [step.timestep for step in steps] == sampler.timesteps.tolist()
    for step in steps:
        assert step.latents.shape == step.denoised.shape == SHAPE
        assert step.latents.dtype == step.denoised.dtype == np.float32
        assert step.total == len(sampler)


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_steps_keep_their_arrays_and_the_network_may_reuse_its_own(name: str) -> None:
    output = np.empty(SHAPE, np.float32)

    def reusing(latents: np.ndarray, timestep: float) -> np.ndarray:
        output[:] = network(latents, timestep)
        return output

    sampler = Sampler.from_config(with_scheduler(SD15 | {"prediction_type": "v_prediction"}, name), 6)
    noise = unit_noise()
    kept = [(step, step.latents.copy(), step.denoised.copy()) for step in denoise(reusing, noise, sampler, drawing(4))]
    for (step, latents, denoised), fresh in zip(kept, denoise(network, noise, sampler, drawing(4)), strict=True):
        np.testing.assert_array_equal(step.latents, latents)
        np.testing.assert_array_equal(step.denoised, denoised)
        np.testing.assert_array_equal(fresh.latents, latents)
    np.testing.assert_array_equal(noise, unit_noise())


def test_latents_are_changed_between_steps_by_a_function_alone() -> None:
    fed, given = [], []

    def recording(latents: np.ndarray, timestep: float) -> np.ndarray:
        fed.append(latents.copy())
        return network(latents, timestep)

    def after_step(latents: np.ndarray, index: int) -> np.ndarray:
        given.append(index)
        return np.full_like(latents, index + 5)

    for step in denoise(recording, unit_noise(), Sampler.from_config(SD15, 3), after_step=after_step):
        assert (step.latents == step.index + 5).all()
        with pytest.raises(ValueError, match="read-only"):
            step.latents[:] = 0
    assert given == [0, 1, 2, 3]  # PNDM begins with a call more
    assert (fed[2] == 6).all()


def test_nothing_runs_before_it_is_asked_for_or_after_the_caller_leaves() -> None:
    calls = []

    def counting(latents: np.ndarray, timestep: float) -> np.ndarray:
        calls.append(timestep)
        return network(latents, timestep)

    steps = denoise(counting, unit_noise(), Sampler.from_config(SD15, 10))
    assert calls == []
    next(steps)
    next(steps)
    assert calls == [901, 801]


def test_threads_and_repeats_share_a_sampler() -> None:
    """diffusers keeps history on its schedulers, and leaks it from one image into the next (its issue 8711)."""
    sampler = Sampler.from_config(SD15, 12)
    results = []
    with ThreadPoolExecutor(4) as threads:
        for steps in threads.map(lambda seed: list(denoise(network, unit_noise(seed), sampler)), [1, 2, 1, 2]):
            results.append(steps[-1].latents)
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])
    with pytest.raises(ValueError, match="read-only"):
        sampler.timesteps[0] = 0


def test_images_of_a_batch_are_those_made_alone() -> None:
    sampler = Sampler.from_config(with_scheduler(SD15, "dpmpp_2m") | {"thresholding": True}, 7)
    *_, both = denoise(network, unit_noise(), sampler)
    for k in range(2):
        *_, alone = denoise(network, unit_noise()[k : k + 1], sampler)
        np.testing.assert_allclose(alone.latents[0], both.latents[k], rtol=0, atol=1e-6)


def test_noise_is_drawn_where_it_counts() -> None:
    ddim = with_scheduler(SD15, "ddim")
    assert Sampler.from_config(ddim, 5, eta=1.0).stochastic
    assert not np.array_equal(run(ddim, eta=0.5), run(ddim))
    with pytest.raises(SamplerError, match=r"DDIMScheduler draws noise.*give `draw`"):
        denoise(network, unit_noise(), Sampler.from_config(ddim, 5, eta=1.0))


def test_an_output_of_another_shape_is_refused() -> None:
    sampler = Sampler.from_config(SD15, 5)
    with pytest.raises(ArgumentError, match=r"\[2, 6, 5, 7\]; its input \[2, 3, 5, 7\]"):
        next(denoise(lambda x, t: np.concatenate([x, x], axis=1), unit_noise(), sampler))


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_option_of_diffusers_is_known_with_its_default(name: str) -> None:
    (ours,) = (scheduler.options for scheduler in SCHEDULERS if scheduler.class_name == name)
    theirs = inspect.signature(getattr(diffusers, name).__init__).parameters
    # diffusers' classes that do not declare these read them, where a configuration has them
    undeclared = {"sigma_min", "sigma_max"} - set(theirs)
    assert set(ours) - undeclared == set(theirs) - {"self"}
    for key, option in ours.items():
        if key not in undeclared and option.allowed != "anything":
            default = theirs[key].default
            assert option.default == (tuple(default) if isinstance(default, list) else default), key


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=CLASS_NAMES)
def test_every_option_of_a_group_is_one_of_its_schedulers(scheduler: Scheduler) -> None:
    options = scheduler.options_class()
    assert {name: getattr(options, name) for name in scheduler.options} == {
        name: option.default for name, option in scheduler.options.items()
    }
    assert options.replaced(num_train_timesteps=7).num_train_timesteps == 7
    for base in scheduler.options_class.__mro__[:-1]:
        assert declared(base).keys() <= scheduler.options.keys(), base
    with pytest.raises(AttributeError, match="num_train_timesteps cannot be changed"):
        options.num_train_timesteps = 5


def test_options_of_other_diffusers_schedulers_pass() -> None:
    for member in KarrasDiffusionSchedulers:
        assert set(inspect.signature(getattr(diffusers, member.name).__init__).parameters) <= FOREIGN_OPTIONS | {
            "self",
            "args",
            "kwargs",
        }


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_another_scheduler_of_the_same_model(name: str) -> None:
    before = copy.deepcopy(SD15)
    config = with_scheduler(SD15, name)
    assert before == SD15
    assert config["_class_name"] in CLASS_NAMES
    assert config["beta_start"] == SD15["beta_start"]
    assert "timestep_spacing" not in config  # the file does not say, so the scheduler's own default holds
    assert config == with_scheduler(SD15, config["_class_name"]) | dict(find(name)[1])


def test_values_that_were_only_defaults_are_dropped() -> None:
    recorded = SD15 | {"timestep_spacing": "leading", "_use_default_values": ["timestep_spacing"]}
    assert "timestep_spacing" not in with_scheduler(recorded, "euler")
    np.testing.assert_array_equal(run(recorded), run(SD15))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "EulerDiscretScheduler"}, "unknown scheduler 'EulerDiscretScheduler'; did you mean Euler"),
        ({"_class_name": "dpmp_2m"}, "unknown scheduler 'dpmp_2m'; did you mean dpmpp_2m"),
        ({"_class_name": "ScoreSdeVeScheduler"}, "ScoreSdeVeScheduler is not supported: .* not linear"),
        ({"_class_name": None}, "unknown scheduler None"),
        ({"beta_strat": 0.1}, "PNDMScheduler has no option 'beta_strat'; did you mean beta_start"),
        ({"beta_schedule": "cosine"}, 'beta_schedule="cosine" is not supported; allowed: linear, scaled_linear'),
        ({"beta_start": "small"}, 'beta_start="small" is not supported; allowed: numbers from 0'),
        ({"beta_start": float("nan")}, "beta_start=NaN"),
        ({"beta_start": True}, "beta_start=true"),
        ({"beta_end": 1.5}, "must decrease and stay between 0 and 1"),
        ({"beta_start": -0.1}, "beta_start=-0.1 is not supported; allowed: numbers from 0"),
        ({"num_train_timesteps": 0}, "num_train_timesteps=0 is not supported; allowed: whole numbers from 2"),
        ({"num_train_timesteps": 1000.0}, "num_train_timesteps=1000.0"),
        ({"trained_betas": [0.1, 0.2]}, r"trained_betas has shape \[2\]; num_train_timesteps=1000 needs \[1000\]"),
        ({"trained_betas": "0.1"}, 'trained_betas="0.1" is not supported; allowed: null, a list of numbers'),
        ({"prediction_type": "sample"}, 'prediction_type="sample" is not supported; allowed: epsilon, v_prediction'),
        ({"prediction_type": ["epsilon"]}, "prediction_type"),
        ({"timestep_spacing": "karras"}, "allowed: leading, linspace, trailing"),
        ({"steps_offset": -1}, "steps_offset=-1 is not supported; allowed: whole numbers from 0"),
        ({"skip_prk_steps": 1}, "skip_prk_steps=1 is not supported; allowed: true, false"),
        (
            {"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": True, "use_karras_sigmas": True},
            "use_karras_sigmas and use_beta_sigmas exclude each other",
        ),
        ({"_class_name": "EulerAncestralDiscreteScheduler", "prediction_type": "sample"}, 'prediction_type="sample"'),
        ({"_class_name": "EulerDiscreteScheduler", "sigma_min": -1}, "sigma_min=-1 is not supported"),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction"},
            "prediction_type=flow_prediction needs use_flow_sigmas=true",
        ),
        ({"_class_name": "DPMSolverMultistepScheduler", "use_dynamic_shifting": True}, "use_dynamic_shifting=true"),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "use_beta_sigmas": True, "use_flow_sigmas": True},
            "use_beta_sigmas and use_flow_sigmas exclude each other",
        ),
        ({"_class_name": "DPMSolverMultistepScheduler", "variance_type": "learned"}, 'variance_type="learned"'),
        ({"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction"}, "flow_prediction"),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 4}, "whole numbers from 1 to 3"),
        ({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}, "final_sigmas_type sigma_min"),
        (
            {"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
            "prediction_type=epsilon says nothing about x0",
        ),
    ],
)
def test_configurations_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplerError, match=message) as caught:
        Sampler.from_config(SD15 | changes, 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [None, {}, "ddim", []])
def test_what_is_no_configuration_is_refused(config: Any) -> None:
    with pytest.raises(SamplerError, match="_class_name"):
        Sampler.from_config(config, 5)
    with pytest.raises(SamplerError, match="_class_name"):
        with_scheduler(config, "ddim")


def test_an_unknown_name_is_refused_with_its_neighbours() -> None:
    with pytest.raises(SamplerError, match="unknown scheduler 'eulr'; did you mean euler"):
        with_scheduler(SD15, "eulr")


@pytest.mark.parametrize("steps", [0, -1, 2.5, "20", None, True, float("nan")])
@pytest.mark.parametrize("name", SHORT_NAMES)
def test_steps_that_are_no_count_are_refused(name: str, steps: Any) -> None:
    with pytest.raises(SamplerError, match=r"num_inference_steps=.* must be a whole number, 1 or more"):
        Sampler.from_config(with_scheduler(SD15, name), steps)


@pytest.mark.parametrize(
    ("name", "changes", "steps"),
    [
        ("ddim", {}, 1001),
        ("ddim", {}, 1000),  # steps_offset 1: would begin at timestep 1000
        ("pndm", {}, 1001),
        ("pndm", {"timestep_spacing": "linspace"}, 1001),
        ("pndm", {"skip_prk_steps": False}, 3),
        ("euler", {"timestep_spacing": "leading"}, 1001),
        ("dpmpp_2m", {}, 1000),
        ("dpmpp_2m", {"timestep_spacing": "leading"}, 999),
    ],
)
def test_more_or_fewer_steps_than_the_schedule_allows(name: str, changes: dict[str, Any], steps: int) -> None:
    with pytest.raises(SamplerError, match=f"num_inference_steps={steps}"):
        Sampler.from_config(with_scheduler(SD15, name) | changes, steps)


def test_steps_may_be_numpy_integers_and_as_many_as_fit() -> None:
    thousand: Any = np.int64(1000)
    assert len(Sampler.from_config(with_scheduler(SD15, "ddim") | {"steps_offset": 0}, thousand)) == 1000
    assert len(Sampler.from_config(with_scheduler(SD15, "euler"), 1500)) == 1500  # its timesteps are not whole numbers


@pytest.mark.parametrize(
    ("name", "eta", "message"), [("ddim", 1.5, "0 to 1"), ("ddim", -1, "0 to 1"), ("euler", 1, "no eta")]
)
def test_eta_that_is_refused(name: str, eta: float, message: str) -> None:
    with pytest.raises(SamplerError, match=message):
        Sampler.from_config(with_scheduler(SD15, name), 5, eta=eta)


def test_no_table_for_these_classes_of_diffusers() -> None:
    """Every scheduler that diffusers exports is either here, or refused with a reason."""
    known = {name for name in dir(diffusers) if name.endswith("Scheduler") and name != "SchedulerMixin"}
    assert known - set(UNSUPPORTED) == set(CLASS_NAMES)
    for name, reason in UNSUPPORTED.items():
        with pytest.raises(SamplerError, match=f"^{name} is not supported: ") as caught:
            with_scheduler(SD15, name)
        assert reason in str(caught.value)


EULER = with_scheduler(SD15, "euler")
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler"}


@pytest.mark.parametrize(
    ("config", "asked", "message"),
    [
        (EULER, {"timesteps": [999, 500, 500]}, "timesteps must decrease; 500 is followed by 500"),
        (EULER, {"timesteps": [1, 999]}, "timesteps must decrease; 1 is followed by 999"),
        (EULER, {"timesteps": [1000, 1]}, "timesteps begin at 1000; the last training timestep is 999"),
        (EULER, {"timesteps": [5, -1]}, "timesteps must be finite and not below 0"),
        (EULER, {"timesteps": [float("nan")]}, "timesteps must be finite"),
        (EULER, {"timesteps": []}, r"timesteps has shape \[0\]; it must be a list of 1 numbers or more"),
        (EULER, {"timesteps": [[1, 2]]}, r"timesteps has shape \[1, 2\]"),
        (EULER, {"timesteps": "ays_sd16"}, "timesteps='ays_sd16' is not a grid; did you mean ays_sd15"),
        (EULER, {"timesteps": "ays_svd"}, "timesteps='ays_svd' is not a grid; did you mean ays_sd"),
        (EULER, {"timesteps": ["a"]}, "must be a list of numbers, or a name"),
        (EULER, {"sigmas": [1.0]}, r"sigmas has shape \[1\]; it must be a list of 2"),
        (EULER, {"sigmas": [1, 2, 0]}, "sigmas must decrease; 1 is followed by 2"),
        (EULER, {"sigmas": [2, 1], "timesteps": [5]}, "timesteps and sigmas exclude each other"),
        (EULER | {"use_karras_sigmas": True}, {"timesteps": [5]}, "timesteps exclude use_karras_sigmas"),
        (SD15, {"timesteps": [5]}, "PNDMScheduler takes no timesteps; it takes none of"),
        (with_scheduler(SD15, "heun"), {"sigmas": [5, 0]}, "HeunDiscreteScheduler takes no sigmas; it takes timesteps"),
        (EULER, {"mu": 1.0}, "EulerDiscreteScheduler takes no mu"),
        (FLOW, {"mu": 1.0}, "mu does nothing without use_dynamic_shifting"),
        (FLOW | {"use_dynamic_shifting": True}, {}, "use_dynamic_shifting needs mu"),
        (FLOW | {"use_dynamic_shifting": True}, {"mu": "1"}, "mu='1' is out of range"),
        (FLOW, {"sigmas": [1.5, 1]}, "sigma begins at 1.5; pure noise is 1"),
        (EULER, {"strength": 0}, "strength=0 is out of range; allowed: above 0, to 1"),
        (EULER, {"strength": 1.2}, "strength=1.2 is out of range"),
        (EULER, {"strength": None}, "strength=None is out of range"),
        (EULER, {"strength": 0.1}, "strength=0.1 leaves none of 5 steps; allowed: 0.2 and more"),
    ],
)
def test_runs_that_are_refused(config: dict[str, Any], asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplerError, match=message) as caught:
        Sampler.from_config(config, 5, **asked)
    assert "\n" not in str(caught.value)


def test_a_given_grid_counts_for_the_number_of_steps() -> None:
    assert Sampler.from_config(EULER, 50, timesteps=[900, 500, 20]).timesteps.tolist() == [900, 500, 20]
    assert Sampler.from_config(EULER, sigmas=(14.0, 2.0, 0.0)).noise_levels == pytest.approx([14, 2])
    array: Any = np.array([1.0, 0.5])
    assert Sampler.from_config(FLOW, sigmas=array).sigmas.tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("name", "timesteps"),
    [
        ("ddim", [601, 401, 201, 1]),
        ("euler", [749.25, 499.5, 249.75, 0]),
        ("heun", [749.25, 499.5, 499.5, 249.75, 249.75, 0, 0]),
    ],
)
def test_strength_leaves_out_the_first_steps(name: str, timesteps: list[float]) -> None:
    """int(0.85 x 5) of 5 steps are run."""
    assert Sampler.from_config(with_scheduler(SD15, name), 5, strength=0.85).timesteps.tolist() == timesteps


@pytest.mark.parametrize("name", ["LCMScheduler", "TCDScheduler"])
@pytest.mark.parametrize("distilled", [50, 37])
def test_strength_can_shorten_the_schedule_of_the_distillation(name: str, distilled: int) -> None:
    config = {**with_scheduler(SD15, name), "original_inference_steps": distilled}
    reference = getattr(diffusers, name).from_config(config)
    for strength in (0.05, 0.3, 0.57, 0.8, 1.0):
        for steps in range(1, int(distilled * strength) + 1):
            reference.set_timesteps(steps, strength=strength)
            sampler = Sampler.from_config(config, steps, strength=strength, strength_in_schedule=True)
            assert sampler.timesteps.tolist() == reference.timesteps.tolist()
        leaves = f", of which strength={strength:g} leaves {steps}" if strength < 1 else ""
        with pytest.raises(SamplerError, match=rf"distilled on {distilled} \(original_inference_steps\){leaves}$"):
            Sampler.from_config(config, steps + 1, strength=strength, strength_in_schedule=True)
    # given timesteps are no such schedule, and other schedulers have none
    given: dict[str, Any] = {"timesteps": [899, 599, 299, 99], "strength": 0.5}
    assert Sampler.from_config(config, **given, strength_in_schedule=True).timesteps.tolist() == [299, 99]
    first, second = (
        Sampler.from_config(SD15, 10, strength=0.5, strength_in_schedule=each).timesteps for each in (True, False)
    )
    np.testing.assert_array_equal(first, second)


def test_noise_is_added_to_an_image_up_to_the_level_of_the_first_call() -> None:
    sampler = Sampler.from_config(EULER, 10, strength=0.6)
    image, noise = unit_noise(1), unit_noise(2)
    fed: list[np.ndarray] = []

    def predict(x: np.ndarray, t: float) -> np.ndarray:
        fed.append(x.copy())
        return x

    next(denoise(predict, noise, sampler, image_latents=image))
    np.testing.assert_allclose(fed[0], sampler.alphas[0] * image + sampler.sigmas[0] * noise, rtol=1e-5, atol=1e-6)
    with pytest.raises(SamplerError, match=r"strength=0.6 begins in the middle; give `image_latents`"):
        denoise(network, noise, sampler)
    with pytest.raises(ArgumentError, match=r"image_latents have shape \[1, 3, 5, 7\]; the noise \[2, 3, 5, 7\]"):
        denoise(network, noise, sampler, image_latents=image[:1])


def test_eta_left_out_is_that_of_the_step_of_diffusers() -> None:
    for scheduler in SCHEDULERS:
        if "eta" in scheduler.takes:
            step = inspect.signature(getattr(diffusers, scheduler.class_name).step)
            assert scheduler.eta == step.parameters["eta"].default
            config = with_scheduler(SD15, scheduler.class_name)
            np.testing.assert_array_equal(run(config), run(config, eta=scheduler.eta))

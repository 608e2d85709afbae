"""Names of schedulers as people type them, and options that a caller sets."""

import re
import string
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.runtime import TextToImage
from triptych.runtime.errors import SamplerError, TriptychWarning
from triptych.runtime.families.family import STABLE_DIFFUSION
from triptych.runtime.image.settings import Settings
from triptych.runtime.sampling import Sampler, with_scheduler
from triptych.runtime.sampling.configuration import kind_of
from triptych.runtime.sampling.listing import names, names_for
from triptych.runtime.sampling.names import ALIASES, SUFFIXES, fold
from triptych.runtime.sampling.registry import SCHEDULERS, find

T = TypeVar("T")

SD15 = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "steps_offset": 1,
}
KARRAS = {"use_karras_sigmas": True, "use_exponential_sigmas": False, "use_beta_sigmas": False}
CLASS_NAMES = [scheduler.class_name for scheduler in SCHEDULERS]


def attempt(call: Callable[[], T]) -> tuple[T | None, str]:
    """The result, or None and the message of the refusal."""
    try:
        return call(), ""
    except SamplerError as error:
        return None, str(error)


@pytest.mark.parametrize(
    ("name", "short", "options"),
    [
        ("Euler", "euler", {}),
        ("Euler a", "euler_a", {}),
        ("euler_ancestral", "euler_a", {}),
        ("k_euler", "euler", {}),
        ("sample_euler_ancestral", "euler_a", {}),
        ("EulerAncestralDiscrete", "euler_a", {}),
        ("DPM++ 2M", "dpmpp_2m", {}),
        ("DPM++ 2M Karras", "dpmpp_2m", KARRAS),
        ("dpmpp_2m_karras", "dpmpp_2m", KARRAS),
        ("DPM++ 2M SDE Karras", "dpmpp_2m_sde", KARRAS),
        ("dpmpp_2m_sde", "dpmpp_2m_sde", {}),
        ("DPM++ 3M SDE", "dpmpp_3m", {"algorithm_type": "sde-dpmsolver++"}),
        ("DPM++ 2M SGM Uniform", "dpmpp_2m", {"timestep_spacing": "trailing"}),
        ("DPM2 a", "dpm2_a", {}),
        ("k_dpm_2_ancestral", "dpm2_a", {}),
        ("KDPM2", "dpm2", {}),
        ("Heun", "heun", {}),
        ("LMS Karras", "lms", KARRAS),
        ("UniPC", "unipc", {}),
        ("uni_pc", "unipc", {}),
        ("DDIM", "ddim", {}),
        ("LCM", "lcm", {}),
        ("PNDM", "pndm", {}),
        ("PLMS", "pndm", {"skip_prk_steps": True}),
        ("eulerdiscretescheduler", "euler", {}),
        ("Euler-Beta", "euler", KARRAS | {"use_karras_sigmas": False, "use_beta_sigmas": True}),
    ],
)
def test_names_of_other_tools(name: str, short: str, options: dict[str, Any]) -> None:
    scheduler, implied = find(short)
    found, stands_for = find(name)
    assert found is scheduler
    assert dict(stands_for) == dict(implied) | options
    assert len(Sampler.from_config(with_scheduler(SD15, name), 20)) > 0


@given(st.sampled_from([*names(), *CLASS_NAMES]), st.data())
def test_case_spaces_and_symbols_do_not_count(name: str, data: st.DataObject) -> None:
    separators = data.draw(st.lists(st.sampled_from(["", " ", "-", "_", "."]), min_size=len(name), max_size=len(name)))
    cases = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    spelled = "".join(
        (letter.upper() if upper else letter) + separator
        for letter, upper, separator in zip(name, cases, separators, strict=True)
    )
    assert find(spelled) == find(name)


def test_every_alias_builds_and_none_hides_another_name() -> None:
    folded = {fold(name) for name in (*names(), *CLASS_NAMES)}
    assert not folded & set(ALIASES)
    assert len(folded) == len({*names(), *CLASS_NAMES})
    for alias in ALIASES:
        for steps in (1, 2, 20, 21):
            assert len(Sampler.from_config(with_scheduler(SD15, alias), steps)) >= steps


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", names())
def test_a_suffix_sets_an_option_that_counts_or_is_refused(name: str, suffix: str) -> None:
    found, refusal = attempt(lambda: find(f"{name} {suffix}"))
    if found is None:
        assert re.search(r"has no option \w+; leave it out", refusal)
        return
    scheduler, options = found
    assert set(options) <= set(scheduler.options)
    assert dict(options).items() >= dict(SUFFIXES[suffix]).items()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DDIM Karras", "'DDIM Karras': DDIMScheduler has no option use_karras_sigmas; leave it out"),
        ("LCM SGM uniform", "LCMScheduler has no option timestep_spacing"),
        ("Eulr", "unknown scheduler 'Eulr'; did you mean euler"),
        ("Karras", "unknown scheduler 'Karras'; allowed: "),
        ("dpmsolver sde", "DPMSolverSDEScheduler is not supported: its noise comes from a Brownian tree"),
        ("", "unknown scheduler ''; allowed: "),
    ],
)
def test_names_that_are_refused(name: str, message: str) -> None:
    with pytest.raises(SamplerError, match=message):
        with_scheduler(SD15, name)


@given(st.text() | st.text(string.ascii_letters + " +_-", max_size=12))
def test_any_name_is_found_or_refused(name: str) -> None:
    found, refusal = attempt(lambda: find(name))
    assert found is not None or len(refusal.splitlines()) == 1


FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
EDM = {"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_data": 0.5}


@pytest.mark.parametrize("own", [SD15, FLOW, EDM, SD15 | {"_class_name": "DPMSolverSDEScheduler"}])
def test_schedulers_of_other_kinds_of_models_are_refused_and_not_offered(own: dict[str, Any]) -> None:
    offered = names_for(own)
    assert offered
    for name in names():
        if name in offered:
            config = STABLE_DIFFUSION.scheduler_config(own, name)
            assert kind_of(config) == kind_of(own)
            Sampler.from_config(config, 20)
        else:
            with pytest.raises(SamplerError, match=r"is for models of .*; allowed: \w+"):
                STABLE_DIFFUSION.scheduler_config(own, name)


def test_a_scheduler_of_the_caller_helps_where_the_packages_own_is_unknown() -> None:
    own = SD15 | {"_class_name": "MyOwnScheduler", "mystery": 3}
    with pytest.raises(SamplerError, match="unknown scheduler 'MyOwnScheduler'"):
        STABLE_DIFFUSION.scheduler_config(own, None)
    with pytest.warns(TriptychWarning, match="EulerDiscreteScheduler has no option 'mystery'.* left out"):
        config = STABLE_DIFFUSION.scheduler_config(own, "euler")
    expected = STABLE_DIFFUSION.scheduler_config(SD15, "euler")
    assert Sampler.from_config(config, 5).config == Sampler.from_config(expected, 5).config


def test_options_that_no_scheduler_has_are_left_out_with_a_warning() -> None:
    with pytest.warns(TriptychWarning, match="PNDMScheduler has no option 'mystery'"):
        config = STABLE_DIFFUSION.scheduler_config(SD15 | {"mystery": 3}, None)
    assert config == SD15
    with pytest.raises(SamplerError, match="has no option 'mystery'"):
        Sampler.from_config(SD15 | {"mystery": 3}, 5)


@pytest.mark.parametrize(
    ("stated", "prediction"),
    [
        ({"predict_epsilon": True}, "epsilon"),
        ({"predict_epsilon": False}, "sample"),
        ({"predict_epsilon": True, "prediction_type": "v_prediction"}, "v_prediction"),
    ],
)
def test_predict_epsilon_is_a_prediction_type(stated: dict[str, Any], prediction: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = STABLE_DIFFUSION.scheduler_config(SD15 | stated | {"_class_name": "DDIMScheduler"}, None)
    assert Sampler.from_config(config, 5).prediction == prediction


def test_predict_epsilon_is_true_or_false() -> None:
    with pytest.raises(SamplerError, match="predict_epsilon='yes' is not supported; allowed: true, false"):
        STABLE_DIFFUSION.scheduler_config(SD15 | {"predict_epsilon": "yes"}, None)


def test_options_of_the_caller_count_and_are_checked() -> None:
    recorded = SD15 | {"_class_name": "EulerDiscreteScheduler", "_use_default_values": ["use_karras_sigmas"]}
    config = STABLE_DIFFUSION.scheduler_config(recorded, None, {"use_karras_sigmas": True, "steps_offset": 3})
    options = Sampler.from_config(config, 5).config
    assert (options["use_karras_sigmas"], options["steps_offset"]) == (True, 3)
    with pytest.raises(
        SamplerError, match="EulerDiscreteScheduler has no option 'use_karas_sigmas'; did you mean use_k"
    ):
        STABLE_DIFFUSION.scheduler_config(recorded, None, {"use_karas_sigmas": True})
    with pytest.raises(SamplerError, match="has no option 'solver_order'"):
        STABLE_DIFFUSION.scheduler_config(recorded, None, {"solver_order": 2})
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    with pytest.raises(SamplerError, match="is for models of flow matching"):
        STABLE_DIFFUSION.scheduler_config(SD15, "dpmpp_2m", flow)
    assert STABLE_DIFFUSION.scheduler_config(FLOW, "dpmpp_2m", flow)["use_flow_sigmas"] is True


@pytest.mark.parametrize("names_of_defaults", ["all", [3], 3, {"a": 1}])
def test_recorded_defaults_are_a_list_of_names(names_of_defaults: Any) -> None:
    with pytest.raises(SamplerError, match="_use_default_values"):
        Sampler.from_config(SD15 | {"_use_default_values": names_of_defaults}, 5)


EXTREME = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**31, 10**400, 1e300, -1e300, 1e-300, float("inf"), float("nan"), 999, 1e6]),
    st.text(max_size=3),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


@given(st.sampled_from(SCHEDULERS), st.data())
def test_any_value_of_an_option_is_used_or_refused(scheduler: Any, data: st.DataObject) -> None:
    names_of_options = data.draw(st.lists(st.sampled_from(sorted(scheduler.options)), min_size=1, max_size=2))
    values = {name: data.draw(EXTREME) for name in names_of_options}
    sampler, refusal = attempt(lambda: Sampler.from_config({"_class_name": scheduler.class_name} | values, 3))
    assert np.isfinite(sampler.table.advance).all() if sampler else len(refusal.splitlines()) == 1


def test_an_image_is_that_of_its_settings_with_options(package: Path) -> None:
    pipe = TextToImage.load(package, device="cpu")
    options = {"use_karras_sigmas": np.True_, "steps_offset": np.int64(1)}
    first = pipe("a fox", num_inference_steps=3, seed=3, scheduler="DPM++ 2M", scheduler_options=options)
    settings = Settings.from_json(first.settings[0].to_json())
    assert settings.scheduler_options == {"use_karras_sigmas": True, "steps_offset": 1}
    again = pipe(**settings.arguments())
    np.testing.assert_array_equal(np.asarray(first.images[0]), np.asarray(again.images[0]))
    named = pipe("a fox", num_inference_steps=3, seed=3, scheduler="DPM++ 2M Karras")
    np.testing.assert_array_equal(np.asarray(first.images[0]), np.asarray(named.images[0]))
    assert named.settings[0].scheduler == "DPM++ 2M Karras"
    plain = pipe("a fox", num_inference_steps=3, seed=3, scheduler="DPM++ 2M")
    assert (np.asarray(first.images[0]) != np.asarray(plain.images[0])).any()

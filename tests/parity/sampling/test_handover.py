"""Runs in two parts, of every scheduler: what the first hands over, and what the second makes of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.parity.sampling.comparison import STABLE_DIFFUSION
from tests.parity.sampling.reference import diffusers_run, diffusers_scheduler
from tests.support.sampling import PARITY, drawing, network, property_test, relative_error, unit_noise
from triptych.runtime.errors import SamplerError
from triptych.runtime.sampling import Sampler, denoise, with_scheduler
from triptych.runtime.sampling.registry import SCHEDULERS

SDXL = {
    "_class_name": "EulerDiscreteScheduler",
    **STABLE_DIFFUSION,
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
# Of EDM's, timesteps are logarithms, none of which is as large as any cutoff: they have no parts
NAMES = [
    name
    for scheduler in SCHEDULERS
    for name in scheduler.short_names
    if not scheduler.class_name.startswith(("EDM", "FlowMatch"))
]

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:__array_:DeprecationWarning")


def check_parts(config: dict[str, Any], steps: tuple[int, int], parts: tuple[float, float]) -> None:
    """One run to the first of `parts`, and another from the second; the latents of both, and the timesteps."""
    given, theirs = unit_noise(), unit_noise()
    for count, start, end in ((steps[0], None, parts[0]), (steps[1], parts[1], None)):
        sampler = Sampler.from_config(config, count, denoising_start=start, denoising_end=end)
        *_, last = denoise(network, given, sampler, drawing(3))
        theirs, timesteps = diffusers_run(
            diffusers_scheduler(config), theirs, count, draw=drawing(3), start=start, end=end
        )
        np.testing.assert_allclose(sampler.timesteps, timesteps, rtol=1e-5)
        given = last.latents
        assert relative_error(given, theirs) < PARITY
        assert sampler.resumes == (start is not None)


@pytest.mark.parametrize("steps", [(10, 10), (9, 16)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_parts_of_a_run(name: str, steps: tuple[int, int]) -> None:
    check_parts(with_scheduler(SDXL, name), steps, (0.7, 0.7))


@property_test(
    40,
    st.sampled_from(["ddim", "euler", "heun", "dpmpp_2m", "unipc", "pndm"]),
    st.tuples(st.integers(4, 40), st.integers(4, 40)),
    st.tuples(st.floats(0.3, 1), st.floats(0.1, 0.8)),
    st.sampled_from(["leading", "linspace", "trailing"]),
)
def test_any_part(name: str, steps: tuple[int, int], parts: tuple[float, float], spacing: str) -> None:
    check_parts(with_scheduler(SDXL | {"timestep_spacing": spacing}, name), steps, parts)


def test_a_part_in_the_middle() -> None:
    config = with_scheduler(SDXL, "euler")
    sampler = Sampler.from_config(config, 12, denoising_start=0.25, denoising_end=0.75)
    *_, last = denoise(network, unit_noise(), sampler)
    expected, timesteps = diffusers_run(diffusers_scheduler(config), unit_noise(), 12, start=0.25, end=0.75)
    np.testing.assert_allclose(sampler.timesteps, timesteps)
    assert relative_error(last.latents, expected) < PARITY
    whole = Sampler.from_config(config, 12)
    assert Sampler.from_config(config, 12, denoising_end=1.0).table.timesteps.tolist() == whole.timesteps.tolist()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"denoising_start": 0.0}, "denoising_start=0.0 is out of range; allowed: above 0 and below 1"),
        ({"denoising_end": 1.2}, "denoising_end=1.2 is out of range; allowed: above 0, to 1"),
        ({"denoising_end": "half"}, "denoising_end='half' is out of range"),
        ({"denoising_start": 0.8, "denoising_end": 0.8}, "denoising_end=0.8 must be above denoising_start=0.8"),
        ({"denoising_start": 0.9999}, "denoising_start=0.9999 leaves none of 10 denoiser calls"),
        ({"denoising_end": 0.01}, "denoising_end=0.01 comes before the first of 10 denoiser calls"),
        ({"denoising_start": 0.5, "strength": 0.5}, "strength and denoising_start exclude each other"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_parts_that_are_none(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplerError, match=message) as caught:
        Sampler.from_config(SDXL, 10, **asked)
    assert "\n" not in str(caught.value)

"""Whole runs compared with those of diffusers: same configuration, same network, its samples never fed back to ours."""

from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tests.parity.sampling.reference import diffusers_run, diffusers_scheduler
from tests.support.sampling import PARITY, drawing, network, relative_error, unit_noise
from triptych.runtime.sampling import Sampler, denoise

LEVELS = 3e-3  # relative, of noise levels: the smallest are differences of float32 numbers near 1
PURE_NOISE = 1e5  # sigma / alpha
PARITY_FLOAT64 = 1e-9  # relative, where diffusers can be run in float64
# diffusers adds and subtracts numbers as large as sigma / alpha in float32: what it loses, in units of their rounding
ROUNDINGS = 32
STABLE_DIFFUSION = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
_SHAPES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas")

diffusers.logging.set_verbosity_error()

booleans = st.booleans()
training = st.fixed_dictionaries(
    {
        "timestep_spacing": st.sampled_from(["leading", "linspace", "trailing"]),
        "prediction_type": st.sampled_from(["epsilon", "sample", "v_prediction"]),
    },
    optional={"steps_offset": st.integers(0, 2)},
)
betas = st.one_of(
    st.just(STABLE_DIFFUSION),
    st.fixed_dictionaries(
        {
            "num_train_timesteps": st.sampled_from([100, 997, 1000]),
            "beta_schedule": st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2"]),
            "beta_start": st.floats(1e-4, 2e-3),
            "beta_end": st.floats(0.01, 0.02),
        }
    ),
    st.integers(100, 400).map(
        lambda count: {"num_train_timesteps": count, "trained_betas": np.geomspace(2e-4, 0.05, count).tolist()}
    ),
)
thresholding = {"thresholding": booleans, "sample_max_value": st.floats(1.0, 3.0)}
few_or_many = st.one_of(st.integers(1, 20), st.integers(20, 61))
strengths = st.sampled_from([1.0, 1.0, 1.0, 0.3, 0.5, 0.75, 0.9])
custom_timesteps = st.sets(st.integers(0, 99), min_size=1, max_size=12).map(lambda chosen: sorted(chosen, reverse=True))


def configurations(name: str, *parts: st.SearchStrategy[dict]) -> st.SearchStrategy[dict[str, Any]]:
    """Configurations of a class, with all options of the strategies together; later ones count."""
    return st.tuples(*parts).map(
        lambda dicts: {"_class_name": name} | {key: value for each in dicts for key, value in each.items()}
    )


def trained(name: str, *parts: st.SearchStrategy[dict]) -> st.SearchStrategy[dict[str, Any]]:
    """`configurations` of a class that has betas and timestep spacings."""
    return configurations(name, training, betas, *parts)


def compare(
    config: Mapping[str, Any],
    steps: int | None,
    *,
    eta: float = 0.0,
    strength: float = 1.0,
    grid: Mapping[str, Any] | None = None,
    seed: int = 0,
    shape: tuple[int, ...] = (2, 3, 5, 7),
    timesteps_within: float = 1e-3,
) -> None:
    """Same timesteps, same final latents.

    Args:
        config: of both.
        steps: None where `grid` gives timesteps or sigmas.
        eta: for DDIM and TCD.
        strength: below 1 starts in the middle, with noise added to an image.
        grid: timesteps, sigmas or mu.
        seed: of all noise.
        shape: of the latents.
        timesteps_within: how far off timesteps may be that diffusers makes of rounded numbers.
    """
    grid = grid or {}
    assume(strength == 1 or steps is None or int(steps * strength) > 0)
    sampler = Sampler.from_config(config, steps or 20, eta=eta, strength=strength, **grid)
    noise = unit_noise(seed, shape)
    image = None if strength == 1 else 0.5 * unit_noise(seed + 1, shape)
    reference = diffusers_scheduler(config)
    levels: list[float] = []
    expected, timesteps = diffusers_run(
        reference,
        noise,
        steps,
        eta=eta if config["_class_name"] in ("DDIMScheduler", "TCDScheduler") else None,
        draw=drawing(seed),
        grid=grid,
        strength=strength,
        image_latents=image,
        levels=levels,
    )
    # Where diffusers makes whole numbers of timesteps, torch's rounding of x ** 0.5, which is another one on every
    # processor, may decide about one of them
    if any(config.get(flag) for flag in _SHAPES) and len(timesteps) == len(sampler):
        assert np.abs(sampler.timesteps - timesteps).max() <= 1
        assume(np.allclose(sampler.timesteps, timesteps, rtol=1e-5, atol=timesteps_within))
    np.testing.assert_allclose(sampler.timesteps, timesteps, rtol=1e-5, atol=timesteps_within)
    # Of a midpoint, diffusers does not say the level
    known = slice(None, None, 2) if hasattr(reference, "sigmas_interpol") else slice(None)
    # diffusers adds noise as if sigmas were not inverted; SASolver as if all noise levels were those of timesteps
    if not config.get("invert_sigmas") and config["_class_name"] != "SASolverScheduler":
        mine, theirs = (np.minimum(np.abs(each), PURE_NOISE) for each in (sampler.noise_levels, np.array(levels)))
        np.testing.assert_allclose(mine[known], theirs[known], rtol=LEVELS)
    *_, last = denoise(network, noise, sampler, drawing(seed), image_latents=image)
    assume(np.isfinite(expected).all())  # diffusers divides 0 by 0 in some runs that end at sigma_min
    with np.errstate(divide="ignore"):
        starts = np.append(sampler.noise_levels, sampler.table.start[:, 1] / sampler.table.start[:, 0])
    rounding = ROUNDINGS * np.finfo(np.float32).eps * starts[np.isfinite(starts)].max(initial=0.0)
    assert relative_error(last.latents, expected) < max(PARITY, rounding)

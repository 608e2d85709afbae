"""A denoiser that is linear neither in latents nor in time, noise, and tests of many examples."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PARITY = 1e-4  # relative, float32
SHAPE = (2, 3, 5, 7)
_FULL = 8  # times as many examples in the slow run


def property_test(
    count: int, *strategies: st.SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """Decorator of a test of some `count` examples, the same ones every time, and of 8 times as many marked slow.

    @property_test(40, configurations("EulerDiscreteScheduler", euler), few_or_many)
    def test_euler(config: dict[str, Any], steps: int) -> None: ...
    """

    def decorate(test: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("scale", [1, pytest.param(_FULL, marks=pytest.mark.slow)])
        def run(scale: int) -> None:
            few = settings(
                max_examples=count * scale,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=[HealthCheck.filter_too_much],
            )
            few(given(*strategies)(test))()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


def network(latents: np.ndarray, timestep: float) -> np.ndarray:
    """Bounded, smooth, and different for each image, place and time."""
    phase = np.arange(latents[0].size, dtype=latents.dtype).reshape(latents.shape[1:]) / 10
    bounded = np.tanh(0.7 * latents + 0.2 * np.roll(latents, 1, axis=-1) ** 2 / (1 + latents**2))
    output: np.ndarray = bounded + 0.4 * np.sin(phase + latents.dtype.type(timestep / 150))
    return output


def unit_noise(seed: int = 0, shape: tuple[int, ...] = SHAPE, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def drawing(seed: int, dtype: type = np.float32) -> Callable[[tuple[int, ...]], np.ndarray]:
    """A noise source: shape -> unit Gaussian."""
    generator = np.random.default_rng(seed)
    return lambda shape: generator.standard_normal(shape).astype(dtype)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())

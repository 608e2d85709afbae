"""The denoising loop: one denoiser call and one row of the table at a time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, SamplerError
from .sampler import VANISHING, Sampler

Predict = Callable[[np.ndarray, float], np.ndarray]
Draw = Callable[[tuple[int, ...]], np.ndarray]
AfterStep = Callable[[np.ndarray, int], np.ndarray]
"""(latents after a step, number of its call) -> latents to continue with; mask blending is one."""
_Terms = list[tuple[int, np.floating]]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Step:
    """Result of one denoiser call.

    Attributes:
        index: number of the call, from 0.
        total: number of calls of the run.
        timestep: input of the denoiser.
    """

    index: int
    total: int
    timestep: float
    _latents: Any
    _fed: Any
    _prediction: Any
    _to_denoised: np.ndarray
    _read: Callable[[Any], np.ndarray] = np.asarray

    @property
    def latents(self) -> np.ndarray:
        """The next call's input, or the result, float32 [B, C, H, W]; read-only, and of another device a copy."""
        latents = self._read(self._latents).view()
        latents.flags.writeable = False
        return latents

    @property
    def denoised(self) -> np.ndarray:
        """The estimate of x0 after the call, float32 [B, C, H, W]; computed on access."""
        of_latents, of_prediction = self._to_denoised
        prediction = self._read(self._prediction)
        return prediction if of_latents == 0 else of_latents * self._read(self._fed) + of_prediction * prediction


def denoise(
    predict: Predict,
    noise: np.ndarray,
    sampler: Sampler,
    draw: Draw | None = None,
    *,
    image_latents: np.ndarray | None = None,
    after_step: AfterStep | None = None,
) -> Iterator[Step]:
    """Turn noise into latents, step by step; nothing is computed before the caller takes the first step.

    Args:
        predict: (latents float32 [B, C, H, W], timestep) -> raw output of the denoiser, same shape. It may return the
            same array every time.
        noise: unit Gaussian [B, C, H, W]; for a sampler that resumes, the latents of the run that stopped. It is not
            changed. Everything is computed in its type if that is float64 (to measure convergence), else in float32.
        sampler: table of coefficients.
        draw: shape -> unit Gaussian; stochastic samplers need it.
        image_latents: x0 to start from, [B, C, H, W]; noise of the first call's level is added. A sampler of strength
            below 1 needs it.
        after_step: called with the latents after each step; its result takes their place.

    Yields:
        A `Step` for every denoiser call; the last one's `latents` are the result.

    Raises:
        SamplerError: the sampler draws noise and `draw` is missing, or its strength is below 1 and `image_latents` are.
        ArgumentError: the denoiser's output, or image_latents, have another shape than the latents.
    """
    return _steps(predict, init_latents(noise, sampler, draw, image_latents), sampler, draw, after_step)


def init_latents(
    noise: np.ndarray, sampler: Sampler, draw: Draw | None, image_latents: np.ndarray | None
) -> np.ndarray:
    """Latents of the first denoiser call; arguments and errors as of `denoise`."""
    if sampler.stochastic and draw is None:
        raise SamplerError(f"{sampler.name} draws noise at every step with these options; give `draw`")
    if sampler.strength < 1 and image_latents is None:
        raise SamplerError(f"strength={sampler.strength:g} begins in the middle; give `image_latents`")
    noise = np.asarray(noise)
    if noise.dtype != np.float64:
        noise = noise.astype(np.float32)
    kind, table = noise.dtype.type, sampler.table
    latents: np.ndarray
    if image_latents is None:
        latents = noise * kind(table.initial_scale)
        return latents
    if image_latents.shape != noise.shape:
        raise ArgumentError(f"image_latents have shape {list(image_latents.shape)}; the noise {list(noise.shape)}")
    alpha, sigma = kind(table.alphas[0]), kind(table.sigmas[0])
    latents = alpha * np.asarray(image_latents, kind) + sigma * noise
    return latents


def _steps(
    predict: Predict, fed: np.ndarray, sampler: Sampler, draw: Draw | None, after_step: AfterStep | None
) -> Iterator[Step]:
    table, limit = sampler.table, sampler.limit
    kind = fed.dtype.type
    conversions = [[(0, kind(p)), (1, kind(q))] if p else [(1, kind(q))] for p, q in sampler.to_basis]
    to_denoised = sampler.to_denoised.astype(kind)
    advances = [_terms(row, kind) for row in table.advance]
    corrects = [None if row[0] == 1 and not row[1:].any() else _terms(row, kind) for row in table.correct]
    scratch = np.empty_like(fed)
    history: deque[np.ndarray] = deque(maxlen=table.advance.shape[1] - 1)
    state = fed
    for i, timestep in enumerate(table.timesteps.tolist()):
        output = np.asarray(predict(fed, timestep), kind)
        if output.shape != fed.shape:
            raise ArgumentError(f"the denoiser's output has shape {list(output.shape)}; its input {list(fed.shape)}")

        prediction = _combine(conversions[i], (fed, output), scratch)
        base = fed
        if limit is not None:
            prediction, base = _limited(sampler, i, fed, prediction)
        history.appendleft(prediction)
        correct = corrects[i]
        state = base if correct is None else _combine(correct, (base, state, *history), scratch)
        latents = _combine(advances[i], (state, *history), scratch)
        if draw is not None and (table.noise[i] != 0 or table.idle_draws):
            latents += kind(table.noise[i]) * np.asarray(draw(latents.shape), kind)
        if after_step is not None:
            latents = after_step(latents, i)
        yield Step(i, len(sampler), timestep, latents, fed, prediction, to_denoised[i])
        fed = latents


def _limited(sampler: Sampler, i: int, fed: np.ndarray, x0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The prediction in the table's basis from a clipped x0, and the latents to continue from."""
    table = sampler.table
    kind = fed.dtype.type
    alpha, sigma = kind(max(table.alphas[i], VANISHING)), kind(table.sigmas[i])
    limited = sampler.limit(x0) if sampler.limit is not None else x0
    if table.keep_noise:  # other x0, same eps: the latents themselves move
        return limited, fed + alpha * (limited - x0)
    return (limited if table.basis == "sample" else (fed - alpha * limited) / sigma), fed


def _terms(row: np.ndarray, kind: type[np.floating]) -> _Terms:
    """Nonzero coefficients of a row, with their columns."""
    return [(int(j), kind(row[j])) for j in row.nonzero()[0]] or [(0, kind(0))]


def _combine(terms: _Terms, arrays: Sequence[np.ndarray], scratch: np.ndarray) -> np.ndarray:
    """The sum of coefficient times array, in a new array."""
    (first, coefficient), *rest = terms
    total: np.ndarray = np.multiply(arrays[first], coefficient)
    for j, coefficient in rest:
        total += np.multiply(arrays[j], coefficient, out=scratch)
    return total

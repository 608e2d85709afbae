"""Guidance: functions around the denoiser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..families.conditioning import EXTRA_CHANNELS, Conditioning, stacked
from ..request import check, require
from ..sampling import Sampler
from ..sampling.parametrisation import convert

Predict = Callable[[np.ndarray, float], np.ndarray]
Denoiser = Callable[[np.ndarray, float, Conditioning], np.ndarray]


class Projection(NamedTuple):
    """Adaptive projected guidance (Sadat et al. 2024, algorithm 1); the defaults are the paper's for SDXL.

    Attributes:
        eta: factor of the part of the update parallel to x0, which saturates colours; 1 keeps it whole.
        norm_threshold: limit of the update's norm over an image's latents; 0 turns the limit off.
        momentum: share of the previous updates that is added; below 0 it damps.
    """

    eta: float = 0.0
    norm_threshold: float = 15.0
    momentum: float = -0.5


@dataclass(frozen=True)
class Guidance:
    """Guidance of one run: from the negative output towards the positive one, and beyond.

    Attributes:
        scale: in Imagen's convention, for all calls or for each; at 1 or less a call has no guidance, and costs half.
        rescale: share of the rescaled prediction, see `rescaled`.
        interval: noise levels sigma / alpha, (low, high]: calls outside have no guidance (Kynkäänniemi et al. 2024,
            eq. 6). None is all noise levels.
        projection: see `projected`; None leaves the update as it is.
        image_scale: guidance from no image towards the image that is edited (Brooks et al. 2023, eq. 3), which costs
            half as much again; None for other models.

    Raises:
        ArgumentError: a value that is not allowed.
    """

    scale: float | Sequence[float] = 7.5
    rescale: float = 0.0
    interval: Sequence[float] | None = None
    projection: Sequence[float] | None = None
    image_scale: float | None = None

    def __post_init__(self) -> None:
        plain = {
            "scale": require("guidance_scale", self.scale),
            "rescale": check("guidance_rescale", self.rescale),
            "interval": check("guidance_interval", self.interval),
            "projection": check("guidance_projection", self.projection),
            "image_scale": check("image_guidance_scale", self.image_scale),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def groups(self) -> int:
        """Rows for each image in a call with guidance, see `rows_of`."""
        return 2 if self.image_scale is None else 3

    def only_scale(self) -> float:
        """The scale, for a denoiser that takes one number.

        Raises:
            ArgumentError: several scales, a rescale, an interval or a projection.
        """
        for name in ("interval", "projection"):
            if getattr(self, name) is not None:
                raise ArgumentError(f"guidance_{name}: this model takes its guidance as a number; leave it out")
        if self.rescale or not isinstance(self.scale, Real):
            raise ArgumentError("this model takes its guidance as one number: no rescale, and no scale for each call")
        return float(self.scale)

    def scales(self, sampler: Sampler) -> np.ndarray:
        """The scale of every denoiser call, float64 [calls]: 1 where the interval leaves guidance out.

        Raises:
            ArgumentError: scales for another number of calls; a projection where x0 cannot be computed from the output.
        """
        if self.projection is not None:
            to_x0(sampler)
        scales = np.asarray(self.scale, np.float64)
        if scales.ndim and len(scales) != len(sampler):
            raise ArgumentError(
                f"guidance_scale has {len(scales)} values; {sampler.name} has {len(sampler)} denoiser calls here, "
                "and needs one for each"
            )
        scales = np.broadcast_to(scales, len(sampler))
        if self.interval is None:
            return scales
        low, high = self.interval
        levels = sampler.noise_levels
        return np.where((levels > low) & (levels <= high), scales, 1.0)


def guided(
    denoiser: Denoiser, positive: Conditioning, negative: Conditioning | None, guidance: Guidance, sampler: Sampler
) -> Predict:
    """The denoiser with guidance, for one run.

    Args:
        denoiser: (latents [n, C, H, W], timestep, conditioning of n rows) -> raw output [n, C, H, W].
        positive: conditioning of the prompts.
        negative: conditioning of the negative prompts; None turns guidance off.
        guidance: of the run.
        sampler: of the run.

    Returns:
        (latents, timestep) -> guided raw output, to be called once for each call of the sampler, in order. It runs the
        denoiser once: at batch 2n, or 3n with `image_scale`, or at batch n where there is no guidance.

    Raises:
        ArgumentError: see `Guidance.scales` and `rows_of`.
    """
    scales = guidance.scales(sampler)
    project = None if guidance.projection is None else projected(Projection(*guidance.projection), sampler)
    all_rows = None if negative is None else rows_of(positive, negative, guidance)
    calls = iter(range(len(sampler)))

    def predict(latents: np.ndarray, timestep: float) -> np.ndarray:
        call = next(calls)
        if all_rows is None or scales[call] <= 1:
            return denoiser(latents, timestep, positive)
        output = denoiser(np.concatenate([latents] * guidance.groups), timestep, all_rows)
        *unconditional, negative_output, positive_output = np.split(output, guidance.groups)
        if project is None:
            result = classifier_free(positive_output, negative_output, scales[call])
        else:
            update = project(call, latents, positive_output, positive_output - negative_output)
            result = positive_output + np.float32(scales[call] - 1) * update
        if guidance.image_scale is not None:
            result += np.float32(guidance.image_scale - 1) * (negative_output - unconditional[0])
        return rescaled(result, positive_output, guidance.rescale) if guidance.rescale else result

    return predict


def rows_of(positive: Conditioning, negative: Conditioning, guidance: Guidance) -> dict[str, np.ndarray]:
    """Conditioning of a call with guidance: rows of the negative, then of the positive conditioning.

    With `image_scale` the unconditional rows come first: the negative ones with extra channels of zeros.

    Raises:
        ArgumentError: `image_scale`, and a conditioning without extra channels.
    """
    if guidance.image_scale is None:
        return stacked(negative, positive)
    if EXTRA_CHANNELS not in negative:
        raise ArgumentError(
            f"image_guidance_scale={guidance.image_scale:g}: the denoiser does not take an image; leave it out"
        )
    return stacked({**negative, EXTRA_CHANNELS: np.zeros_like(negative[EXTRA_CHANNELS])}, negative, positive)


def classifier_free(positive: np.ndarray, negative: np.ndarray, scale: float) -> np.ndarray:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6) in Imagen's convention: scale 1 is the positive output."""
    result: np.ndarray = positive - negative
    result *= np.float32(scale)
    result += negative
    return result


def rescaled(result: np.ndarray, positive: np.ndarray, share: float) -> np.ndarray:
    """Guided output with `share` of it rescaled to the positive output's deviation (Lin et al. 2023, eq. 15 and 16)."""
    axes = tuple(range(1, result.ndim))
    ratio = positive.std(axes, keepdims=True) / result.std(axes, keepdims=True)
    result = result * (np.float32(share) * ratio + np.float32(1 - share))
    return result


def projected(
    projection: Projection, sampler: Sampler
) -> Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Adaptive projected guidance for one run (Sadat et al. 2024, algorithm 1), for any prediction type.

    Returns:
        (call, latents, positive output, update) -> the projected update: all [n, C, H, W], update and result as
        differences of raw outputs. The paper states the method for x0.
    """
    pairs = to_x0(sampler)
    average = np.zeros((), np.float32)

    def project(call: int, latents: np.ndarray, positive: np.ndarray, update: np.ndarray) -> np.ndarray:
        nonlocal average
        of_latents, of_output = pairs[call]
        average = of_output * update + np.float32(projection.momentum) * average
        x0 = of_latents * latents + of_output * positive
        update = project_update(average, x0, projection.eta, projection.norm_threshold) / of_output
        return update

    return project


def project_update(update: np.ndarray, x0: np.ndarray, eta: float, norm_threshold: float) -> np.ndarray:
    """Update [n, ...] limited to the norm, with its part parallel to `x0` [n, ...] multiplied by `eta`."""
    rows, direction = (array.reshape(len(array), -1).astype(np.float64) for array in (update, x0))
    if norm_threshold:
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        rows *= norm_threshold / np.maximum(norm, norm_threshold)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    parallel = (rows * direction).sum(axis=1, keepdims=True) * direction
    update = (rows + (eta - 1) * parallel).reshape(update.shape)
    return update.astype(np.float32)


def to_x0(sampler: Sampler) -> np.ndarray:
    """(p, q) with  x0 = p x + q output  for every call, float32 [calls, 2]."""
    levels = zip(sampler.alphas.tolist(), sampler.sigmas.tolist(), strict=True)
    pairs = np.array([convert(sampler.prediction, "sample", alpha, sigma) for alpha, sigma in levels])
    if not (np.isfinite(pairs).all() and pairs[:, 1].all()):
        raise ArgumentError(
            f"guidance_projection: prediction_type={sampler.prediction} does not determine x0 at one end of this "
            "schedule; leave it out"
        )
    return pairs.astype(np.float32)

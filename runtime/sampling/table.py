"""A sampler as a table of coefficients, checked when it is made.

Latents are x = alpha x0 + sigma eps. Row i, with m_i the prediction in the table's basis and z_i unit noise:

    s_i     = C[i,0] x_i + C[i,1] s_{i-1} + sum_j C[i,2+j] m_{i-j}      correct
    x_{i+1} = A[i,0] s_i + sum_j A[i,1+j] m_{i-j} + G[i] z_i            advance
"""

from dataclasses import dataclass, fields

import numpy as np

from ..errors import SamplerError
from .parametrisation import Prediction, components

_TOLERANCE = 1e-9  # of a row's landing point, relative to its largest term


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """n rows, one for each denoiser call, with at most h predictions remembered. All arrays are float64 and read-only.

    Attributes:
        basis: prediction type of m: sample (x0), epsilon or v_prediction.
        order: the declared order of convergence.
        timesteps: [n], inputs of the denoiser.
        alphas, sigmas: [n], of the input latents of the denoiser.
        start, end: [n, 2], the (alpha, sigma) that row i carries s_i from and x_{i+1} to. `end[i]` is where call i + 1
            is fed, except on diffusers' uneven grids.
        advance: A [n, 1 + h].
        correct: C [n, 2 + h]; the identity (1, 0, 0 ...) leaves the latents as they were fed.
        noise: G [n].
        initial_scale: unit noise times this is x_0.
        keep_noise: where x0 is clipped, advance with the unclipped prediction's eps.
        idle_draws: noise is drawn for rows without any too, so that a seed gives the later ones the noise of diffusers.

    Raises:
        SamplerError: a row that is not finite, that remembers what never was, or that does not carry
            alpha x0 + sigma eps exactly from start to end when all its predictions agree.
    """

    basis: Prediction
    order: int
    timesteps: np.ndarray
    alphas: np.ndarray
    sigmas: np.ndarray
    start: np.ndarray
    end: np.ndarray
    advance: np.ndarray
    correct: np.ndarray
    noise: np.ndarray
    initial_scale: float = 1.0
    keep_noise: bool = False
    idle_draws: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self._check_shapes()
        for i in range(len(self.timesteps)):
            self._check_row(i)

    def _check_shapes(self) -> None:
        rows, width = self.advance.shape
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(("timesteps", "alphas", "sigmas", "noise"), (rows,))
        expected |= {"start": (rows, 2), "end": (rows, 2), "correct": (rows, width + 1)}
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise SamplerError(f"the table's {name} has shape {found}; {rows} rows of {width} need {shape}")

    def _check_row(self, i: int) -> None:
        advance, correct = self.advance[i], self.correct[i]
        numbers = [advance, correct, [self.noise[i], self.timesteps[i], self.initial_scale], self.start[i], self.end[i]]
        if not np.isfinite(np.concatenate(numbers)).all():
            raise SamplerError(f"step {i + 1} of {len(self.timesteps)} has no finite coefficients on this schedule")
        if advance[2 + i :].any() or correct[3 + i :].any() or (i == 0 and correct[1]):
            raise SamplerError(f"row {i} of the table needs more than the {i + 1} predictions made by then")
        agreed = np.array(components(self.basis, *self.start[i]))
        terms = np.stack([advance[0] * self.start[i], advance[1:].sum() * agreed])
        error = np.abs(terms.sum(axis=0) - self.end[i])
        if self.noise[i] != 0:  # the share of the noise that is new may be approximate (Euler-Maruyama)
            error = error[:1]
        if error.max() > _TOLERANCE * max(1.0, np.abs(terms).max()):
            raise SamplerError(f"row {i} of the table is not consistent: it misses its end by {error.max():.2e}")


def transport(basis: Prediction, start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """(a, b) with  x' = a x + b m  exact from start to end, each (alpha, sigma), for a prediction that does not change.

    This is DDIM (Song et al. 2021, eq. 12 with eta 0), DPM-Solver-1, and Euler's method in sigma / alpha: one step.
    """
    agreed = components(basis, *start)
    determinant = np.float64(start[0] * agreed[1] - start[1] * agreed[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        a = (end[0] * agreed[1] - end[1] * agreed[0]) / determinant
        b = (start[0] * end[1] - start[1] * end[0]) / determinant
    return float(a), float(b)


def identity(rows: int, remembered: int) -> np.ndarray:
    """Correcting rows C [rows, 2 + remembered] that leave everything as it was fed."""
    correct = np.zeros((rows, 2 + remembered))
    correct[:, 0] = 1.0
    return correct


def single_step(
    timesteps: np.ndarray,
    start: np.ndarray,
    kept: np.ndarray,
    *,
    end: np.ndarray | None = None,
    noise: np.ndarray | None = None,
    initial_scale: float = 1.0,
    keep_noise: bool = False,
    basis: Prediction = "sample",
) -> Table:
    """The table of a method without memory.

    Row i goes from start[i] to end[i], each (alpha, sigma); kept[i] of that is carried over, the rest is new noise.
    """
    rows = [transport(basis, (s[0], s[1]), (k[0], k[1])) for s, k in zip(start, kept, strict=True)]
    return Table(
        basis=basis,
        order=1,
        timesteps=timesteps,
        alphas=start[:, 0].copy(),
        sigmas=start[:, 1].copy(),
        start=start,
        end=kept if end is None else end,
        advance=np.array(rows),
        correct=identity(len(rows), 1),
        noise=np.zeros(len(rows)) if noise is None else noise,
        initial_scale=initial_scale,
        keep_noise=keep_noise,
    )

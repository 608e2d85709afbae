"""The training noise schedule: how much signal and noise a latent of each timestep has.

Numbers are computed in float32 where diffusers does, bit for bit, because its denoisers are run on exactly these: the
rounding of 1 - beta near 1 moves the smallest sigma by 1e-4 of its value. Everything that follows is float64.
"""

from dataclasses import dataclass

import numpy as np

from ...errors import SamplerError
from ..shared_options import TrainingOptions

_COSINE_OFFSET = 0.008  # s of Nichol and Dhariwal 2021, eq. 17
_MAX_BETA = 0.999
_ALMOST_ZERO = 2.0**-24  # keeps the largest sigma finite: the smallest float16, as diffusers takes it


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """alpha_t^2 of every training timestep, float32 [num_train_timesteps], decreasing."""

    alphas_cumprod: np.ndarray

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def at(self, timestep: float, *, final: float = 1.0) -> tuple[float, float]:
        """(alpha, sigma) of an integer timestep; before the first one, alpha^2 is `final`."""
        square = float(self.alphas_cumprod[int(timestep)]) if timestep >= 0 else final
        return square**0.5, (1.0 - square) ** 0.5

    @property
    def sigmas(self) -> np.ndarray:
        """sigma / alpha of every timestep, float32 (Karras et al. 2022 call this sigma).

        Increasing, except the last with rescale_betas_zero_snr, which is 4096 whatever the one before.
        """
        sigmas: np.ndarray = np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)
        return sigmas

    def timesteps_of(self, sigmas: np.ndarray) -> np.ndarray:
        """Timesteps, float64, of levels sigma / alpha, by linear interpolation in log sigma (k-diffusion)."""
        log_sigmas = np.log(self.sigmas)
        logs = np.log(np.maximum(sigmas, 1e-10))
        # The last level of the schedule that is not above; not searchsorted, which would need all of them to increase
        below = (logs >= log_sigmas[:, None]).cumsum(axis=0).argmax(axis=0)
        low = np.minimum(below, len(log_sigmas) - 2)
        width = log_sigmas[low] - log_sigmas[low + 1]
        weight = np.clip((log_sigmas[low] - logs) / width, 0, 1)
        timesteps: np.ndarray = (1 - weight) * low + weight * (low + 1)
        return timesteps


def training_schedule(options: TrainingOptions, *, finite_sigmas: bool = False) -> Schedule:
    """The schedule that a scheduler configuration describes.

    Args:
        options: num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas and, where the scheduler
            takes it, rescale_betas_zero_snr (Lin et al. 2023, algorithm 1).
        finite_sigmas: with rescale_betas_zero_snr, keep the last alpha just above zero.

    Raises:
        SamplerError: the betas give no schedule that decreases within (0, 1).
    """
    betas = _betas(options)
    rescaled = options.rescale_betas_zero_snr
    if rescaled:
        betas = _zero_terminal_snr(betas)
    alphas_cumprod = _cumprod(1 - betas)
    lowest = 0.0 if rescaled else np.finfo(np.float32).tiny
    if not ((alphas_cumprod >= lowest) & (alphas_cumprod < 1)).all() or not (np.diff(alphas_cumprod) < 0).all():
        stated = ", ".join(f"{key}={getattr(options, key)}" for key in ("beta_schedule", "beta_start", "beta_end"))
        raise SamplerError(f"{stated}: the product of 1 - beta must decrease and stay between 0 and 1")
    if rescaled and finite_sigmas:
        alphas_cumprod[-1] = _ALMOST_ZERO
    return Schedule(alphas_cumprod)


def _betas(options: TrainingOptions) -> np.ndarray:
    """beta of every timestep, float32, as torch computes them."""
    count, start, end = options.num_train_timesteps, options.beta_start, options.beta_end
    if options.trained_betas is not None:
        betas = np.array(options.trained_betas, np.float32)
        if betas.shape != (count,):
            raise SamplerError(
                f"trained_betas has shape {list(betas.shape)}; num_train_timesteps={count} needs [{count}]"
            )
        return betas
    match options.beta_schedule:
        case "linear":
            return _linspace(start, end, count)
        case "scaled_linear":
            return _linspace(start**0.5, end**0.5, count) ** 2
        case "sigmoid":
            return _sigmoid(_linspace(-6.0, 6.0, count)) * np.float32(end - start) + np.float32(start)
        case "laplace":
            return _of_cumulative(_laplace(np.arange(count + 1) / count))
        case "exp":
            return _of_cumulative(np.exp(-12.0 * np.arange(count + 1) / count))
        case _:
            angle = (np.arange(count + 1) / count + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * np.pi / 2
            return _of_cumulative(np.cos(angle) ** 2)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-values))
    return result


def _laplace(times: np.ndarray) -> np.ndarray:
    """alpha_t^2 at t from 0 to 1 in diffusers: alpha of a Laplace distribution of log(alpha / sigma)."""
    offset = 0.5 - times
    lambdas = -0.5 * np.copysign(1.0, offset) * np.log(1 - 2 * np.abs(offset) + 1e-6)
    return np.sqrt(1 / (1 + np.exp(-lambdas)))


def _of_cumulative(squares: np.ndarray) -> np.ndarray:
    """beta from alpha_t^2 at timesteps 0, 1, ... count, float64."""
    betas: np.ndarray = np.minimum(1 - squares[1:] / squares[:-1], _MAX_BETA)
    return betas.astype(np.float32)


def _zero_terminal_snr(betas: np.ndarray) -> np.ndarray:
    """Shift and scale sqrt(alpha_cumprod) so that the last is 0 and the first stays."""
    roots = np.sqrt(_cumprod(1 - betas))
    first, last = roots[0], roots[-1]
    squares = ((roots - last) * (first / (first - last))) ** 2
    return 1 - np.concatenate([squares[:1], squares[1:] / squares[:-1]])


def _linspace(start: float, end: float, count: int) -> np.ndarray:
    """torch.linspace in float32: from both ends, each value a fused multiply-add of a float32 step."""
    first, last = np.float32(start), np.float32(end)
    step = np.float64((last - first) / np.float32(max(count - 1, 1)))
    index = np.arange(count)
    upwards = np.float64(first) + step * index
    downwards = np.float64(last) - step * (count - 1 - index)
    return np.where(index < count // 2 if count > 1 else True, upwards, downwards).astype(np.float32)


def _cumprod(values: np.ndarray) -> np.ndarray:
    """torch.cumprod of float32 on CPU: accumulated in float64, each result rounded."""
    with np.errstate(over="ignore"):  # of betas above 2, which are refused
        return np.cumprod(values, dtype=np.float64).astype(np.float32)

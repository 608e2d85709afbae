"""Exponential integrators in lambda = log(alpha / sigma): the common part of DPM-Solver, DEIS, UniPC and SA-Solver.

Along the probability-flow ODE only the denoiser is not linear. With m its prediction (x0, or eps), the step from
(alpha_s, sigma_s) to (alpha_t, sigma_t), h = lambda_t - lambda_s long, is (Lu et al. 2022a, eq. 3.4; 2022b, eq. 8)

    x_t = a x_s - c g int_0^1 e^(g (1 - r)) m(lambda_s + r h) dr

    m is x0:   a = sigma_t / sigma_s   c = alpha_t   g = -h
    m is eps:  a = alpha_t / alpha_s   c = sigma_t   g = +h

and the SDEs of Xue et al. 2023 (SA-Solver, eq. 6 and 7), with tau from 0 (the ODE) to 1 (the reverse diffusion), only
have another a, c and g, and n z of new noise. A solver is then a way to replace m by known predictions: by the
polynomial through them (`through`), or by something cheaper of the same order.
"""

from collections.abc import Sequence
from math import exp, expm1, factorial, nan
from typing import Literal, NamedTuple

import numpy as np

Basis = Literal["sample", "epsilon"]

_SERIES = 20  # terms of phi in g below 1: more than float64 can resolve


class Step(NamedTuple):
    """The linear part of a step:  a x - c (g times the integral of m) + n z."""

    a: float
    c: float
    g: float
    n: float


def linear_part(basis: Basis, start: np.ndarray, end: np.ndarray, h: float, tau: float = 0.0) -> Step:
    """The step from `start` to `end`, each (alpha, sigma), h long in lambda.

    NaN where a stochastic step goes up in noise, which it cannot: tables refuse that.
    """
    alpha, sigma = end[0] / start[0], end[1] / start[1]
    if basis == "sample":
        noise = _root(-expm1(-2 * tau**2 * h)) * end[1] if tau else 0.0
        return Step(sigma * exp(-(tau**2) * h) if tau else sigma, end[0], -(1 + tau**2) * h, noise)
    return Step(alpha, (1 + tau**2) * end[1], h, tau * _root(expm1(2 * h)) * end[1] if tau else 0.0)


def phi(k: int, g: float) -> float:
    """int_0^1 e^(g (1 - r)) r^(k-1) / (k-1)! dr, k from 1 (Hochbruck and Ostermann 2010, eq. 2.10)."""
    if abs(g) < 1:
        return sum(g**n / factorial(n + k) for n in range(_SERIES))
    value = expm1(g) / g
    for j in range(1, k):
        value = (value - 1 / factorial(j)) / g
    return value


def weight(k: int, g: float) -> float:
    """The integral of r^k / k!, -g phi_{k+1}(g); g may be -infinity where k is 0."""
    return -expm1(g) if k == 0 else -g * phi(k + 1, g)


def through(g: float, nodes: Sequence[float]) -> np.ndarray:
    """Weights of predictions at `nodes`, in units of the step from its start, for the polynomial through them."""
    if len(nodes) == 1:
        return np.array([weight(0, g)])
    moments = [factorial(k) * weight(k, g) for k in range(len(nodes))]
    return np.linalg.solve(np.vander(nodes, increasing=True).T, moments)


def line(g: float, node: float, slope: float) -> np.ndarray:
    """Weights of predictions at the start and at `node`, whose divided difference counts `slope`."""
    return np.array([weight(0, g) - slope / node, slope / node])


def halved(g: float, node: float) -> np.ndarray:
    """Weights of predictions at the start and at `node`, the line through them integrated by the midpoint rule.

    Of the same order as `through`: Lu et al. 2022b, algorithm 2; solver_type midpoint in diffusers.
    """
    return line(g, node, weight(0, g) / 2)


def curvature(nodes: Sequence[float]) -> np.ndarray:
    """The second divided difference of predictions at three nodes, as weights."""
    first, second, third = nodes
    ends = (first - second) * (first - third), (second - first) * (second - third), (third - first) * (third - second)
    return 1 / np.array(ends)


def lambdas_of(positions: np.ndarray) -> np.ndarray:
    """log(alpha / sigma) of (alpha, sigma) [n, 2]; infinity where sigma is 0."""
    with np.errstate(divide="ignore"):
        lambdas: np.ndarray = np.log(positions[:, 0]) - np.log(positions[:, 1])
    return lambdas


def _root(square: float) -> float:
    return square**0.5 if square >= 0 else nan

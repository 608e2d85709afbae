"""DPM-Solver and DPM-Solver++, multistep, orders 1 to 3, and their SDE forms (Lu et al. 2022a, 2022b)."""

import numpy as np

from ...errors import SamplerError
from ..grids.solver_grid import CutOffOptions, SolverGrid, SolverOptions, SolverSpacingOptions, solver_grid
from ..options import OptionGroup, choice, flag, whole
from ..scheduler import Run, Scheduler
from ..shared_options import ShiftingOptions
from ..table import Table
from .exponential_integrator import Basis, curvature, halved, linear_part, through, weight

_BASIS: dict[str, Basis] = {
    "dpmsolver++": "sample",
    "sde-dpmsolver++": "sample",
    "dpmsolver": "epsilon",
    "sde-dpmsolver": "epsilon",
}
# Of a whole run: it begins with a row of order 1; and order 3, in the authors' code and in diffusers, takes half of the
# term in the second derivative
RUN_ORDER = 2
_FEW_STEPS = 15  # below this, lower_order_final lowers the order of the last steps


class DPMOptions(OptionGroup):
    """DPM-Solver, multistep or singlestep."""

    solver_order: int = whole(2, least=1, most=3)
    algorithm_type: str = choice(*_BASIS, aliases={"deis": "dpmsolver++"})
    solver_type: str = choice("midpoint", "heun", aliases={"logrho": "midpoint", "bh1": "midpoint", "bh2": "midpoint"})
    lower_order_final: bool = flag(True)
    final_sigmas_type: str = choice("zero", "sigma_min")


class MultistepOptions(DPMOptions):
    """DPM-Solver, multistep."""

    euler_at_final: bool = flag(False)


class DPMSolverOptions(DPMOptions, CutOffOptions, ShiftingOptions, SolverOptions):
    """DPM-Solver on the training schedule."""


class DPMMultistepOptions(MultistepOptions, SolverSpacingOptions, DPMSolverOptions):
    """Options of DPMSolverMultistepScheduler."""

    use_lu_lambdas: bool = flag(False)
    rescale_betas_zero_snr: bool = flag(False)


def dpm_multistep(options: DPMMultistepOptions, run: Run) -> Table:
    """DPM-Solver multistep; dpmsolver++ of order 2 is known as DPM++ 2M.

    As in diffusers, Karras and Lu timesteps of the cosine schedule are cut off to whole numbers, not rounded.
    """
    basis = check_basis(options)
    grid = solver_grid(options, run, rounds_cosine=False)
    advance, noise = multistep(grid, basis, options)
    return grid.table(basis, min(options.solver_order, RUN_ORDER), advance, noise=noise)


def multistep(grid: SolverGrid, basis: Basis, options: MultistepOptions) -> tuple[np.ndarray, np.ndarray]:
    """Advancing coefficients [calls, 1 + solver_order] and new noise [calls] of DPM-Solver on a grid."""
    algorithm, highest = options.algorithm_type, options.solver_order
    tau = 1.0 if algorithm.startswith("sde") else 0.0
    calls = len(grid)
    advance, noise = np.zeros((calls, 1 + highest)), np.zeros(calls)
    for i in range(calls):
        advance[i, 0], c, g, noise[i] = linear_part(basis, *grid.step(i), tau)
        if not g:  # a grid down to sigma_min that also ends there: the last step goes nowhere
            continue
        order = _order_of(i, grid, options)
        if algorithm == "sde-dpmsolver" and order == 3:
            raise SamplerError("algorithm_type=sde-dpmsolver has no solver_order=3; allowed: 1, 2")
        advance[i, 1 : 1 + order] = c * _weights(g, grid.nodes(i, order), options)
    return advance, noise


def check_basis(options: DPMSolverOptions) -> Basis:
    """Basis of the algorithm's predictions, if the other options allow it."""
    algorithm = options.algorithm_type
    basis = _BASIS[algorithm]
    if basis == "epsilon" and options.final_sigmas_type == "zero":
        raise SamplerError(f"algorithm_type={algorithm} cannot end at sigma 0; it needs final_sigmas_type sigma_min")
    if basis == "epsilon" and options.prediction_type == "flow_prediction":
        raise SamplerError(
            f"algorithm_type={algorithm} takes no prediction_type=flow_prediction; allowed there: epsilon, sample"
        )
    return basis


def _order_of(i: int, grid: SolverGrid, options: MultistepOptions) -> int:
    """Number of predictions that row i uses: few at the start, and at the end where accuracy would not be stable."""
    careful = options.lower_order_final and grid.whole < _FEW_STEPS
    order = min(options.solver_order, i + 1)
    left = len(grid) - i
    if left == 1 and (careful or options.euler_at_final or options.final_sigmas_type == "zero"):
        return 1
    return min(order, 2) if left == 2 and careful else order


def _weights(g: float, nodes: list[float], options: MultistepOptions) -> np.ndarray:
    """Weights of the predictions at `nodes`, newest first."""
    if len(nodes) == 2 and options.solver_type == "midpoint":
        return halved(g, nodes[1])
    weights = through(g, nodes)
    if len(nodes) == 3:
        weights -= weight(2, g) * curvature(nodes)
        if options.algorithm_type == "sde-dpmsolver++":
            weights -= curvature(nodes)  # diffusers has -1/2 where the expansion of the integral has +1/2
    return weights


SCHEDULERS = (
    Scheduler(
        "DPMSolverMultistepScheduler",
        dpm_multistep,
        DPMMultistepOptions,
        {
            "dpmpp_2m": {"algorithm_type": "dpmsolver++", "solver_order": 2},
            "dpmpp_2m_sde": {"algorithm_type": "sde-dpmsolver++", "solver_order": 2},
            "dpmpp_3m": {"algorithm_type": "dpmsolver++", "solver_order": 3},
        },
        paper="Lu et al. 2022, DPM-Solver (arXiv 2206.00927) and DPM-Solver++ (arXiv 2211.01095)",
        takes=frozenset({"timesteps", "mu"}),
    ),
)

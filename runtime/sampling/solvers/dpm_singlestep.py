"""DPM-Solver and DPM-Solver++, singlestep, orders 1 to 3, and DPM-Solver++'s SDE form (Lu et al. 2022a, 2022b)."""

import numpy as np

from ...errors import SamplerError
from ..grids.solver_grid import solver_grid
from ..options import choice, flag
from ..scheduler import Run, Scheduler
from ..table import Table, identity
from .dpm_multistep import DPMSolverOptions, check_basis
from .exponential_integrator import curvature, halved, line, linear_part, through, weight


class DPMSinglestepOptions(DPMSolverOptions):
    """Options of DPMSolverSinglestepScheduler."""

    algorithm_type: str = choice("dpmsolver++", "dpmsolver", "sde-dpmsolver++", aliases={"deis": "dpmsolver++"})
    lower_order_final: bool = flag(False)


def dpm_singlestep(options: DPMSinglestepOptions, run: Run) -> Table:
    """DPM-Solver singlestep: steps of 1, 2 or 3 calls; num_inference_steps counts the calls.

    A step of k calls begins as one of a single call, begins again from the same latents with two predictions, and
    once more with three: the rows before the last only lead to the next denoiser call. As in diffusers, the points of a
    step are those of the grid, where Lu et al. choose them; lower_order_final counts as true where
    num_inference_steps is not a multiple of solver_order or the run ends at sigma 0.
    """
    algorithm, basis = options.algorithm_type, check_basis(options)
    if basis == "epsilon" and options.thresholding:
        raise SamplerError(f"algorithm_type={algorithm} takes no thresholding=true; allowed there: false")
    grid = solver_grid(options, run)
    calls, highest = len(grid), options.solver_order
    tau = 1.0 if algorithm == "sde-dpmsolver++" else 0.0
    advance, correct, noise = np.zeros((calls, 1 + highest)), identity(calls, highest), np.zeros(calls)
    starts = np.zeros((calls, 2))
    for i, order in enumerate(_orders(grid.whole, options)[grid.skipped :]):
        origin = i - min(order, i + 1) + 1
        starts[i], end, h = grid.step(i, origin)
        if origin < i:
            correct[i, :2] = 0.0, 1.0
        advance[i, 0], c, g, noise[i] = linear_part(basis, starts[i], end, h, tau)
        if g:  # else the last step goes nowhere
            weights = _weights(g, grid.nodes(i, i - origin + 1, origin), options)
            advance[i, 1 : 1 + len(weights)] = c * weights
    return grid.table(basis, highest, advance, start=starts, correct=correct, noise=noise)


def _orders(calls: int, options: DPMSinglestepOptions) -> list[int]:
    """Number of predictions that the row of each call uses: 1, 2, 3, 1, 2, 3, ... and 1 at the end."""
    highest = options.solver_order
    orders = [1 + i % highest for i in range(calls)]
    if options.final_sigmas_type == "zero" or (options.lower_order_final and calls % highest == 0):
        orders[-1] = 1
    return orders


def _weights(g: float, nodes: list[float], options: DPMSinglestepOptions) -> np.ndarray:
    """Weights of the predictions at `nodes`, newest first; the last is at the start of the step."""
    if len(nodes) == 1 or options.solver_type == "heun":
        weights = through(g, nodes)
        if options.algorithm_type == "sde-dpmsolver++" and len(nodes) == 3:
            weights -= 2 * curvature(nodes)  # diffusers has -1/2 where the expansion of the integral has +1/2
        return weights
    if len(nodes) == 2:
        return halved(g, nodes[0])[::-1]
    start, newest = line(g, nodes[0], weight(1, g))  # Lu et al. 2022a, algorithm 2: the middle one has done its part
    return np.array([newest, 0.0, start])


SCHEDULERS = (
    Scheduler(
        "DPMSolverSinglestepScheduler",
        dpm_singlestep,
        DPMSinglestepOptions,
        {"dpmpp_2s": {"algorithm_type": "dpmsolver++", "solver_order": 2}},
        paper="Lu et al. 2022, DPM-Solver (arXiv 2206.00927) and DPM-Solver++ (arXiv 2211.01095)",
        takes=frozenset({"timesteps", "mu"}),
    ),
)

"""DEIS: the polynomial through the last predictions of eps, integrated exactly (Zhang and Chen 2023)."""

import numpy as np

from ..grids.solver_grid import SolverGrid, SolverOptions, SolverSpacingOptions, solver_grid
from ..options import choice, flag, whole
from ..scheduler import Run, Scheduler
from ..shared_options import ShiftingOptions
from ..table import Table
from .exponential_integrator import linear_part, through

_FEW_STEPS = 15  # below this, lower_order_final lowers the order of the last steps


class DEISOptions(ShiftingOptions, SolverSpacingOptions, SolverOptions):
    """Options of DEISMultistepScheduler."""

    solver_order: int = whole(2, least=1, most=3)
    algorithm_type: str = choice("deis", aliases={"dpmsolver": "deis", "dpmsolver++": "deis"})
    solver_type: str = choice("logrho", aliases=dict.fromkeys(("midpoint", "heun", "bh1", "bh2"), "logrho"))
    lower_order_final: bool = flag(True)


def deis(options: DEISOptions, run: Run) -> Table:
    """DEIS of orders 1 to 3, multistep, with polynomials in log(sigma / alpha) (log-rho of section 4, eq. 15).

    That is minus lambda, so that order 2 is also DPM-Solver-2 with solver_type heun. As in diffusers, a run always ends
    at the smallest noise level, never at 0.
    """
    grid = solver_grid(options, run, ends_on_grid=True)
    calls, highest = len(grid), options.solver_order
    advance = np.zeros((calls, 1 + highest))
    for i in range(calls):
        a, c, g, _ = linear_part("epsilon", *grid.step(i))
        advance[i, 0] = a
        if g:  # else the last step goes nowhere
            order = _order_of(i, grid, options)
            advance[i, 1 : 1 + order] = c * through(g, grid.nodes(i, order))
    return grid.table("epsilon", highest, advance)


def _order_of(i: int, grid: SolverGrid, options: DEISOptions) -> int:
    """Number of predictions that row i uses: few at the start, and few at the end of a short run."""
    order = min(options.solver_order, i + 1)
    return min(order, len(grid) - i) if options.lower_order_final and grid.whole < _FEW_STEPS else order


SCHEDULERS = (
    Scheduler(
        "DEISMultistepScheduler",
        deis,
        DEISOptions,
        {"deis": {}},
        paper="Zhang and Chen 2023, Fast Sampling with Exponential Integrator, arXiv 2204.13902",
        takes=frozenset({"mu"}),
    ),
)

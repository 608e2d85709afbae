"""DEIS: the polynomial through the last predictions of eps, integrated exactly (Zhang and Chen 2023)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..grids.solver_grid import SHIFTING, SOLVER, SPACING, SolverGrid, solver_grid
from ..options import choice, flag, whole
from ..scheduler import Run, Scheduler
from ..table import Table
from .exponential_integrator import linear_part, through

_FEW_STEPS = 15  # below this, lower_order_final lowers the order of the last steps


def deis(options: Mapping[str, Any], run: Run) -> Table:
    """DEIS of orders 1 to 3, multistep, with polynomials in log(sigma / alpha) (log-rho of section 4, eq. 15).

    That is minus lambda, so that order 2 is also DPM-Solver-2 with solver_type heun. As in diffusers, a run always ends
    at the smallest noise level, never at 0.
    """
    grid = solver_grid(options, run, ends_on_grid=True)
    calls, highest = len(grid), options["solver_order"]
    advance = np.zeros((calls, 1 + highest))
    for i in range(calls):
        a, c, g, _ = linear_part("epsilon", *grid.step(i))
        advance[i, 0] = a
        if g:  # else the last step goes nowhere
            order = _order_of(i, grid, options)
            advance[i, 1 : 1 + order] = c * through(g, grid.nodes(i, order))
    return grid.table("epsilon", highest, advance)


def _order_of(i: int, grid: SolverGrid, options: Mapping[str, Any]) -> int:
    """How many predictions row i uses: few at the start, and few at the end of a short run."""
    order = min(options["solver_order"], i + 1)
    return min(order, len(grid) - i) if options["lower_order_final"] and grid.whole < _FEW_STEPS else order


SCHEDULERS = (
    Scheduler(
        "DEISMultistepScheduler",
        deis,
        SOLVER
        | SPACING
        | SHIFTING
        | {
            "solver_order": whole(2, least=1, most=3),
            "algorithm_type": choice("deis", aliases={"dpmsolver": "deis", "dpmsolver++": "deis"}),
            "solver_type": choice("logrho", aliases=dict.fromkeys(("midpoint", "heun", "bh1", "bh2"), "logrho")),
            "lower_order_final": flag(True),
        },
        {"deis": {}},
        paper="Zhang and Chen 2023, Fast Sampling with Exponential Integrator, arXiv 2204.13902",
        takes=frozenset({"mu"}),
    ),
)

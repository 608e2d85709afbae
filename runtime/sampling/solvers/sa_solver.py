"""SA-Solver: stochastic Adams methods that predict and correct (Xue et al. 2023)."""

import numpy as np

from ...errors import SamplerError
from ..grids.noise_levels import level_shape
from ..grids.solver_grid import CutOffOptions, SolverOptions, SolverSpacingOptions, solver_grid
from ..options import choice, flag, only, whole
from ..scheduler import Run, Scheduler
from ..table import Table, identity
from .exponential_integrator import Basis, line, linear_part, through

_NOISY = (200, 800)  # timesteps from and to which diffusers' own tau is 1; it is 0 elsewhere


class SASolverOptions(CutOffOptions, SolverSpacingOptions, SolverOptions):
    """Options of SASolverScheduler."""

    predictor_order: int = whole(2, least=1, most=4)
    corrector_order: int = whole(2, least=1, most=4)
    tau_func: None = only(None)
    algorithm_type: str = choice("data_prediction", "noise_prediction")
    lower_order_final: bool = flag(True)


def sa_solver(options: SASolverOptions, run: Run) -> Table:
    """SA-Solver with a predictor and a corrector of orders 1 to 4 each, in x0 or in eps (algorithm 1).

    The corrector starts again from where the predictor did, with the same noise and the same linear part: it adds the
    difference of both polynomials to the prediction, and no noise has to be remembered. Order 1 in the end, as any
    tau > 0 is (theorem 5.1).

    As in diffusers, noise is drawn at every step, also where tau is 0 and it counts nothing; and a line through two
    predictions of x0 is not integrated exactly, but by g / 2, as UniPC's bh1 does.
    """
    basis: Basis = "sample" if options.algorithm_type == "data_prediction" else "epsilon"
    if basis == "epsilon":
        for option, refused in (("prediction_type", "flow_prediction"), ("thresholding", True)):
            if getattr(options, option) == refused:
                raise SamplerError(f"algorithm_type=noise_prediction takes no {option}={refused}")
    levels = "use_flow_sigmas" if options.use_flow_sigmas else level_shape(options)
    if run.strength < 1 and levels:
        raise SamplerError(f"strength below 1 and {levels} exclude each other: diffusers adds noise of another level")
    grid = solver_grid(options, run, ends_on_grid=True)
    calls = len(grid)
    remembered = max(options.predictor_order + 1, options.corrector_order)
    advance, correct, noise = np.zeros((calls, 1 + remembered)), identity(calls, remembered), np.zeros(calls)
    for i in range(calls):
        tau = 1.0 if _NOISY[0] <= grid.timesteps[i] <= _NOISY[1] else 0.0
        advance[i, 0], c, g, noise[i] = linear_part(basis, *grid.step(i), tau)
        if not g:  # the last step goes nowhere
            continue
        before, after = _orders_of(i, calls, options)
        predictor = c * _polynomial(g, grid.nodes(i, before), basis)
        advance[i, 1 : 1 + before] = predictor
        if i + 1 < calls:
            correct[i + 1, 2 : 2 + after] = c * _polynomial(g, [1.0, *grid.nodes(i, after - 1)], basis)
            correct[i + 1, 3 : 3 + before] -= predictor
    return grid.table(basis, 1, advance, correct=correct, noise=noise, idle_draws=True)


def _polynomial(g: float, nodes: list[float], basis: Basis) -> np.ndarray:
    """Weights of the predictions at `nodes`, newest first."""
    if len(nodes) != 2 or basis == "epsilon":
        return through(g, nodes)
    return line(g, nodes[1], -g / 2) if nodes[0] == 0 else line(g, nodes[0], -g / 2)[::-1]


def _orders_of(i: int, calls: int, options: SASolverOptions) -> tuple[int, int]:
    """Orders of the predictor of step i and of its corrector: low at the start, and low at the end."""
    before, after = min(options.predictor_order, i + 1), min(options.corrector_order, i + 2)
    if options.lower_order_final:
        before, after = min(before, calls - i), min(after, calls - i + 1)
    return before, after


SCHEDULERS = (
    Scheduler(
        "SASolverScheduler",
        sa_solver,
        SASolverOptions,
        {"sa_solver": {}},
        paper="Xue et al. 2023, SA-Solver: Stochastic Adams Solver, arXiv 2309.05019",
    ),
)

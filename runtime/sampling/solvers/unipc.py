"""UniPC: one formula that predicts and, after the denoiser call, corrects (Zhao et al. 2023)."""

from collections.abc import Iterable
from numbers import Integral
from operator import attrgetter
from typing import Any

import numpy as np

from ...errors import SamplerError
from ..grids.flow_shift import shift_of, shifted, stretched
from ..grids.noise_levels import level_shape, reshaped
from ..grids.schedule import training_schedule
from ..grids.solver_grid import SolverOptions, SolverSpacingOptions, solver_grid
from ..options import choice, flag, only, option, optional_number, whole
from ..scheduler import Run, Scheduler
from ..shared_options import ShiftingOptions
from ..table import Table, identity
from .exponential_integrator import Basis, line, linear_part, through, weight

_NOT_ONE = 1e-6  # what diffusers takes off a first flow sigma of 1


def _whole_numbers(value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError
    steps = list(value)
    if not all(isinstance(step, Integral) and not isinstance(step, bool) for step in steps):
        raise ValueError
    return tuple(int(step) for step in steps)


class UniPCOptions(ShiftingOptions, SolverSpacingOptions, SolverOptions):
    """Options of UniPCMultistepScheduler."""

    solver_order: int = whole(2, least=1, most=3)
    predict_x0: bool = flag(True)
    solver_type: str = choice("bh2", "bh1", aliases=dict.fromkeys(("midpoint", "heun", "logrho"), "bh2"))
    lower_order_final: bool = flag(True)
    disable_corrector: tuple[int, ...] = option((), _whole_numbers, "a list of whole numbers")
    solver_p: None = only(None)
    final_sigmas_type: str = choice("zero", "sigma_min")
    rescale_betas_zero_snr: bool = flag(False)
    shift_terminal: float | None = optional_number()


def unipc(options: UniPCOptions, run: Run) -> Table:
    """UniPC of orders 1 to 3, multistep, in x0 or (predict_x0 false) in eps.

    A corrector of order p goes through p + 1 predictions, the newest among them. Where its equations are solved, B(h)
    cancels: bh1 and bh2 only differ where diffusers, as the authors, integrates a line by B(h) / 2 instead (predictor
    of order 2, corrector of order 1). With predict_x0 false, thresholding does nothing.

    The result is finite where that of diffusers is NaN: with bh1, which multiplies 0 by B(h) at sigma 0.
    """
    basis: Basis = "sample" if options.predict_x0 else "epsilon"
    if basis == "epsilon" and options.final_sigmas_type == "zero":
        raise SamplerError("predict_x0=false cannot end at sigma 0; it needs final_sigmas_type sigma_min")
    if basis == "epsilon" and options.prediction_type == "flow_prediction":
        raise SamplerError("predict_x0=false takes no prediction_type=flow_prediction; allowed there: epsilon, sample")
    if run.sigmas is not None and not options.use_flow_sigmas:
        raise SamplerError("sigmas are those of flow matching here: they need use_flow_sigmas=true")
    grid = solver_grid(options, run, ends_on_grid=True, flow=_flow)
    calls, highest = len(grid), options.solver_order
    advance, correct = np.zeros((calls, 2 + highest)), identity(calls, 1 + highest)
    orders = [_order_of(i, calls, options) for i in range(calls)]
    if grid.positions[-1, 1] == 0 and orders[-1] > 1:
        raise SamplerError("lower_order_final=false cannot end at sigma 0; it needs final_sigmas_type sigma_min")
    # Of a whole run, whose first row is of order 1, and one more where corrected
    order = 2 if 0 in options.disable_corrector else min(highest + 1, 3)
    for i in range(calls):
        a, c, g, _ = linear_part(basis, *grid.step(i))
        # A grid down to sigma_min that also ends there: the last step goes nowhere
        weights = _predictor(g, grid.nodes(i, orders[i]), options.solver_type) if g else np.zeros(1)
        advance[i, 0], advance[i, 1 : 1 + len(weights)] = a, c * weights
        if i == 0 or i - 1 + grid.skipped in options.disable_corrector:
            continue
        a, c, g, _ = linear_part(basis, *grid.step(i - 1))
        weights = _corrector(g, grid.nodes(i - 1, orders[i - 1]), options.solver_type)
        correct[i] = 0.0
        correct[i, 1], correct[i, 2 : 2 + len(weights)] = a, c * weights
    return grid.table(basis, order, advance, correct=correct)


def _order_of(i: int, calls: int, options: UniPCOptions) -> int:
    """Few predictions at the start, and few at the end where the accuracy would not be stable."""
    order = min(options.solver_order, i + 1)
    return min(order, calls - i) if options.lower_order_final else order


def _predictor(g: float, nodes: list[float], solver_type: str) -> np.ndarray:
    """Weights of the predictions at `nodes` (the start of the step first), eq. 10."""
    return line(g, nodes[1], _half_of_b(g, solver_type)) if len(nodes) == 2 else through(g, nodes)


def _corrector(g: float, nodes: list[float], solver_type: str) -> np.ndarray:
    """Weights of the prediction at the end of the step, then of those at `nodes`, eq. 9."""
    return line(g, 1.0, _half_of_b(g, solver_type))[::-1] if len(nodes) == 1 else through(g, [1.0, *nodes])


def _half_of_b(g: float, solver_type: str) -> float:
    """-B(h) / 2: of g (bh1) or e^g - 1 (bh2)."""
    return -g / 2 if solver_type == "bh1" else weight(0, g) / 2


def _flow(options: UniPCOptions, run: Run) -> np.ndarray:
    """Sigmas of flow matching [steps]: those of a run or even ones, shifted; or Karras levels of the betas."""
    shape = level_shape(options)
    if shape == "use_karras_sigmas" and run.sigmas is None:
        levels = reshaped(options, training_schedule(options, finite_sigmas=True).sigmas[::-1], run.steps)
        of_levels: np.ndarray = levels / (levels + 1)
        return of_levels
    if shape:
        other = "use_flow_sigmas" if run.sigmas is None else "sigmas"
        raise SamplerError(f"{shape} and {other} exclude each other; allowed: one of them")
    sigmas = run.sigmas
    if sigmas is None:
        sigmas = np.linspace(1, 1 / options.num_train_timesteps, run.steps + 1)[:-1]
    elif sigmas[0] > 1 or sigmas[-1] == 0:
        raise SamplerError(f"sigmas go from {sigmas[0]:g} to {sigmas[-1]:g}; allowed: above 0, to 1")
    sigmas = stretched(shifted(sigmas, shift_of(options, run, options.flow_shift)), options.shift_terminal)
    if abs(sigmas[0] - 1) < _NOT_ONE:  # x0 could not be distinguished from eps, nor lambda
        sigmas[0] -= _NOT_ONE
    return sigmas


SCHEDULERS = (
    Scheduler(
        "UniPCMultistepScheduler",
        unipc,
        UniPCOptions,
        {"unipc": {}},
        paper="Zhao, Bai, Rao, Zhou and Lu 2023, UniPC, arXiv 2302.04867",
        takes=frozenset({"sigmas", "mu"}),
        limits=attrgetter("predict_x0"),
    ),
)

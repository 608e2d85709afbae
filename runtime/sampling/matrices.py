"""A sampler's rows as matrices: a step is one product.

The numpy loop takes a row term by term, and leaves out what is zero. On a device it is launches that cost, not terms:
there a whole step is  outputs = M[i] inputs,  each line of `inputs` and `outputs` being all latents of the batch.
"""

from dataclasses import dataclass

import numpy as np

from .sampler import VANISHING, Sampler


@dataclass(frozen=True)
class Layout:
    """Inputs and outputs of a step, the same for all steps of a run.

    Attributes:
        limited: x0 is clipped or thresholded.
        state: the corrected latents of the previous step are an input.
        past: number of predictions that are remembered from previous steps.
        noise: noise is added.
    """

    limited: bool
    state: bool
    past: int
    noise: bool

    @classmethod
    def of(cls, sampler: Sampler) -> "Layout":
        """The layout of a sampler's steps."""
        table = sampler.table
        return cls(
            limited=sampler.limit is not None,
            state=bool(table.correct[:, 1].any()),
            past=table.advance.shape[1] - 2,
            noise=sampler.stochastic,
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns: `output` is the guided output, or x0 of it where that is limited, and `limited` the result."""
        limited = ("limited",) if self.limited else ()
        state = ("state",) if self.state else ()
        noise = ("noise",) if self.noise else ()
        return ("latents", "output", *limited, *state, *self.past_names, *noise)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Rows: `prediction` is in the table's basis, and the next step's `past_1`."""
        return ("next_latents", "prediction", *(("next_state",) if self.state else ()))

    @property
    def past_names(self) -> tuple[str, ...]:
        """The remembered predictions, the last one first."""
        return tuple(f"past_{j + 1}" for j in range(self.past))


def matrices(sampler: Sampler) -> np.ndarray:
    """M, float64 [calls, rows, columns] of the sampler's layout; a prediction that never was has zeros."""
    layout, table = Layout.of(sampler), sampler.table
    unit = dict(zip(layout.inputs, np.eye(len(layout.inputs)), strict=True))
    zeros = np.zeros(len(layout.inputs))
    found = []
    for i in range(len(sampler)):
        prediction, base = _prediction(sampler, i, unit)
        terms = [prediction, *(unit[name] for name in layout.past_names)]
        before = unit["state"] if layout.state else zeros
        state = _sum(table.correct[i], [base, before, *terms])
        latents = _sum(table.advance[i], [state, *terms])
        if layout.noise:
            latents = latents + table.noise[i] * unit["noise"]
        outputs = {"next_latents": latents, "prediction": prediction, "next_state": state}
        found.append([outputs[name] for name in layout.outputs])
    return np.array(found)


def _prediction(sampler: Sampler, i: int, unit: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The prediction in the table's basis, and the latents to continue from, see `denoise`."""
    table, latents = sampler.table, unit["latents"]
    if sampler.limit is None:
        of_latents, of_output = sampler.to_basis[i]
        return of_latents * latents + of_output * unit["output"], latents
    alpha, limited = max(table.alphas[i], VANISHING), unit["limited"]
    if table.keep_noise:
        return limited, latents + alpha * (limited - unit["output"])
    return (limited if table.basis == "sample" else (latents - alpha * limited) / table.sigmas[i]), latents


def _sum(coefficients: np.ndarray, terms: list[np.ndarray]) -> np.ndarray:
    return sum((c * term for c, term in zip(coefficients, terms, strict=True)), np.zeros(len(terms[0])))

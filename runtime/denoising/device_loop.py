"""The loop on a device: each step is two bound runs, of the denoiser and of a step graph, with no copy to the host.

The first latents, the conditioning, all timesteps, coefficients and noise are copied to the device before the first
step; noise is drawn on the host, so that a seed gives the same image everywhere. From then on latents, history and
state stay on the device, bound from one run to the next. Copied back are the arrays of a step that the caller reads,
and at the end one number that shows whether all outputs were finite.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from ..families.conditioning import TEXT, Conditioning, denoiser_inputs
from ..families.parts import AnyGraph, body_of
from ..ort.cuda import STEP_GRAPH
from ..ort.device import Device
from ..ort.failures import run_error
from ..ort.library import ort
from ..ort.memory import Buffer, View, bind_input, bind_output, outputs_by_name, synchronize, to_host
from ..ort.session import check_finite
from ..sampling import Sampler, Step
from ..sampling.denoise import Draw, init_latents
from ..sampling.matrices import Layout, matrices
from .bound_denoiser import BoundDenoiser, key_of
from .guidance import Projection, rows_of
from .run import Run
from .step_graph import KNOWN, StepGraph, scalars

_STEP_GRAPHS = 16  # sessions in the cache; a run has at most four: with and without guidance, in this call and the next


class BoundLoop:
    """Denoising loop on a device, equal to `sampling.denoise` on the host.

    Buffers are kept for the next run of the same size. Runs at the same time, in threads or as generators that wait,
    have buffers of their own.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        pool: defaultdict[Hashable, list[BoundDenoiser]] = defaultdict(list)
        self._pool, self._sessions = device.own(pool), device.own(lru_cache(_STEP_GRAPHS)(partial(_open, device)))

    def denoise(self, graph: AnyGraph, run: Run, timings: dict[str, float] | None = None) -> Iterator[Step]:
        """Denoise step by step; nothing runs until the first step is requested.

        Args:
            graph: of the denoiser, always the same.
            run: arguments of the run. All noise is drawn before the first step, and arithmetic is in float32.
            timings: if given, the seconds spent in the loop are added under the denoiser's name: its share cannot be
                measured without waiting for it at every step.

        Yields:
            A `Step` for every denoiser call. Reading its latents or x0 waits for them and copies them.

        Raises:
            SamplerError, ArgumentError: see `sampling.denoise` and `Guidance.scales`.
            NumericalError: an output was not finite. It is found after the last call, and names the first such step.
        """
        first = init_latents(np.asarray(run.noise, np.float32), run.sampler, run.draw, run.image_latents)
        guided = [run.negative is not None and scale > 1 for scale in run.guidance.scales(run.sampler).tolist()]
        conditioning: dict[bool, Conditioning] = {False: run.positive}
        if run.negative is not None:
            conditioning[True] = rows_of(run.positive, run.negative, run.guidance)
        return self._steps(graph, run, first, conditioning, guided, timings)

    def _steps(
        self,
        graph: AnyGraph,
        run: Run,
        latents: np.ndarray,
        conditioning: Mapping[bool, Conditioning],
        guided: list[bool],
        timings: dict[str, float] | None,
    ) -> Iterator[Step]:
        name, total, start = graph.name, len(run.sampler), time.perf_counter()
        denoisers: dict[bool, BoundDenoiser] = {}
        try:
            values = self._device.call(self._begin, graph, run, latents, conditioning, guided, denoisers)
            for i, timestep in enumerate(run.sampler.timesteps.tolist()):
                before = values.arrays["latents"]
                self._device.call(values.step, i, guided[i], guided[min(i + 1, total - 1)])
                if i + 1 == total:
                    values.check_finite(name)
                if timings is not None:
                    timings[name] = timings.get(name, 0.0) + time.perf_counter() - start
                latest, prediction = values.arrays["latents"], values.arrays["prediction"]
                yield Step(i, total, timestep, latest, before, prediction, values.to_denoised[i], values.read)
                start = time.perf_counter()
        finally:
            self._device.call(self._give_back, denoisers)

    def _begin(
        self,
        graph: AnyGraph,
        run: Run,
        latents: np.ndarray,
        conditioning: Mapping[bool, Conditioning],
        guided: list[bool],
        denoisers: dict[bool, BoundDenoiser],
    ) -> _DeviceRun:
        """Copy a run to the device; the buffers that it takes go into `denoisers`."""
        for both in set(guided):
            denoisers[both] = self._take(graph, latents, conditioning[both])
        values = _DeviceRun(self._device, self._sessions.value, denoisers, latents, run)
        groups = run.guidance.groups if guided[0] else 1
        first = denoiser_inputs(np.concatenate([latents] * groups), conditioning[guided[0]])
        denoisers[guided[0]].feed(first["sample"], run.sampler.timesteps[0])
        return values

    def _give_back(self, denoisers: Mapping[bool, BoundDenoiser]) -> None:
        """Wait for what was launched, and let other runs have the buffers."""
        for denoiser in denoisers.values():
            denoiser.wait()
            self._pool.value[denoiser.key].append(denoiser)

    def _take(self, graph: AnyGraph, latents: np.ndarray, conditioning: Conditioning) -> BoundDenoiser:
        """Buffers that are not in use by another run."""
        shapes = {name: array.shape for name, array in conditioning.items()}
        rows = (len(conditioning[TEXT]), *latents.shape[1:])
        try:
            denoiser = self._pool.value[key_of(rows, shapes)].pop()
        except IndexError:
            denoiser = self._fresh(graph, rows, shapes)
        denoiser.condition(conditioning)
        return denoiser

    def _fresh(self, graph: AnyGraph, rows: Sequence[int], shapes: Mapping[str, Sequence[int]]) -> BoundDenoiser:
        """New buffers. On CUDA they are run once, which captures the graph: what fails there is worked around."""
        denoiser = BoundDenoiser(graph, rows, shapes)
        if graph.device.on_cuda:
            try:
                denoiser.launch()
                denoiser.wait()
            except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
                if not body_of(graph).works_around(error):
                    raise denoiser.error(error) from None
                self._pool.value.clear()  # they are bound to the session that failed
                return self._fresh(graph, rows, shapes)
        return denoiser


class _Session(NamedTuple):
    """Session of a step graph."""

    session: ort.InferenceSession
    inputs: list[str]
    outputs: list[str]
    options: ort.RunOptions


class _DeviceRun:
    """Arrays of one run on the device.

    Attributes:
        arrays: inputs of the next step, by the names of the step graph.
        to_denoised: float32 [calls, 2], see `Sampler`.
    """

    def __init__(
        self,
        device: Device,
        session: Callable[[StepGraph], _Session],
        denoisers: Mapping[bool, BoundDenoiser],
        latents: np.ndarray,
        run: Run,
    ) -> None:
        self._device, self._session, self._denoisers = device, session, denoisers
        self._guidance, self._sampler = run.guidance, run.sampler
        self._memory = memory = next(iter(denoisers.values())).memory
        self._layout = Layout.of(run.sampler)
        self._shape = latents.shape
        self.to_denoised = run.sampler.to_denoised.astype(np.float32)
        next_timesteps = [*run.sampler.timesteps[1:], run.sampler.timesteps[-1]]
        self._times = {both: denoiser.inputs.times(next_timesteps) for both, denoiser in denoisers.items()}
        rows = {"matrix": matrices(run.sampler), "scalars": scalars(run.sampler, run.guidance)}
        if self._layout.noise and run.draw is not None:
            rows["noise"] = _noise(run.sampler, run.draw, latents.shape)
        self._rows = {name: Buffer(row.astype(np.float32), memory, apart=True) for name, row in rows.items()}
        zeros = memory.put(np.zeros_like(latents))
        self.arrays: dict[str, ort.OrtValue] = {
            "latents": memory.put(latents),
            "fault": memory.put(np.zeros((), np.float32)),
            **dict.fromkeys(("state", "average", *self._layout.past_names), zeros),
        }
        self._blends = run.known is not None
        if run.known is not None:
            parts = (run.known.mask, *run.known.outside())
            self.arrays |= zip(KNOWN, [memory.put(part.astype(np.float32)) for part in parts], strict=True)
        self._faults: list[ort.OrtValue] = []

    def step(self, i: int, guided: bool, follows_guided: bool) -> None:
        """Launch call i of the denoiser, and its step graph, which writes the next call's inputs into its buffers."""
        self._denoisers[guided].run()
        current, successor = self._denoisers[guided], self._denoisers[follows_guided]
        step = self._session(self._step_graph(guided, follows_guided))
        inputs = {
            **self.arrays,
            **{name: rows.row(i) for name, rows in self._rows.items()},
            **successor.extra_channels,
            "output": current.output,
            "next_time": self._times[follows_guided].row(i),
        }
        targets: dict[str, View] = {"sample": successor.sample, "time": successor.inputs.time}
        self._binding = step.session.io_binding()
        for name in step.inputs:
            bind_input(self._binding, name, inputs[name])
        for name in step.outputs:
            bind_output(self._binding, name, targets.get(name, self._memory))
        try:
            step.session.run_with_iobinding(self._binding, step.options)
        except Exception as error:  # ONNX Runtime raises its own classes and RuntimeError alike
            raise run_error(error, "the step graph", {"latents": self._shape}) from None
        self._store(outputs_by_name(self._binding, step.outputs))

    def read(self, value: ort.OrtValue) -> np.ndarray:
        """Read-only copy on the host; the device's array does not change with it."""
        array = self._device.call(self._copy, value)
        array.flags.writeable = False
        return array

    def _copy(self, value: ort.OrtValue) -> np.ndarray:
        synchronize(self._binding)
        return to_host(value)

    def check_finite(self, name: str) -> None:
        """Wait for all runs, and raise an error if a denoiser output was not finite."""
        if not np.isfinite(self.read(self._faults[-1])):
            for i, fault in enumerate(self._faults):
                check_finite(self.read(fault), name, f" at step {i + 1} of {len(self._sampler)}")

    def _store(self, outputs: Mapping[str, ort.OrtValue]) -> None:
        names = self._layout.past_names
        recent = (outputs["prediction"], *(self.arrays[name] for name in names))
        self.arrays |= {name.removeprefix("next_"): value for name, value in outputs.items()}
        self.arrays |= zip(names, recent, strict=False)  # the oldest is dropped
        self._faults.append(outputs["next_fault"])

    def _step_graph(self, guided: bool, follows_guided: bool) -> StepGraph:
        projection = self._guidance.projection
        current, successor = self._denoisers[guided], self._denoisers[follows_guided]
        return StepGraph(
            shape=self._shape,
            layout=self._layout,
            limit=self._sampler.limit,
            groups=self._guidance.groups if guided else 1,
            rescale=self._guidance.rescale if guided else 0.0,
            projection=Projection(*projection) if guided and projection is not None else None,
            blends=self._blends,
            output=current.output.dtype,
            sample=successor.sample.dtype,
            sample_shape=successor.sample.shape,
            time=successor.inputs.time.dtype,
            time_shape=successor.inputs.time.shape,
        )


def _open(device: Device, graph: StepGraph) -> _Session:
    providers = device.session_providers(STEP_GRAPH)
    session = ort.InferenceSession(graph.to_bytes(), device.options(), providers=providers, enable_fallback=0)
    inputs, outputs = ([spec.name for spec in side] for side in (session.get_inputs(), session.get_outputs()))
    return _Session(session, inputs, outputs, device.run_options(bound=True))


def _noise(sampler: Sampler, draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Noise for every call, drawn in the order in which `sampling.denoise` draws; zeros for calls without noise."""
    zeros = np.zeros(shape, np.float32)
    draws = (sampler.table.noise != 0) | sampler.table.idle_draws
    return np.stack([np.asarray(draw(shape), np.float32) if each else zeros for each in draws.tolist()])

"""The loop where nothing crosses to the host: each step is two bound runs, of the network and of a step graph.

What a run needs is copied to the device before its first step: the first latents, the conditioning, and all timesteps,
coefficients and noise, which is drawn on the host so that a seed gives the same picture everywhere. From then on
latents, history and state stay there, and are handed from run to run by binding them. What is read back is what a step
is asked for, and at the end one number that says whether everything was finite.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import onnxruntime as ort

from ..families.conditioning import TEXT, Conditioning, fed
from ..ort.device import Device
from ..ort.memory import Buffer, View, bind_input, bind_output, outputs_by_name
from ..ort.session import Graph, check_finite
from ..sampling import Sampler, Step
from ..sampling.denoise import Draw, init_latents
from ..sampling.matrices import Layout, matrices
from .bound_denoiser import BoundNetwork, key_of
from .guidance import Guidance, Projection, rows_of
from .mask_blending import KnownRegion
from .step_graph import KEPT, StepGraph, scalars

_STEP_GRAPHS = 16  # sessions that are kept; a run has four at most, from and to calls with guidance and without


class BoundLoop:
    """Denoising where one network computes, as `sampling.denoise` does it on the host.

    Buffers are kept for the next run of the same size. Runs at the same time, in threads or as generators that wait,
    have buffers of their own.
    """

    def __init__(self, device: Device) -> None:
        self._free: defaultdict[Hashable, list[BoundNetwork]] = defaultdict(list)
        self._session = lru_cache(_STEP_GRAPHS)(partial(_open, device))

    def denoise(
        self,
        graph: Graph,
        positive: Conditioning,
        negative: Conditioning | None,
        guidance: Guidance,
        noise: np.ndarray,
        sampler: Sampler,
        draw: Draw | None = None,
        timings: dict[str, float] | None = None,
        image_latents: np.ndarray | None = None,
        known: KnownRegion | None = None,
    ) -> Iterator[Step]:
        """Turn noise into latents, step by step; nothing runs until the first step is asked for.

        Args:
            graph: of the network, always the same.
            positive, negative, guidance: see `guidance.guided`.
            noise, sampler, draw, image_latents: see `sampling.denoise`; everything that `draw` is asked for is drawn
                before the first step, and arithmetic is in float32.
            timings: if given, the seconds spent in the loop are added under the network's name: the network's share
                cannot be told without waiting for it at every step.
            known: the region of an image that is put back after every step.

        Yields:
            A `Step` for every network call. Reading its latents or x0 waits for them and copies them.

        Raises:
            SamplerError, ArgumentError: see `sampling.denoise` and `Guidance.scales`.
            NumericalError: an output was not finite. It is found after the last call, and names the first such step.
        """
        latents = init_latents(np.asarray(noise, np.float32), sampler, draw, image_latents)
        guided = [negative is not None and scale > 1 for scale in guidance.scales(sampler).tolist()]
        conditioning: dict[bool, Conditioning] = {False: positive}
        if negative is not None:
            conditioning[True] = rows_of(positive, negative, guidance)
        return self._steps(graph, latents, conditioning, guided, guidance, sampler, draw, timings, known)

    def _steps(
        self,
        graph: Graph,
        latents: np.ndarray,
        conditioning: Mapping[bool, Conditioning],
        guided: list[bool],
        guidance: Guidance,
        sampler: Sampler,
        draw: Draw | None,
        timings: dict[str, float] | None,
        known: KnownRegion | None,
    ) -> Iterator[Step]:
        name, total, start = graph.name, len(sampler), time.perf_counter()
        networks = {both: self._take(graph, latents, conditioning[both]) for both in set(guided)}
        try:
            run = _Run(self._session, networks, latents, guidance, sampler, draw, known)
            groups = guidance.groups if guided[0] else 1
            first = fed(np.concatenate([latents] * groups), conditioning[guided[0]])
            networks[guided[0]].feed(first["sample"], sampler.timesteps[0])
            for i, timestep in enumerate(sampler.timesteps.tolist()):
                before = run.values["latents"]
                networks[guided[i]].run()
                run.advance(i, guided[i], guided[min(i + 1, total - 1)])
                if i + 1 == total:
                    run.check_finite(name)
                if timings is not None:
                    timings[name] = timings.get(name, 0.0) + time.perf_counter() - start
                latest, prediction = run.values["latents"], run.values["prediction"]
                yield Step(i, total, timestep, latest, before, prediction, run.to_denoised[i], run.read)
                start = time.perf_counter()
        finally:
            for network in networks.values():
                network.wait()
                self._free[network.key].append(network)

    def _take(self, graph: Graph, latents: np.ndarray, conditioning: Conditioning) -> BoundNetwork:
        """Buffers that no other run is using."""
        shapes = {name: array.shape for name, array in conditioning.items()}
        rows = (len(conditioning[TEXT]), *latents.shape[1:])
        try:
            network = self._free[key_of(rows, shapes)].pop()
        except IndexError:
            network = BoundNetwork(graph, rows, shapes)
        network.condition(conditioning)
        return network


class _Session(NamedTuple):
    """A step graph that is loaded."""

    session: ort.InferenceSession
    inputs: list[str]
    outputs: list[str]
    options: ort.RunOptions


class _Run:
    """One run's values on the device.

    Attributes:
        values: by the names of the step graph: what the next step is given.
        to_denoised: float32 [calls, 2], see `Sampler`.
    """

    def __init__(
        self,
        session: Callable[[StepGraph], _Session],
        networks: Mapping[bool, BoundNetwork],
        latents: np.ndarray,
        guidance: Guidance,
        sampler: Sampler,
        draw: Draw | None,
        known: KnownRegion | None,
    ) -> None:
        self._session, self._networks, self._guidance, self._sampler = session, networks, guidance, sampler
        self._memory = memory = next(iter(networks.values())).memory
        self._layout = Layout.of(sampler)
        self._shape = latents.shape
        self.to_denoised = sampler.to_denoised.astype(np.float32)
        following = [*sampler.timesteps[1:], sampler.timesteps[-1]]
        self._timesteps = {
            both: Buffer(np.stack(network.timesteps(following)), memory, apart=True)
            for both, network in networks.items()
        }
        rows = {"matrix": matrices(sampler), "scalars": scalars(sampler, guidance)}
        if self._layout.noise and draw is not None:
            rows["noise"] = _noise(sampler, draw, latents.shape)
        self._rows = {name: Buffer(row.astype(np.float32), memory, apart=True) for name, row in rows.items()}
        nothing = memory.put(np.zeros_like(latents))
        self.values: dict[str, ort.OrtValue] = {
            "latents": memory.put(latents),
            "fault": memory.put(np.zeros((), np.float32)),
            **dict.fromkeys(("state", "average", *self._layout.past_names), nothing),
        }
        self._blends = known is not None
        if known is not None:
            parts = (known.mask, *known.outside())
            self.values |= zip(KEPT, [memory.put(part.astype(np.float32)) for part in parts], strict=True)
        self._faults: list[ort.OrtValue] = []

    def advance(self, i: int, guided: bool, follows_guided: bool) -> None:
        """Launch what comes after call i, and write what the next call is fed where its network reads it."""
        now, following = self._networks[guided], self._networks[follows_guided]
        step = self._session(self._step_graph(guided, follows_guided))
        given = {
            **self.values,
            **{name: rows.row(i) for name, rows in self._rows.items()},
            **following.behind,
            "output": now.output,
            "next_timestep": self._timesteps[follows_guided].row(i),
        }
        places: dict[str, View] = {"sample": following.sample, "timestep": following.timestep}
        self._binding = step.session.io_binding()
        for name in step.inputs:
            bind_input(self._binding, name, given[name])
        for name in step.outputs:
            bind_output(self._binding, name, places.get(name, self._memory))
        step.session.run_with_iobinding(self._binding, step.options)
        self._remember(outputs_by_name(self._binding, step.outputs))

    def read(self, value: ort.OrtValue) -> np.ndarray:
        """A copy on the host, which cannot be written into: it would change nothing on the device."""
        self._binding.synchronize_outputs()
        array: np.ndarray = value.numpy()
        array.flags.writeable = False
        return array

    def check_finite(self, name: str) -> None:
        """Wait for everything, and refuse outputs of the network that were not finite."""
        if not np.isfinite(self.read(self._faults[-1])):
            for i, fault in enumerate(self._faults):
                check_finite(self.read(fault), name, f" at step {i + 1} of {len(self._sampler)}")

    def _remember(self, made: Mapping[str, ort.OrtValue]) -> None:
        names = self._layout.past_names
        recent = (made["prediction"], *(self.values[name] for name in names))
        self.values |= {name.removeprefix("next_"): value for name, value in made.items()}
        self.values |= zip(names, recent, strict=False)  # the oldest is forgotten
        self._faults.append(made["next_fault"])

    def _step_graph(self, guided: bool, follows_guided: bool) -> StepGraph:
        projection = self._guidance.projection
        now, following = self._networks[guided], self._networks[follows_guided]
        return StepGraph(
            shape=self._shape,
            layout=self._layout,
            limit=self._sampler.limit,
            groups=self._guidance.groups if guided else 1,
            rescale=self._guidance.rescale if guided else 0.0,
            projection=Projection(*projection) if guided and projection is not None else None,
            blends=self._blends,
            output=now.output.dtype,
            sample=following.sample.dtype,
            sample_shape=following.sample.shape,
            timestep=following.timestep.dtype,
            timestep_shape=following.timestep.shape,
        )


def _open(device: Device, graph: StepGraph) -> _Session:
    providers = device.session_providers(use_tf32="0")
    session = ort.InferenceSession(graph.to_bytes(), device.options(), providers=providers, enable_fallback=0)
    inputs, outputs = ([spec.name for spec in side] for side in (session.get_inputs(), session.get_outputs()))
    return _Session(session, inputs, outputs, device.run_options(bound=True))


def _noise(sampler: Sampler, draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    """Noise for every call, drawn in the order in which `sampling.denoise` draws; zeros for calls that take none."""
    nothing = np.zeros(shape, np.float32)
    wanted = (sampler.table.noise != 0) | sampler.table.idle_draws
    return np.stack([np.asarray(draw(shape), np.float32) if each else nothing for each in wanted.tolist()])

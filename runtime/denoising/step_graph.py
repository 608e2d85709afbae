"""Arithmetic between two denoiser calls as an ONNX graph: guidance, limits on x0, and the sampler's row.

A run binds it between the denoiser's output and its next input, so that nothing leaves the device. The graph has
standard operators only; its shapes are fixed, and values that differ from step to step are inputs.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..families.conditioning import EXTRA_CHANNELS
from ..ort.graph_writer import DATA_TYPES, GraphWriter
from ..sampling import Sampler
from ..sampling.matrices import Layout
from ..sampling.parametrisation import Clip, Limit
from .guidance import Guidance, Projection, to_x0
from .mask_blending import KnownRegion

KNOWN = ("mask", "known_image", "known_noise")
"""Inputs of mask blending: the mask, and image latents and noise outside of it, see `mask_blending.KnownRegion`."""

SCALARS = (
    "x0_of_latents",
    "x0_of_output",
    "scale",
    "guide_of_latents",
    "guide_of_output",
    "update_scale",
    "image_scale",
    "level_of_image",
    "level_of_noise",
)
_FLOAT = np.dtype(np.float32)
_IMAGE_AXES = [1, 2, 3]  # of one image


@dataclass(frozen=True)
class StepGraph:
    """The description of a step graph, which is also the key of its session.

    Attributes:
        shape: latents [n, C, H, W].
        layout: of the sampler's matrices.
        limit: of x0.
        groups: of n rows each in the call before: 1 without guidance, 2 for negative and positive, 3 for unconditional,
            negative and positive.
        rescale, projection: see `Guidance`.
        blends: the known region is restored, see `mask_blending`.
        output, sample, time: types of the denoiser's output and inputs; time is the timestep, or what a part of the
            denoiser computes of it.
        sample_shape, time_shape: of the denoiser's inputs; the sample [n, C, H, W], or 2n or 3n rows where the next
            call has guidance, with more channels than the latents where there are extra channels.
    """

    shape: tuple[int, ...]
    layout: Layout
    limit: Limit | None
    groups: int
    rescale: float
    projection: Projection | None
    blends: bool
    output: np.dtype
    sample: np.dtype
    sample_shape: tuple[int, ...]
    time: np.dtype
    time_shape: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Write the graph.

        Inputs: output; latents and the other lines of the layout; matrix [outputs, inputs]; scalars [9], see `scalars`;
        next_time; fault; average for projected guidance; `KNOWN` for mask blending; extra_channels.
        Outputs: the output lines of the layout; sample and time, the denoiser's next inputs; next_fault, NaN once
        an output was not finite; next_average.
        """
        graph = GraphWriter("step")
        output = graph.input("output", self.output, (self.shape[0] * self.groups, *self.shape[1:]))
        for name in self.layout.inputs:
            if name not in ("output", "limited"):
                graph.input(name, _FLOAT, self.shape)
        graph.nodes("Split", [graph.input("scalars", _FLOAT, [len(SCALARS)])], SCALARS, axis=0)
        if self.output != _FLOAT:
            output = graph.node("Cast", output, to=DATA_TYPES["float32"])
        self._check_finite(graph, output)
        values = {"output": self._guide(graph, output) if self.groups > 1 else output}
        if self.limit is not None:
            values |= self._limit(graph, values["output"])
        self._advance(graph, values)
        self._feed(graph)
        return graph.to_bytes()

    def _check_finite(self, graph: GraphWriter, output: str) -> None:
        """Add 0 to the fault, or NaN if a value is NaN or infinite."""
        zeros = graph.node("Sub", output, output)
        graph.node(
            "Add", graph.input("fault", _FLOAT, []), graph.node("ReduceSum", zeros, keepdims=0), name="next_fault"
        )
        graph.output("next_fault", _FLOAT, [])

    def _guide(self, graph: GraphWriter, output: str) -> str:
        """See `guidance.guided`."""
        graph.nodes("Split", [output], ["unconditional", "negative", "positive"][-self.groups :], axis=0)
        update = graph.node("Sub", "positive", "negative")
        if self.projection is None:
            result = graph.node("Add", graph.node("Mul", update, "scale"), "negative")
        else:
            result = self._project(graph, update, self.projection)
        if self.groups > 2:
            toward_image = graph.node("Mul", graph.node("Sub", "negative", "unconditional"), "image_scale")
            result = graph.node("Add", result, toward_image)
        if not self.rescale:
            return result
        ratio = graph.node("Sqrt", graph.node("Div", _variance(graph, "positive"), _variance(graph, result)))
        share, rest = _scalar(graph, self.rescale), _scalar(graph, 1 - self.rescale)
        return graph.node("Mul", result, graph.node("Add", graph.node("Mul", ratio, share), rest))

    def _project(self, graph: GraphWriter, update: str, projection: Projection) -> str:
        """See `guidance.projected` and `guidance.project_update`."""
        before = graph.node("Mul", graph.input("average", _FLOAT, self.shape), _scalar(graph, projection.momentum))
        average = graph.node("Add", graph.node("Mul", update, "guide_of_output"), before, name="next_average")
        graph.output(average, _FLOAT, self.shape)
        rows = average
        if projection.norm_threshold:
            threshold = _scalar(graph, projection.norm_threshold)
            norm = graph.node("ReduceL2", average, axes=_IMAGE_AXES)
            rows = graph.node("Mul", average, graph.node("Div", threshold, graph.node("Max", norm, threshold)))
        x0 = _weighted(graph, "latents", "guide_of_latents", "positive", "guide_of_output")
        length = graph.node(
            "Max", graph.node("ReduceL2", x0, axes=_IMAGE_AXES), _scalar(graph, float(np.finfo(np.float32).tiny))
        )
        direction = graph.node("Div", x0, length)
        dot = graph.node("ReduceSum", graph.node("Mul", rows, direction), graph.constant(np.array(_IMAGE_AXES)))
        parallel = graph.node("Mul", graph.node("Mul", dot, direction), _scalar(graph, projection.eta - 1))
        return graph.node("Add", "positive", graph.node("Mul", graph.node("Add", rows, parallel), "update_scale"))

    def _limit(self, graph: GraphWriter, output: str) -> dict[str, str]:
        """Add x0, in place of the output, and the limited x0: see `parametrisation`."""
        x0 = _weighted(graph, "latents", "x0_of_latents", output, "x0_of_output")
        limit = self.limit
        if isinstance(limit, Clip):
            return {
                "output": x0,
                "limited": graph.node("Clip", x0, _scalar(graph, -limit.bound), _scalar(graph, limit.bound)),
            }
        assert limit is not None
        flat = graph.node("Reshape", x0, graph.constant(np.array([self.shape[0], -1])))
        size = math.prod(self.shape[1:])
        position = limit.ratio * (size - 1)  # of the quantile in ascending order
        below = math.floor(position)
        count = graph.constant(np.array([size - below]))
        graph.nodes("TopK", [graph.node("Abs", flat), count], ["largest", "places"], axis=1)
        neighbours = graph.constant(np.array([size - below - 1, max(size - below - 2, 0)]))
        share = np.array([[1 - (position - below)], [position - below]], np.float32)
        quantile = graph.node("MatMul", graph.node("Gather", "largest", neighbours, axis=1), graph.constant(share))
        threshold = graph.node("Clip", quantile, _scalar(graph, 1), _scalar(graph, limit.largest))
        clipped = graph.node("Min", graph.node("Max", flat, graph.node("Neg", threshold)), threshold)
        limited = graph.node("Div", clipped, threshold)
        return {"output": x0, "limited": graph.node("Reshape", limited, graph.constant(np.array(self.shape)))}

    def _advance(self, graph: GraphWriter, values: dict[str, str]) -> None:
        """One product: see `sampling.matrices`."""
        inputs, outputs = self.layout.inputs, self.layout.outputs
        lines = graph.node("Concat", *(values.get(name, name) for name in inputs), axis=0)
        lines = graph.node("Reshape", lines, graph.constant(np.array([len(inputs), -1])))
        product = graph.node("MatMul", graph.input("matrix", _FLOAT, [len(outputs), len(inputs)]), lines)
        shape = np.array([len(outputs) * self.shape[0], *self.shape[1:]])
        lines = graph.node("Reshape", product, graph.constant(shape))
        graph.nodes("Split", [lines], ["advanced", *outputs[1:]] if self.blends else outputs, axis=0)
        if self.blends:
            mask, *outside = KNOWN
            graph.input(mask, _FLOAT, [self.shape[0], 1, *self.shape[2:]])
            image, noise = (graph.input(name, _FLOAT, self.shape) for name in outside)
            restored = _weighted(graph, image, "level_of_image", noise, "level_of_noise")
            graph.node("Add", graph.node("Mul", "advanced", mask), restored, name="next_latents")
        for name in outputs:
            graph.output(name, _FLOAT, self.shape)

    def _feed(self, graph: GraphWriter) -> None:
        """Write the next inputs of the denoiser into its own buffers."""
        time = graph.input("next_time", self.time, self.time_shape)
        graph.output(graph.node("Identity", time, name="time"), self.time, self.time_shape)
        latents = "next_latents"
        if self.sample != _FLOAT:
            latents = graph.node("Cast", latents, to=DATA_TYPES[self.sample.name])
        count, channels, *size = self.sample_shape
        rows, extra = [latents] * (count // self.shape[0]), channels - self.shape[1]
        if extra:
            extra_channels = graph.input(EXTRA_CHANNELS, self.sample, (count, extra, *size))
            graph.node("Concat", graph.node("Concat", *rows, axis=0), extra_channels, name="sample", axis=1)
        else:
            graph.node("Concat", *rows, name="sample", axis=0)
        graph.output("sample", self.sample, self.sample_shape)


def scalars(sampler: Sampler, guidance: Guidance) -> np.ndarray:
    """Factors of each step other than the matrix, float64 [calls, 9], in the order of `SCALARS`; 0 where not used."""
    found = dict.fromkeys(SCALARS, np.zeros(len(sampler)))
    found["level_of_image"], found["level_of_noise"] = KnownRegion.levels(sampler).T
    found["scale"] = guidance.scales(sampler)
    if sampler.limit is not None:
        found["x0_of_latents"], found["x0_of_output"] = sampler.to_basis.T
    if guidance.projection is not None:
        found["guide_of_latents"], found["guide_of_output"] = to_x0(sampler).T
        found["update_scale"] = (found["scale"] - 1) / found["guide_of_output"]
    if guidance.image_scale is not None:
        found["image_scale"] = np.full(len(sampler), guidance.image_scale - 1)
    return np.stack([found[name] for name in SCALARS], axis=1)


def _weighted(graph: GraphWriter, first: str, of_first: str, second: str, of_second: str) -> str:
    return graph.node("Add", graph.node("Mul", first, of_first), graph.node("Mul", second, of_second))


def _variance(graph: GraphWriter, value: str) -> str:
    """The variance of each image, [n, 1, 1, 1]."""
    deviation = graph.node("Sub", value, graph.node("ReduceMean", value, axes=_IMAGE_AXES))
    return graph.node("ReduceMean", graph.node("Mul", deviation, deviation), axes=_IMAGE_AXES)


def _scalar(graph: GraphWriter, value: float) -> str:
    return graph.constant(np.array(value, np.float32))

"""Packages in the form of other exporters: graphs with other inputs and outputs, and other files around them.

Built from the known names, types and ranks of inputs and outputs, names of axes and files of each exporter. Casts
connect them to the inputs and outputs of Triptych's graphs.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.support.graphs import Value
from tests.support.packages import linked

FLOAT, HALF, INT64, INT32 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32


@dataclass(frozen=True)
class Edges:
    """Inputs and outputs of a graph by Triptych's names; all others stay as they are.

    `weights` is the file for external data; with `draws`, the encoder's output is a sample of the latents, drawn by the
    graph, not their distribution.
    """

    inputs: Mapping[str, Value] = field(default_factory=dict)
    outputs: Mapping[str, Value] = field(default_factory=dict)
    weights: str | None = None
    draws: bool = False


@dataclass(frozen=True)
class Dialect:
    """Form of an exporter: `_class_name` in model_index.json, graphs, and whether they have a config.json."""

    class_name: str
    graphs: Mapping[str, Edges]
    configs: bool = True


def _stable_diffusion(
    axes: Sequence[str], timestep: Value, *, floats: int = FLOAT, ids: int = INT32, prefixes: Sequence[str] = ("",) * 4
) -> dict[str, Edges]:
    """The graphs of Stable Diffusion; `axes` are batch, channels, height, width and tokens, `prefixes` of theirs."""
    text, unet, decoder, encoder = ([prefix + axis for axis in axes] for prefix in prefixes)
    return {
        "text_encoder": Edges({"input_ids": ("input_ids", ids, [text[0], text[4]])}),
        "unet": Edges(
            {
                "sample": ("sample", floats, unet[:4]),
                "timestep": timestep,
                "encoder_hidden_states": ("encoder_hidden_states", floats, [unet[0], unet[4], 44]),
            },
            {"out_sample": ("out_sample", floats, unet[:4])},
        ),
        "vae_decoder": Edges(
            {"latent_sample": ("latent_sample", floats, decoder[:4])}, {"sample": ("sample", floats, decoder[:4])}
        ),
        "vae_encoder": Edges({"sample": ("sample", floats, encoder[:4])}, draws=True),
    }


_OPTIMUM = ("batch_size", "num_channels", "height", "width", "sequence_length")
_SCRIPT = ("batch", "channels", "height", "width", "sequence")
_OLIVE = ("text_", "unet_sample_", "decoder_", "encoder_")


def _beside(graphs: dict[str, Edges], weights: str) -> dict[str, Edges]:
    unet = graphs["unet"]
    return graphs | {"unet": Edges(unet.inputs, unet.outputs, weights)}


DIALECTS = {
    "optimum 1.22": Dialect("ORTStableDiffusionPipeline", _stable_diffusion(_OPTIMUM, ("timestep", INT64, ["steps"]))),
    "diffusers": Dialect(
        "OnnxStableDiffusionPipeline",
        _beside(_stable_diffusion(_SCRIPT, ("timestep", FLOAT, ["batch"])), "weights.pb"),
        configs=False,
    ),
    "diffusers of 2022-09": Dialect(
        "StableDiffusionOnnxPipeline",
        _beside(_stable_diffusion(_SCRIPT, ("timestep", INT64, ["batch"])), "weights.pb"),
        configs=False,
    ),
    "olive": Dialect(
        "OnnxStableDiffusionPipeline",
        _stable_diffusion(_SCRIPT, ("timestep", INT64, ["unet_time_batch"]), prefixes=_OLIVE),
        configs=False,
    ),
    "olive in float16": Dialect(
        "OnnxStableDiffusionPipeline",
        _stable_diffusion(_SCRIPT, ("timestep", INT64, ["unet_time_batch"]), floats=HALF, prefixes=_OLIVE),
        configs=False,
    ),
    "browser": Dialect("StableDiffusionPipeline", _stable_diffusion(_SCRIPT, ("timestep", INT64, [1])), configs=False),
}

OLIVE_XL = Dialect(
    "ORTStableDiffusionXLPipeline",
    {
        "unet": Edges(
            {
                "timestep": ("timestep", FLOAT, ["unet_time_batch"]),
                "text_embeds": ("onnx::Concat_4", FLOAT, ["unet_text_embeds_batch", "unet_text_embeds_size"]),
                "time_ids": ("onnx::Shape_5", FLOAT, ["unet_time_ids_batch", "unet_time_ids_size"]),
            }
        ),
        "text_encoder": Edges({"input_ids": ("input_ids", INT32, ["text_batch", "text_sequence"])}),
    },
)


def in_dialect(package: Path, folder: Path, dialect: Dialect) -> Path:
    """The package as that exporter would have written it, in `folder`; it has no manifest."""
    linked(package, folder, _class_name=dialect.class_name)
    for name, edges in dialect.graphs.items():
        (folder / name).unlink()
        (folder / name).mkdir()
        reword(package / name / "model.onnx", folder / name / "model.onnx", edges)
        if dialect.configs:
            shutil.copyfile(package / name / "config.json", folder / name / "config.json")
    return folder


def reword(source: Path, target: Path, edges: Edges) -> None:
    """Write a graph with other edges."""
    model = onnx.load(source)
    graph = model.graph
    first, last = [], []
    for value in graph.input:
        if value.name in edges.inputs:
            given, _, shape = edges.inputs[value.name]
            own, inside = value.type.tensor_type, _renamed(graph, value.name)
            if len(shape) > len(own.shape.dim):  # a timestep for each row: they are all the same
                first += [_constant("zero", np.array(0)), helper.make_node("Gather", [given, "zero"], ["row"])]
                given = "row"
            first.append(helper.make_node("Cast", [given], [inside], to=own.elem_type))
            value.CopyFrom(helper.make_tensor_value_info(*edges.inputs[value.name]))
    for value in graph.output:
        if value.name in edges.outputs:
            name, kind, _ = edges.outputs[value.name]
            last.append(helper.make_node("Cast", [_renamed(graph, value.name)], [name], to=kind))
            value.CopyFrom(helper.make_tensor_value_info(*edges.outputs[value.name]))
    if edges.draws:
        last += _drawn(graph)
    nodes = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(nodes)
    beside: dict[str, Any] = (
        {"save_as_external_data": True, "location": edges.weights, "size_threshold": 1024} if edges.weights else {}
    )
    onnx.save(model, target, **beside)


def _renamed(graph: onnx.GraphProto, name: str) -> str:
    """Give a value another name in all nodes; gives that."""
    other = f"{name}_inside"
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [other if each == name else each for each in names]
    return other


def _drawn(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that draw from the distribution that a VAE encoder gives, in place of which the graph gives what is drawn.

    Noise comes from ONNX Runtime's own generator, and is another at every run.
    """
    (parameters,) = graph.output
    channels = parameters.type.tensor_type.shape.dim[1].dim_value // 2
    axes = ["batch", channels, "height", "width"]
    given = parameters.name
    parameters.CopyFrom(helper.make_tensor_value_info("latent_sample", FLOAT, axes))
    return [
        helper.make_node("Split", [given], ["mean", "log_variance"], axis=1, num_outputs=2),
        _constant("least", np.array(-30, np.float32)),
        _constant("most", np.array(20, np.float32)),
        _constant("half", np.array(0.5, np.float32)),
        helper.make_node("Clip", ["log_variance", "least", "most"], ["log_variance_within"]),
        helper.make_node("Mul", ["log_variance_within", "half"], ["log_deviation"]),
        helper.make_node("Exp", ["log_deviation"], ["deviation"]),
        helper.make_node("RandomNormalLike", ["mean"], ["unit_noise"]),
        helper.make_node("Mul", ["deviation", "unit_noise"], ["off"]),
        helper.make_node("Add", ["mean", "off"], ["latent_sample"]),
    ]


def _constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))

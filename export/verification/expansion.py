"""Expansion of CUDA's contrib operators to operators that ONNX Runtime has on CPU.

With these functions a graph in the cuda operator set is verified without a GPU: each node calls the function of its
name and number of inputs, in a domain of Triptych's own. The definitions follow docs/ContribOperators.md of ONNX
Runtime; normalizations compute in float32, as the kernels do.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser

from triptych.runtime.ort.library import ort

DOMAIN = "triptych.expansion"
_OPSETS = 'opset_import: ["" : 20, "com.microsoft" : 1]'

_NORMALIZE = """
    wide = Cast<to = 1>(total)
    image = Transpose<perm = [0, 3, 1, 2]>(wide)
    shape = Shape(image)
    kept = Constant<value_ints: ints = [0]>()
    rest = Constant<value_ints: ints = [-1]>()
    number = Constant<value_int: int = @groups>()
    many = Reshape(number, rest)
    grouped_shape = Concat<axis = 0>(kept, many, rest)
    grouped = Reshape(image, grouped_shape)
    last = Constant<value_ints: ints = [2]>()
    mean = ReduceMean(grouped, last)
    centered = Sub(grouped, mean)
    squares = Mul(centered, centered)
    variance = ReduceMean(squares, last)
    epsilon = Constant<value_float: float = @epsilon>()
    positive = Add(variance, epsilon)
    deviation = Sqrt(positive)
    normal_groups = Div(centered, deviation)
    normal_image = Reshape(normal_groups, shape)
    normal = Transpose<perm = [0, 2, 3, 1]>(normal_image)
    scaled = Mul(normal, gamma)
    shifted = Add(scaled, beta)
    flag = Constant<value_int: int = @activation>()
    active = Cast<to = 1>(flag)
    one = Constant<value_float: float = 1.0>()
    inactive = Sub(one, active)
    gate = Sigmoid(shifted)
    active_gate = Mul(active, gate)
    factor = Add(active_gate, inactive)
    result = Mul(shifted, factor)
    y = CastLike(result, x)
"""

_CONVOLVE = """
    image = Transpose<perm = [0, 3, 1, 2]>(x)
    kernel = Transpose<perm = [0, 3, 1, 2]>(weight)
    moved = Conv<pads: ints = @pads, strides: ints = @strides, dilations: ints = @dilations, group: int = @group,
        kernel_shape: ints = @kernel_shape>({inputs})
    y = Transpose<perm = [0, 2, 3, 1]>(moved)
"""
_CONV_ATTRIBUTES = "<pads, strides, dilations, group, kernel_shape>"
_NORM_ATTRIBUTES = "<epsilon, groups, activation, channels_last>"

OPERATORS = {
    ("NhwcConv", 2): f"{_CONV_ATTRIBUTES} (x, weight) => (y) {{{_CONVOLVE.format(inputs='image, kernel')}}}",
    (
        "NhwcConv",
        3,
    ): f"{_CONV_ATTRIBUTES} (x, weight, bias) => (y) {{{_CONVOLVE.format(inputs='image, kernel, bias')}}}",
    ("GroupNorm", 3): f"{_NORM_ATTRIBUTES} (x, gamma, beta) => (y) {{ total = Identity(x) {_NORMALIZE} }}",
    ("SkipGroupNorm", 4): f"""{_NORM_ATTRIBUTES} (x, gamma, beta, skip) => (y) {{
        middle = Constant<value_ints: ints = [1, 2]>()
        shift = Unsqueeze(skip, middle)
        total = Add(x, shift)
        {_NORMALIZE} }}""",
    ("SkipGroupNorm", 5): f"""{_NORM_ATTRIBUTES} (x, gamma, beta, skip, bias) => (y, total) {{
        biased = Add(x, bias)
        total = Add(biased, skip)
        {_NORMALIZE} }}""",
    ("BiasAdd", 3): """(x, bias, skip) => (y) {
        biased = Add(x, bias)
        y = Add(biased, skip) }""",
    ("BiasSplitGelu", 2): """(x, bias) => (y) {
        biased = Add(x, bias)
        left, right = Split<axis = -1, num_outputs = 2>(biased)
        gate = Gelu(right)
        y = Mul(left, gate) }""",
    ("MultiHeadAttention", 1): """<num_heads, unidirectional> (qkv) => (y) {
        q5, k5, v5 = Split<axis = 3, num_outputs = 3>(qkv)
        flat = Constant<value_ints: ints = [0, 0, -1]>()
        q = Reshape(q5, flat)
        k = Reshape(k5, flat)
        v = Reshape(v5, flat)
        y = com.microsoft.MultiHeadAttention<num_heads: int = @num_heads, unidirectional: int = @unidirectional>
            (q, k, v) }""",
}
"""(operator, number of inputs) -> attributes, inputs, outputs and body. Other operators have a CPU kernel."""


def open_on_cpu(graph: Path, options: ort.SessionOptions | None = None) -> ort.InferenceSession:
    """Open a written graph in any operator set on the CPU."""
    options = options or ort.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(graph.parent))
    return ort.InferenceSession(_runnable(graph), options, providers=["CPUExecutionProvider"])


def _runnable(graph: Path) -> str | bytes:
    """A graph that a session on the CPU accepts: the path, or the bytes of the graph with CUDA's operators expanded.

    Weights next to the graph stay there.
    """
    model = onnx.load(graph, load_external_data=False)
    used = set()
    for node in model.graph.node:
        key = (node.op_type, len(node.input))
        if node.domain == "com.microsoft" and key in OPERATORS:
            used.add(key)
            node.domain, node.op_type = DOMAIN, _name(key)
            missing = range(len(node.output), len(function(key).output))  # a function has all of its outputs
            node.output.extend(f"{node.output[0]}_{number}" for number in missing)
    if not used:
        return str(graph)
    model.functions.extend(function(key) for key in sorted(used))
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return bytes(model.SerializeToString())


def function(key: tuple[str, int]) -> onnx.FunctionProto:
    """The function for an operator with a number of inputs."""
    return onnx.parser.parse_function(f'<domain: "{DOMAIN}", {_OPSETS}> {_name(key)} {OPERATORS[key]}')


def _name(key: tuple[str, int]) -> str:
    return f"{key[0]}_{key[1]}"

"""Files of an ONNX graph: saving, optimisation by ONNX Runtime, and counting of operators."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from triptych.runtime.families.parts import MODEL
from triptych.runtime.ort.library import ort

EXTERNAL_DATA_BYTES = 100_000_000
"""Weights above this are stored next to the graph in `model.onnx_data`: a protobuf file is limited to 2 GiB, and ONNX
Runtime maps weights next to the graph, but copies those inside."""

GRAPH, WEIGHTS = "model.onnx", "model.onnx_data"


def save(model: ir.Model, folder: Path, name: str = MODEL) -> list[Path]:
    """Write a graph into `folder`, its weights next to it above EXTERNAL_DATA_BYTES, and return the files."""
    graph, data = folder / f"{name}.onnx", folder / f"{name}.onnx_data"
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    if weights <= EXTERNAL_DATA_BYTES:
        ir.save(model, graph)
        return [graph]
    ir.save(model, graph, external_data=data.name)
    return [graph, data]


def optimise(folder: Path) -> list[Path]:
    """Optimise the graph in `folder` with ONNX Runtime, write it back, and return the files.

    Constants are folded, operators fused, and convolutions get the blocked layout of this CPU, which the manifest
    records: a graph in blocks of 16 channels is wrong on a CPU with blocks of 8. Without blocks the U-Net of SD 1.5
    takes 12% longer, its decoder 15%.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    with TemporaryDirectory(dir=folder) as temporary:
        options.optimized_model_filepath = str(Path(temporary) / GRAPH)
        if (folder / WEIGHTS).exists():
            for key, value in (("file_name", WEIGHTS), ("min_size_in_bytes", "1024")):
                options.add_session_config_entry(f"session.optimized_model_external_initializers_{key}", value)
        options.add_session_config_entry("session.disable_prepacking", "1")  # it never runs: weights stay mapped
        ort.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
        return [file.replace(folder / file.name) for file in sorted(Path(temporary).iterdir())]


def count_operators(*paths: Path) -> dict[str, int]:
    """Operator -> its occurrences in written graphs: "Conv": 98; contrib operators as "com.microsoft::X"."""
    models = [ir.load(path) for path in paths]
    nodes = [node for model in models for node in model.graph.all_nodes()]
    nodes += [node for model in models for function in model.functions.values() for node in function.all_nodes()]
    counts = Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes)
    return dict(sorted(counts.items()))

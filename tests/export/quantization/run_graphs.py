"""Run every graph of a folder on its input: NAME.onnx on NAME-x.npy, its outputs to ANSWERS/NAME-0.npy and so on.

    python tests/export/quantization/run_graphs.py FOLDER ANSWERS

A program of its own, because a process has one ONNX Runtime, and test_integer_kernels.py compares several.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

if __name__ == "__main__":
    folder, outputs = map(Path, sys.argv[1:])
    for graph in sorted(folder.glob("*.onnx")):
        session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        inputs = {session.get_inputs()[0].name: np.load(folder / f"{graph.stem}-x.npy")}
        for index, output in enumerate(session.run(None, inputs)):
            np.save(outputs / f"{graph.stem}-{index}.npy", output)

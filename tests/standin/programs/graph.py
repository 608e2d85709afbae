"""Run a graph once on CUDA: python -m tests.standin.programs.graph GRAPH SHAPES

SHAPES, JSON, has the shape of each input of int64, which is zeros. Prints where the nodes run.
"""

import json
import sys

import numpy as np

from .sessions import Sessions


def main() -> None:
    """Read the command line, run and print."""
    graph, shapes = sys.argv[1], json.loads(sys.argv[2])
    sessions = Sessions()
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CUDAExecutionProvider"])
    session.run(None, {name: np.zeros(shape, np.int64) for name, shape in shapes.items()})
    print(json.dumps(sessions.placement()))


if __name__ == "__main__":
    main()

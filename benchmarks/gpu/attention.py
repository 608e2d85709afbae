"""One attention for each head size, as the models have them: which kernel runs, whether it is right, and its time.

python -m triptych.benchmarks.gpu.attention [HEAD_SIZE]

Each head size is measured in a process of its own. Outputs in float16 are compared with float64 on the host, and must
come within FLOOR_DB.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from . import graphs, kit

FLOOR_DB = 50.0
BUDGET = 0.3
"""Seconds for the time of one kernel."""
MOST_SECONDS = 60.0
ROWS = 64
"""Rows of the output that are compared, spread over the image."""
TEXT_TOKENS = 77
DEBUG_INFO = "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO"
"""Environment variable with which ONNX Runtime prints the kernel that a node chose."""


@dataclass(frozen=True)
class Attention:
    """Sizes of one attention, with the rows of one image with guidance.

    `form` is packed (query, key and value in one tensor), apart, or text (key and value are those of the text).
    """

    head_size: int
    heads: int
    tokens: int
    form: str

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape."""
        width = self.head_size * self.heads
        if self.form == "packed":
            return {"qkv": (kit.GUIDED, self.tokens, self.heads, 3, self.head_size)}
        keys = TEXT_TOKENS if self.form == "text" else self.tokens
        return {"q": (kit.GUIDED, self.tokens, width), **dict.fromkeys("kv", (kit.GUIDED, keys, width))}

    def write(self, path: Path) -> None:
        """Write a graph of this attention alone, in float16."""
        shape = (kit.GUIDED, self.tokens, self.head_size * self.heads)
        half = TensorProto.FLOAT16
        node = helper.make_node(
            "MultiHeadAttention", list(self.inputs), ["y"], domain="com.microsoft", num_heads=self.heads
        )
        inputs = [helper.make_tensor_value_info(name, half, each) for name, each in self.inputs.items()]
        graph = helper.make_graph([node], "attention", inputs, [helper.make_tensor_value_info("y", half, shape)])
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)

    def reference(self, inputs: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
        """Those rows of the output in float64, [n, rows, heads * head size]."""
        if self.form == "packed":
            query, key, value = (inputs["qkv"][:, :, :, kind] for kind in range(3))
        else:
            query, key, value = (inputs[name].reshape(kit.GUIDED, -1, self.heads, self.head_size) for name in "qkv")
        scores = np.einsum("nihd,njhd->nhij", query[:, rows].astype(np.float64), key.astype(np.float64), optimize=True)
        scores /= np.sqrt(self.head_size)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed: np.ndarray = np.einsum("nhij,njhd->nihd", shares, value.astype(np.float64), optimize=True)
        return mixed.reshape(kit.GUIDED, len(rows), -1)


FULL = {
    40: [("SD 1.5", 8, 4096)],
    64: [("SDXL", 10, 4096), ("SDXL", 20, 1024)],
    80: [("SD 1.5", 8, 1024)],
    128: [("FLUX.2", 24, 4608)],
    160: [("SD 1.5", 8, 256), ("SD 1.5", 8, 64)],
}
"""Head size -> models at the size of their training, with heads and tokens."""
SMALL = {40: [("SD 1.5", 2, 64)], 64: [("SDXL", 2, 64)]}
KERNELS: dict[str, dict[str, str]] = {
    "as chosen": {},
    "flash": {"sdpa_kernel": "1"},
    "memory-efficient": {"sdpa_kernel": "2"},
}
"""Provider options to compare; on GPUs of compute capability 9.0 and later ONNX Runtime chooses cuDNN's attention."""


@contextmanager
def printed() -> Iterator[list[str]]:
    """Lines that libraries print on standard output meanwhile, which are there at the end."""
    lines: list[str] = []
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield lines
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()


def measure(attention: Attention, options: dict[str, str]) -> dict[str, Any]:
    """Kernel, signal-to-noise ratio and seconds; with an error if the output is below the floor."""
    graph = kit.settings().work / "attention.onnx"
    attention.write(graph)
    with printed() as lines:
        os.environ[DEBUG_INFO] = "1"  # it is read when the session is created, and would be printed at each run
        session = graphs.open_session(graph, options)
        inputs = {name: half(shape, seed) for seed, (name, shape) in enumerate(attention.inputs.items())}
        bound = graphs.Bound(session, inputs)
        bound.launch()
        bound.wait()
        del os.environ[DEBUG_INFO]
    kernel = re.search(r"SdpaKernel=(\w+)", "\n".join(lines))
    rows = np.linspace(0, attention.tokens - 1, min(ROWS, attention.tokens), dtype=int)
    decibels = graphs.signal_to_noise(bound.outputs()["y"][:, rows], attention.reference(inputs, rows))
    quiet = graphs.Bound(graphs.open_session(graph, options), inputs)
    result = {"kernel": kernel and kernel[1], "db": decibels, **quiet.seconds(BUDGET)}
    if decibels < FLOOR_DB:
        result["error"] = f"below the floor of {FLOOR_DB:g} dB"
    return result


def half(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Unit Gaussian values in float16."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32).astype(np.float16)


def measure_head_size(head_size: int) -> None:
    """Measure all attentions of a head size in this process; results go into a file of their own."""
    results = kit.Results(f"attention-{head_size}")
    sizes = FULL if kit.settings().full else SMALL
    for model, heads, tokens in sizes[head_size]:
        for form in ("packed", "apart", "text"):
            for kernel, options in KERNELS.items() if kit.settings().on_cuda else [("as chosen", {})]:
                key = f"{head_size}: {model}, {heads} heads, {tokens} tokens, {form}, {kernel}"
                results.attempt(key, measure, Attention(head_size, heads, tokens, form), options)


def main() -> None:
    """Measure each head size in a process of its own, or the one that is given in this process."""
    if sys.argv[1:]:
        measure_head_size(int(sys.argv[1]))
        return
    results = kit.Results("attention")
    for head_size in FULL if kit.settings().full else SMALL:
        command = [sys.executable, "-m", __spec__.name, str(head_size)]
        seconds = max(5.0, min(MOST_SECONDS, kit.seconds_left()))
        try:
            code = subprocess.run(command, timeout=seconds, check=False).returncode
            failure = None if code == 0 else f"exit status {code}"
        except subprocess.TimeoutExpired:
            failure = f"took more than {seconds:.0f} s"
        for key, value in kit.read(f"attention-{head_size}").items():
            results.add(key, value)
        if failure is not None:
            results.add(f"{head_size}", {"error": failure})
    results.finish()


if __name__ == "__main__":
    main()

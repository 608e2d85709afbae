"""OpenVINO without ONNX Runtime: the plain export read, given fixed shapes and compiled for them.

int8 is post-training quantisation by NNCF (model type transformer, calibrated on the inputs of an image's steps), with
the rest of the graph in bf16.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino as ov

from ..work import ImageRequest, Setting, Size
from .loop import Feeds, Network, PlainLoop

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}
CALIBRATION_STEPS = 8


class OpenVino(PlainLoop):
    """One compiled model a graph, for one size."""

    def __init__(self, setting: Setting, precision: str) -> None:
        super().__init__(setting)
        self.precision, self.core = precision, ov.Core()

    def prepare(self, size: Size) -> None:
        """Quantise the U-Net, once for each package and size."""
        if self.precision != "int8" or self._quantised(size).is_file():
            return
        import nncf

        observed = list(self._observed(size))
        model = self._read("unet", size)
        quantised = nncf.quantize(
            model,
            nncf.Dataset(observed),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(observed),
        )
        self._quantised(size).parent.mkdir(parents=True, exist_ok=True)
        ov.save_model(quantised, self._quantised(size), compress_to_fp16=False)

    def open(self, component: str, size: Size) -> Network:
        """See `PlainLoop`."""
        quantised = component == "unet" and self.precision == "int8"
        model = self.core.read_model(self._quantised(size)) if quantised else self._read(component, size)
        return self._compile(model, _HINTS[self.precision])

    def _compile(self, model: ov.Model, hint: str) -> Network:
        threads = self.setting.threads
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        request = self.core.compile_model(model, "CPU", options).create_infer_request()

        def run(inputs: Feeds) -> np.ndarray:
            request.infer(dict(inputs))
            output: np.ndarray = request.get_output_tensor(0).data
            return output.astype(np.float32)

        return run

    def _read(self, component: str, size: Size) -> ov.Model:
        model = self.core.read_model(self.package.graph(component))
        model.reshape({name: array.shape for name, array in self.shapes.inputs(component, size).items()})
        return model

    def _quantised(self, size: Size) -> Path:
        name = f"unet-int8-{size.batch}x{size.height}x{size.width}.xml"
        return Path(self.setting.cache, "openvino", name)

    def _observed(self, size: Size) -> Iterator[Feeds]:
        """Inputs of the U-Net at all steps of an image of each prompt, in fp32."""
        inner = OpenVino(self.setting, "fp32")
        inner.load(("text_encoder", "unet", "vae_decoder"), size)
        network, seen = inner.networks["unet"], []

        def watch(inputs: Feeds) -> np.ndarray:
            seen.append(dict(inputs))
            return network(inputs)

        inner.networks["unet"] = watch
        for seed, prompt in enumerate(self.setting.prompts, start=1):
            inner.draw(ImageRequest(size, CALIBRATION_STEPS, prompt, seed, self.setting.guidance_scale, "euler", ""))
        yield from seen


def open_peer(setting: Setting, precision: str) -> OpenVino:
    """See `Adapter`; precision is fp32, bf16 or int8."""
    return OpenVino(setting, precision)

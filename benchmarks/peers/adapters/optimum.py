"""optimum's ORTStableDiffusionPipeline on the same ONNX graphs: diffusers' loop, with torch, around ONNX Runtime."""

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort
import torch
from optimum.onnxruntime import ORTStableDiffusionPipeline

from ..work import ImageRequest, Setting, Size
from .loop import Shapes
from .pipeline import images_from


class Optimum:
    """The pipeline; its components are wrappers of a session, called with tensors."""

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        self.setting, self.shapes = setting, Shapes(setting.package)

    def prepare(self, size: Size) -> None:
        """See `Adapter`."""

    def load(self, components: Sequence[str], size: Size) -> None:
        """See `Adapter`; the pipeline is always loaded whole."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.setting.threads
        self.pipe = ORTStableDiffusionPipeline.from_pretrained(
            self.setting.package, provider="CPUExecutionProvider", session_options=options
        )
        self.pipe.set_progress_bar_config(disable=True)

    def call(self, component: str, size: Size) -> Callable[[], object]:
        """See `Adapter`."""
        part = getattr(self.pipe, component)
        inputs = {name: torch.from_numpy(array) for name, array in self.shapes.inputs(component, size).items()}
        return lambda: part(**inputs)

    def draw(self, request: ImageRequest) -> np.ndarray:
        """See `Adapter`."""
        return images_from(self.pipe, request)


def open_peer(setting: Setting) -> Optimum:
    """See `Adapter`."""
    return Optimum(setting)

"""Triptych."""

from collections.abc import Callable, Sequence

import numpy as np

from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.session import Graph
from triptych.runtime.package.package import open_package
from triptych.runtime.pipeline import TextToImage

from ..work import COMPONENTS, ImageRequest, Setting, Size
from .loop import Shapes


class Own:
    """A package in `TextToImage`; a component alone is a `Graph`."""

    def __init__(self, setting: Setting, package: str, device: str, precision: str | None) -> None:
        self.package = open_package(package)
        self.shapes = Shapes(setting.package)
        on_cpu = device == "cpu"
        threads = {"intra_op_num_threads": setting.threads} if on_cpu else {}
        provider = {} if on_cpu else {"num_of_threads": str(setting.threads)}
        if precision is not None:
            provider["precision"] = precision
        self.device = open_device(device, session_options=threads, provider_options=provider)

    def prepare(self, size: Size) -> None:
        """See `Adapter`."""

    def load(self, components: Sequence[str], size: Size) -> None:
        """See `Adapter`."""
        if set(components) == set(COMPONENTS):
            self.pipe = TextToImage(self.package, self.device)
        else:
            self.graphs = {name: Graph(self.package.graph(name), self.device, name) for name in components}

    def call(self, component: str, size: Size) -> Callable[[], object]:
        """See `Adapter`."""
        graph, inputs = self.graphs[component], self.shapes.inputs(component, size)
        return lambda: graph(inputs)

    def draw(self, request: ImageRequest) -> np.ndarray:
        """See `Adapter`."""
        out = self.pipe(
            request.prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            seed=request.seed,
            height=request.size.height,
            width=request.size.width,
            num_images_per_prompt=request.size.batch,
            scheduler=request.scheduler,
        )
        return np.stack([np.asarray(image) for image in out.images])


def open_peer(setting: Setting, package: str, device: str = "cpu", precision: str | None = None) -> Own:
    """See `Adapter`."""
    return Own(setting, package, device, precision)

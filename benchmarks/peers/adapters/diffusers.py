"""PyTorch through diffusers: eager, in other precisions and layouts, or compiled by Inductor."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from ..work import COMPONENTS, ImageRequest, Setting, Size
from .loop import Shapes
from .pipeline import images_from

_CLASSES = {
    "text_encoder": ("text_encoder", CLIPTextModel),
    "unet": ("unet", UNet2DConditionModel),
    "vae_decoder": ("vae", AutoencoderKL),
}


class Diffusers:
    """Modules of the checkpoint, and the pipeline around them if all are loaded."""

    def __init__(self, setting: Setting, dtype: str, channels_last: bool, compiled: bool) -> None:
        torch.set_num_threads(setting.threads)
        torch.set_grad_enabled(False)
        self.setting, self.shapes = setting, Shapes(setting.package)
        self.dtype, self.channels_last, self.compiled = getattr(torch, dtype), channels_last, compiled

    def prepare(self, size: Size) -> None:
        """See `Adapter`."""

    def load(self, components: Sequence[str], size: Size) -> None:
        """See `Adapter`."""
        self.modules = {name: self._module(name) for name in components}
        if set(components) == set(COMPONENTS):
            text, unet, vae = (self.modules[name] for name in COMPONENTS)
            self.pipe = StableDiffusionPipeline.from_pretrained(
                self.setting.checkpoint, text_encoder=text, unet=unet, vae=vae, safety_checker=None
            )
            self.pipe.set_progress_bar_config(disable=True)

    def call(self, component: str, size: Size) -> Callable[[], object]:
        """See `Adapter`."""
        module = self.modules[component]
        arrays = self.shapes.inputs(component, size).values()
        inputs = [self._tensor(torch.from_numpy(array)) for array in arrays]
        if component == "vae_decoder":
            return lambda: module.decode(*inputs)
        return lambda: module(*inputs)

    def draw(self, request: ImageRequest) -> np.ndarray:
        """See `Adapter`."""
        return images_from(self.pipe, request)

    def product_seconds(self, size: int, dtype: str) -> float:
        """The fastest of several products of two square matrices, in seconds."""
        left = torch.randn(size, size).to(getattr(torch, dtype))
        seconds = []
        for _ in range(10):
            start = time.perf_counter()
            left @ left
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    def _module(self, component: str) -> Any:
        folder, kind = _CLASSES[component]
        module = kind.from_pretrained(self.setting.checkpoint, subfolder=folder, torch_dtype=self.dtype).eval()
        if self.channels_last and component != "text_encoder":
            module.to(memory_format=torch.channels_last)
        if not self.compiled:
            return module
        if component == "vae_decoder":
            module.decode = torch.compile(module.decode)
            return module
        module.compile()
        return module

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point() or tensor.ndim == 0:
            return tensor
        tensor = tensor.to(self.dtype)
        return tensor.to(memory_format=torch.channels_last) if self.channels_last and tensor.ndim == 4 else tensor


def open_peer(
    setting: Setting, dtype: str = "float32", channels_last: bool = False, compiled: bool = False
) -> Diffusers:
    """See `Adapter`."""
    return Diffusers(setting, dtype, channels_last, compiled)

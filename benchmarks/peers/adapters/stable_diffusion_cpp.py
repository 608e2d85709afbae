"""stable-diffusion.cpp: one file of weights in the original layout, whole images only.

Given fp32 weights it still convolves in fp16, and runs the two halves of guidance one after the other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from stable_diffusion_cpp import StableDiffusion

from ...checkpoints.original_layout import write_original
from ..work import ImageRequest, Setting, Size


class StableDiffusionCpp:
    """The library's model."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.file = Path(setting.cache, "stable-diffusion-cpp", "model.safetensors")

    def prepare(self, size: Size) -> None:
        """Write the checkpoint as one file in the layout of the original release."""
        if not self.file.is_file():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_original(Path(self.setting.checkpoint), self.file)

    def load(self, components: Sequence[str], size: Size) -> None:
        """See `Adapter`; everything is loaded."""
        self.model = StableDiffusion(
            model_path=str(self.file),
            n_threads=self.setting.threads,
            rng_type="cpu",
            sampler_rng_type="cpu",
            verbose=False,
        )

    def call(self, component: str, size: Size) -> Callable[[], object]:
        """See `Adapter`."""
        raise NotImplementedError("stable-diffusion.cpp cannot call a component alone; measure the whole image")

    def draw(self, request: ImageRequest) -> np.ndarray:
        """See `Adapter`."""
        images = self.model.generate_image(
            prompt=request.prompt,
            width=request.size.width,
            height=request.size.height,
            cfg_scale=request.guidance_scale,
            sample_method=request.scheduler,
            sample_steps=request.steps,
            seed=request.seed,
            batch_count=request.size.batch,
        )
        return np.stack([np.asarray(image.convert("RGB")) for image in images])


def open_peer(setting: Setting) -> StableDiffusionCpp:
    """See `Adapter`."""
    return StableDiffusionCpp(setting)

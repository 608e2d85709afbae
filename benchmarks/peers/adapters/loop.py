"""A plain loop around three graphs, for runtimes without one: Triptych's tokenizer, noise and sampler.

It adds less than a millisecond a step, so that the time of an image is that of the graphs.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime.denoising.guidance import Guidance, guided
from triptych.runtime.families.conditioning import TEXT, Conditioning
from triptych.runtime.image.pixels import to_pixels
from triptych.runtime.noise import noise_source
from triptych.runtime.package.package import family_of, open_package
from triptych.runtime.sampling import Sampler, denoise
from triptych.runtime.text.clip import ClipTokenizer

from ..work import ImageRequest, Setting, Size

Feeds = Mapping[str, np.ndarray]
Network = Callable[[Feeds], np.ndarray]
TIMESTEP = 500


class Shapes:
    """Random inputs of the components of a package."""

    def __init__(self, package: str | Path) -> None:
        opened = open_package(package)
        unet, vae = opened.config("unet"), opened.config("vae_decoder")
        self.channels, self.width = int(unet["in_channels"]), int(unet["cross_attention_dim"])
        self.factor = 2 ** (len(vae["block_out_channels"]) - 1)
        self.scaling_factor = float(vae["scaling_factor"])
        self.tokenizer = ClipTokenizer.load(opened.path / "tokenizer")

    def latents(self, size: Size) -> tuple[int, int, int, int]:
        """Shape of the latents [n, C, h, w]."""
        return size.batch, self.channels, size.height // self.factor, size.width // self.factor

    def inputs(self, component: str, size: Size, prompt: str = "a red heart") -> dict[str, np.ndarray]:
        """Random inputs of one call by name, as exported graphs have them."""
        generator = np.random.default_rng(0)
        latents = generator.standard_normal(self.latents(size), np.float32)
        if component == "text_encoder":
            return {"input_ids": self.tokenizer.encode([prompt] * size.batch).ids}
        if component == "vae_decoder":
            return {"latent_sample": latents / np.float32(self.scaling_factor)}
        states = generator.standard_normal((2 * size.batch, self.tokenizer.length, self.width), np.float32)
        timestep = np.asarray(TIMESTEP, np.float32)
        return {"sample": np.concatenate([latents, latents]), "timestep": timestep, TEXT: states}


class PlainLoop:
    """Adapter for a runtime of ONNX graphs; subclasses open a graph."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.package = setting, open_package(setting.package)
        self.shapes, self.family = Shapes(setting.package), family_of(self.package)
        self.networks: dict[str, Network] = {}

    def open(self, component: str, size: Size) -> Network:
        """Open a component: a function from its inputs to its first output, float32."""
        raise NotImplementedError

    def prepare(self, size: Size) -> None:
        """See `Adapter`."""

    def load(self, components: Sequence[str], size: Size) -> None:
        """See `Adapter`."""
        self.networks = {name: self.open(name, size) for name in components}

    def call(self, component: str, size: Size) -> Callable[[], object]:
        """See `Adapter`."""
        network, inputs = self.networks[component], self.shapes.inputs(component, size)
        return lambda: network(inputs)

    def draw(self, request: ImageRequest) -> np.ndarray:
        """See `Adapter`."""
        config = self.family.scheduler_config(self.package.scheduler_config(), request.scheduler)
        sampler = Sampler.from_config(config, request.steps)
        one = Size(1, request.size.height, request.size.width)
        seeds = range(request.seed, request.seed + request.size.batch)
        noise = np.concatenate([noise_source("torch", seed).randn(self.shapes.latents(one)) for seed in seeds])
        negative, positive = ({TEXT: self._encode(text, request.size)} for text in ("", request.prompt))

        def network(latents: np.ndarray, timestep: float, conditioning: Conditioning) -> np.ndarray:
            time = np.asarray(timestep, np.float32)
            return self.networks["unet"]({"sample": latents, "timestep": time, **conditioning})

        predict = guided(network, positive, negative, Guidance(request.guidance_scale), sampler)
        *_, last = denoise(predict, noise, sampler)
        scaled = last.latents / np.float32(self.shapes.scaling_factor)
        return to_pixels(self.networks["vae_decoder"]({"latent_sample": scaled}))

    def _encode(self, text: str, size: Size) -> np.ndarray:
        return self.networks["text_encoder"](self.shapes.inputs("text_encoder", size, text))


def feeds_in_types(inputs: Feeds, types: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Inputs, each in the graph's type."""
    return {name: inputs[name].astype(kind, copy=False) for name, kind in types.items()}

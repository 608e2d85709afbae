"""Text to image: encode, denoise, decode. It reads top to bottom, and each phase can be used alone."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from .arguments import check_latents, check_size, seeds_from, texts_of
from .bound import BoundLoop
from .components import DECODER, PREVIEW_DECODER, Components
from .conditioning import GUIDANCE, Conditioning, Sizes, embedded, told_sizes
from .decoding import decode, decode_in_tiles
from .device import Device, Provider, open_device
from .encoding import TextEncoders
from .errors import Cancelled
from .families import family_of
from .guidance import Guidance, guided
from .host_network import HostNetwork
from .image import to_image
from .noise import noise_source
from .package import Package, open_package
from .sampling import Sampler, Step, denoise
from .session import Graph
from .settings import Settings, own_version, plain
from .shapes import latent_shape, scaling_factor, vae_factor

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


@dataclass(frozen=True)
class Output:
    """Pictures, and how they came about.

    `latents` float32 [n, C, h, w] are what the decoder decodes: `pipe.decode(out.latents)` gives the pictures again.
    `timings` are seconds by component, `sampler` being everything in the loop that is not the network; on CUDA the
    network's hold the sampler's arithmetic too.
    """

    images: "list[Picture]"
    latents: np.ndarray
    seeds: list[int | None]
    timings: dict[str, float] = field(default_factory=dict)


class TextToImage:
    """A package, loaded: each graph in a session of its own, no state between pictures."""

    def __init__(self, package: Package, device: Device, memory: str = "fast") -> None:
        self.package = package
        self.device = device
        self.memory = memory
        self.family = family_of(package)
        names = (*self.family.text_encoders, self.family.generator, DECODER)
        self._graphs = Components(package, device, names, memory)
        self.text_encoders = TextEncoders(package, self._graphs, self.family)
        network = self._graphs.signature(self.family.generator)
        self._network_inputs = network.inputs
        vae, generator = package.config(DECODER), package.config(self.family.generator)
        self.scaling_factor, self.vae_scale_factor = scaling_factor(vae), vae_factor(vae)
        self._bound = device.memory.kind != "cpu"
        self._loops: WeakKeyDictionary[Graph, BoundLoop] = WeakKeyDictionary()  # they go when the graph goes
        self.latent_channels, self.latent_size = latent_shape(network, generator)

    @classmethod
    def load(
        cls,
        package: str | Path,
        device: str | Sequence[Provider] = "auto",
        *,
        memory: str = "fast",
        session_options: Mapping[str, Any] | None = None,
        provider_options: Mapping[str, Any] | None = None,
    ) -> "TextToImage":
        """Open a package and load its graphs.

        Args:
            package: a folder that `triptych export` or another exporter of the ecosystem wrote.
            device: auto, cpu, cuda, cuda:1, openvino, tensorrt, or a list of ONNX Runtime providers.
            memory: fast has all graphs in memory from the start; low has one at a time, its weights mapped from the
                package's files, and decodes large pictures in tiles.
            session_options: attributes of `onnxruntime.SessionOptions`, or session configuration keys.
            provider_options: options of the provider that runs the graphs.

        Raises:
            ArgumentError: there is no such memory policy.
            PackageError: the folder is no package, or not whole, or its graphs do not fit each other.
            ProviderError: the device that was asked for cannot run here.
        """
        opened = open_package(package)
        chosen = open_device(device, session_options=session_options, provider_options=provider_options)
        return cls(opened, chosen, memory)

    def encode(self, prompts: Sequence[str], prompts_2: Sequence[str] | None = None) -> Conditioning:
        """The conditioning of the prompts, a row for each; warns with the text that did not fit.

        `prompts_2` are what the second text encoder reads where it is to read something else.
        """
        columns = [prompts, *[prompts if prompts_2 is None else prompts_2] * (len(self.family.encoders) - 1)]
        return self.text_encoders.encode(list(zip(*columns, strict=True)))

    def denoise(
        self,
        positive: Conditioning,
        negative: Conditioning | None,
        noise: np.ndarray,
        sampler: Sampler,
        guidance_scale: float | Sequence[float] | Guidance = 7.5,
        draw: Callable[[tuple[int, ...]], np.ndarray] | None = None,
        timings: dict[str, float] | None = None,
    ) -> Iterator[Step]:
        """Denoise step by step; leave the loop early and nothing more is computed.

        Args:
            positive: conditioning of the prompts, see `encode`; sizes that it lacks are the picture's own.
            negative: the same of the negative prompts; None is no guidance, and half the work.
            noise: unit Gaussian float32 [n, C, h, w].
            sampler: which scheduler, in how many steps.
            guidance_scale: a number, one for each network call, or everything that there is to say: see `Guidance`.
            draw: shape -> unit Gaussian, for stochastic samplers.
            timings: if given, the seconds spent in the network are added under its name; on CUDA, those of the loop.

        On the CPU the network runs picture by picture, and the loop is numpy's. On CUDA nothing leaves the device but
        what is read of a step, see `BoundLoop`.

        Raises:
            ArgumentError: a guidance that cannot be used with this sampler.
            NumericalError: the network gave NaN or infinity; names the step.
        """
        guidance = guidance_scale if isinstance(guidance_scale, Guidance) else Guidance(guidance_scale)
        positive = self.completed(positive, noise, guidance)
        if GUIDANCE in positive:
            negative, guidance = None, Guidance(1.0)
        if negative is not None:
            negative = self.completed(negative, noise, guidance)
        name = self.family.generator
        if self._bound:
            graph = self._graphs[name]
            loop = self._loops.setdefault(graph, BoundLoop(self.device))
            return loop.denoise(graph, positive, negative, guidance, noise, sampler, draw, timings)
        network = HostNetwork(self._graphs, name, len(sampler), timings)
        return denoise(guided(network, positive, negative, guidance, sampler), noise, sampler, draw)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Pixels uint8 [n, H, W, 3] of latents [n, C, h, w]; one picture at a time, for the sake of memory.

        With `memory="low"`, one tile at a time: see `triptych.runtime.decoding`.
        """
        decoder, scaled = self._graphs[DECODER], latents / np.float32(self.scaling_factor)
        if self.memory == "low":
            return decode_in_tiles(decoder, scaled, self.vae_scale_factor)
        return decode(decoder, scaled)

    def preview(self, step: Step) -> np.ndarray:
        """Pixels uint8 [n, H, W, 3] of what the picture would be as of `step`, by the package's tiny decoder.

        Raises:
            PackageError: the package has none; `triptych export --preview-decoder` adds it.
        """
        config = self.package.config(PREVIEW_DECODER)
        return decode(self._graphs[PREVIEW_DECODER], step.denoised / np.float32(scaling_factor(config)))

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative_prompt: str | Sequence[str] | None = None,
        prompt_2: str | Sequence[str] | None = None,
        negative_prompt_2: str | Sequence[str] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | Sequence[float] | None = None,
        guidance_rescale: float = 0.0,
        guidance_interval: Sequence[float] | None = None,
        guidance_projection: Sequence[float] | None = None,
        eta: float = 0.0,
        timesteps: Sequence[float] | str | None = None,
        sigmas: Sequence[float] | str | None = None,
        seed: int | None = None,
        height: int | None = None,
        width: int | None = None,
        original_size: Sequence[int] | None = None,
        crops_coords_top_left: Sequence[int] | None = None,
        target_size: Sequence[int] | None = None,
        num_images_per_prompt: int = 1,
        scheduler: str | None = None,
        latents: np.ndarray | None = None,
        noise: str = "torch",
        callback: Callable[[Step], bool | None] | None = None,
    ) -> Output:
        """Make pictures.

        Args:
            prompt: one prompt or several.
            negative_prompt: what to avoid; one for all prompts, or one for each. None is the empty text, or for SDXL
                zeros in place of its conditioning, where the checkpoint says so.
            prompt_2, negative_prompt_2: likewise for the second text encoder; None is what the first one reads.
            num_inference_steps: steps of the scheduler; None is what diffusers' pipeline takes, see `Family`.
            guidance_scale: classifier-free guidance; at 1.0 or less there is none, at half the work (as in diffusers).
                A list has one for each network call. Latent consistency models take one number, at no cost. None is
                the pipeline's own.
            guidance_rescale: share of the guided output that is given the standard deviation of the positive one, 0 to
                1 (Lin et al. 2023).
            guidance_interval: (low, high), noise levels sigma / alpha outside of which there is no guidance, at half
                the work but for graphs of a fixed batch (Kynkäänniemi et al. 2024).
            guidance_projection: `Projection` or (eta, norm_threshold, momentum): adaptive projected guidance (Sadat et
                al. 2024).
            eta, timesteps, sigmas: see `Sampler.from_config`; a grid takes the place of num_inference_steps.
            seed: picture k of the call uses seed + k, alone or in a batch; None draws one, see `Output.seeds`.
            height: pixels; None is the package's own size. `width` likewise.
            width: pixels.
            original_size, crops_coords_top_left, target_size: what SDXL is told of sizes, see `conditioning.Sizes`;
                None is the picture's own size, and no crop.
            num_images_per_prompt: pictures for each prompt, one after the other in the output.
            scheduler: another scheduler than the package's, by short name or diffusers class name.
            latents: the starting noise, float32 [n, C, h, w], in place of the seed's.
            noise: where the seed's noise comes from: torch (as PyTorch on CPU), torch_cuda or numpy.
            callback: called after every step; returning False stops the picture.

        Raises:
            ArgumentError, SamplerError: an argument that cannot be used, with what is allowed.
            NumericalError: a component gave NaN or infinity.
            Cancelled: the callback returned False.
        """
        start = time.perf_counter()
        family, encoders = self.family, len(self.family.encoders)
        steps = family.num_inference_steps if num_inference_steps is None else num_inference_steps
        scale = family.guidance_scale if guidance_scale is None else guidance_scale
        given = {
            "prompt": prompt,
            "prompt_2": prompt_2,
            "negative_prompt": negative_prompt,
            "negative_prompt_2": negative_prompt_2,
        }
        texts = texts_of(given, num_images_per_prompt, encoders)
        latent_height, latent_width = self._latent_size(height, width)
        height, width = latent_height * self.vae_scale_factor, latent_width * self.vae_scale_factor
        sizes = Sizes(original_size, crops_coords_top_left, target_size)
        told = told_sizes(sizes, self._network_inputs, len(texts), height, width)
        config = family.scheduler_config(self.package.scheduler_config(), scheduler)
        sampler = Sampler.from_config(config, steps, eta=eta, timesteps=timesteps, sigmas=sigmas)
        guidance = Guidance(scale, guidance_rescale, guidance_interval, guidance_projection)
        needs_negative = GUIDANCE not in self._network_inputs and (guidance.scales(sampler) > 1).any()
        seeds: list[int | None] = [None] * len(texts)
        if latents is None:
            seeds = list(seeds_from(seed, len(texts)))
        sources = [noise_source(noise, image_seed or 0) for image_seed in seeds]
        shape = (1, self.latent_channels, latent_height, latent_width)

        def draw(_: tuple[int, ...]) -> np.ndarray:
            return np.concatenate([source.randn(shape) for source in sources])

        unit_noise = draw(shape) if latents is None else check_latents(latents, (len(texts), *shape[1:]))

        encoding = time.perf_counter()
        positive = self.text_encoders.encode([text.positive(encoders) for text in texts]) | told
        negative = None
        if needs_negative:
            negative = self.text_encoders.encode([text.negative(encoders) for text in texts]) | told
        looping = time.perf_counter()
        timings = {self.family.generator: 0.0}
        for step in self.denoise(positive, negative, unit_noise, sampler, guidance, draw, timings):
            if callback is not None and callback(step) is False:
                raise Cancelled(f"cancelled after step {step.index + 1} of {len(sampler.timesteps)}")
        decoding = time.perf_counter()
        final = step.latents
        pixels = self.decode(final)
        done = time.perf_counter()
        timings |= {
            "text_encoder": looping - encoding,
            "sampler": decoding - looping - timings[self.family.generator],
            DECODER: done - decoding,
            "total": done - start,
        }
        settings = [
            Settings(
                **text._asdict(),
                width=width,
                height=height,
                num_inference_steps=steps if timesteps is None and sigmas is None else len(sampler),
                guidance_scale=plain(scale),
                guidance_rescale=float(guidance_rescale),
                guidance_interval=plain(guidance_interval),
                guidance_projection=plain(guidance_projection),
                eta=float(eta),
                timesteps=plain(timesteps),
                sigmas=plain(sigmas),
                seed=image_seed,
                **sizes.plain(),
                scheduler=str(config["_class_name"]) if scheduler is None else scheduler,
                noise=noise,
                model=self.package.path.resolve().name,
                model_hash=self.package.fingerprint,
                precision=str((self.package.manifest or {}).get("precision", "unknown")),
                version=own_version(),
            )
            for text, image_seed in zip(texts, seeds, strict=True)
        ]
        return Output(
            images=[to_image(picture, own) for picture, own in zip(pixels, settings, strict=True)],
            latents=final,
            seeds=seeds,
            timings=timings,
        )

    def completed(self, conditioning: Conditioning, latents: np.ndarray, guidance: Guidance) -> dict[str, np.ndarray]:
        """The conditioning with what the network is told besides texts: own sizes, and guidance if it embeds that."""
        count, inputs = len(latents), self._network_inputs
        height, width = (side * self.vae_scale_factor for side in latents.shape[2:])
        told = told_sizes(Sizes(), inputs, count, height, width)
        if GUIDANCE in inputs:
            told[GUIDANCE] = np.tile(embedded(guidance.only_scale(), int(inputs[GUIDANCE].shape[-1])), (count, 1))
        return {**told, **conditioning}

    def _latent_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width of the latents for a picture of that size in pixels, None being the package's own."""
        axes = self._graphs.signature(self.family.generator).inputs["sample"].shape[2:]
        factor, (own_height, own_width) = self.vae_scale_factor, self.latent_size
        return (
            check_size("height", height, own_height, factor, static=isinstance(axes[0], int)),
            check_size("width", width, own_width, factor, static=isinstance(axes[1], int)),
        )

"""Text to image: encode, denoise, decode. It reads top to bottom, and each phase can be used alone."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from .arguments import check_latents, check_size, one_each, seeds_from
from .bound import BoundLoop
from .chunks import batched, level, weighted
from .components import DECODER, PREVIEW_DECODER, Components, check_finite
from .decoding import decode, decode_in_tiles
from .device import Device, Provider, open_device
from .errors import ArgumentError, Cancelled
from .families import family_of
from .guidance import Guidance, guided
from .image import to_image
from .noise import noise_source
from .package import Package, open_package
from .sampling import Sampler, Step, denoise
from .session import Graph
from .settings import Settings, own_version, plain
from .shapes import check_widths, latent_shape, scaling_factor, vae_factor
from .text import ClipTokenizer

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
        self.tokenizer = ClipTokenizer.load(package.path / "tokenizer")
        names = (*self.family.text_encoders, self.family.generator, DECODER)
        self._graphs = Components(package, device, names, memory)
        network = self._graphs.signature(self.family.generator)
        check_widths(self._graphs.signature(self.family.text_encoders[0]), network, self.family.conditioning)
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

    def encode(self, prompts: Sequence[str]) -> np.ndarray:
        """The conditioning of the prompts, float32 [n, tokens, width]: see `triptych.runtime.chunks`.

        It is as long as the longest needs: encode in one call what goes into one. A package of fixed shapes takes so
        many tokens and no more; what is left out is quoted in a warning.

        Raises:
            ArgumentError: text that is not valid Unicode, or weights that cannot be applied.
            NumericalError: the text encoder gave NaN or infinity.
        """
        name, length = self.family.text_encoders[0], self.tokenizer.length
        taken = self._graphs.signature(self.family.generator).inputs["encoder_hidden_states"].shape[1]
        chunks = batched(self.tokenizer, prompts, taken // length if isinstance(taken, int) else None)
        for cut in filter(None, chunks.cut):
            warnings.warn(f"the prompt is longer than {taken} tokens; left out: {cut!r}", stacklevel=2)
        ids = chunks.ids.reshape(-1, length)
        embeddings = self.family.embeddings(self._graphs[name]({"input_ids": ids}, release=True))
        check_finite(embeddings, name)
        width = embeddings.shape[-1]
        return weighted(embeddings.reshape(*chunks.ids.shape, width), chunks.weights).reshape(len(prompts), -1, width)

    def denoise(
        self,
        positive: np.ndarray,
        negative: np.ndarray | None,
        noise: np.ndarray,
        sampler: Sampler,
        guidance_scale: float | Sequence[float] | Guidance = 7.5,
        draw: Callable[[tuple[int, ...]], np.ndarray] | None = None,
        timings: dict[str, float] | None = None,
    ) -> Iterator[Step]:
        """Denoise step by step; leave the loop early and nothing more is computed.

        Args:
            positive: conditioning [n, tokens, width] of the prompts.
            negative: the same of the negative prompts; None is no guidance, and half the work.
            noise: unit Gaussian float32 [n, C, h, w].
            sampler: which scheduler, in how many steps.
            guidance_scale: a number, one for each network call, or everything that there is to say: see `Guidance`.
            draw: shape -> unit Gaussian, for stochastic samplers.
            timings: if given, the seconds spent in the network are added under its name; on CUDA, those of the loop.

        On the CPU the network runs picture by picture, and the loop is numpy's. On CUDA nothing leaves the device but
        what is read of a step, see `BoundLoop`.

        Raises:
            ArgumentError: a guidance that cannot be used with this sampler, or conditionings that differ in length.
            NumericalError: the network gave NaN or infinity; names the step.
        """
        if negative is not None and negative.shape[1] != positive.shape[1]:
            given = f"{positive.shape[1]} tokens and {negative.shape[1]} of the negative"
            raise ArgumentError(f"the conditioning has {given}; encode both in one call, for one length")
        guidance = guidance_scale if isinstance(guidance_scale, Guidance) else Guidance(guidance_scale)
        if self._bound:
            graph = self._graphs[self.family.generator]
            loop = self._loops.setdefault(graph, BoundLoop(self.device))
            return loop.denoise(graph, positive, negative, guidance, noise, sampler, draw, timings)
        name, total, call = self.family.generator, len(sampler.timesteps), 0

        def network(latents: np.ndarray, timestep: float, conditioning: np.ndarray) -> np.ndarray:
            nonlocal call
            call += 1
            inputs = {
                "sample": latents,
                "timestep": np.asarray(timestep),
                "encoder_hidden_states": conditioning,
            }
            start = time.perf_counter()
            output = next(iter(self._graphs[name](inputs, release=call == total).values())).astype(
                np.float32, copy=False
            )
            if timings is not None:
                timings[name] = timings.get(name, 0.0) + time.perf_counter() - start
            check_finite(output, name, f" at step {call} of {total}")
            return output

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
        negative_prompt: str | Sequence[str] = "",
        num_inference_steps: int = 50,
        guidance_scale: float | Sequence[float] = 7.5,
        guidance_rescale: float = 0.0,
        guidance_interval: Sequence[float] | None = None,
        guidance_projection: Sequence[float] | None = None,
        eta: float = 0.0,
        timesteps: Sequence[float] | str | None = None,
        sigmas: Sequence[float] | str | None = None,
        seed: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_images_per_prompt: int = 1,
        scheduler: str | None = None,
        latents: np.ndarray | None = None,
        noise: str = "torch",
        callback: Callable[[Step], bool | None] | None = None,
    ) -> Output:
        """Make pictures.

        Args:
            prompt: one prompt or several, with weights and chunks as `triptych.runtime.prompts` reads them. Those of
                one call are made as long as the longest.
            negative_prompt: what to avoid; one for all prompts, or one for each.
            num_inference_steps: steps of the scheduler.
            guidance_scale: classifier-free guidance; at 1.0 or less there is none, at half the work (as in diffusers).
                A list has one for each network call.
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
        prompts, negatives = one_each(prompt, negative_prompt, num_images_per_prompt)
        latent_height, latent_width = self._latent_size(height, width)
        config = self.family.scheduler_config(self.package.scheduler_config(), scheduler)
        sampler = Sampler.from_config(config, num_inference_steps, eta=eta, timesteps=timesteps, sigmas=sigmas)
        guidance = Guidance(guidance_scale, guidance_rescale, guidance_interval, guidance_projection)
        needs_negative = (guidance.scales(sampler) > 1).any()
        seeds: list[int | None] = [None] * len(prompts)
        if latents is None:
            seeds = list(seeds_from(seed, len(prompts)))
        sources = [noise_source(noise, image_seed or 0) for image_seed in seeds]
        shape = (1, self.latent_channels, latent_height, latent_width)

        def draw(_: tuple[int, ...]) -> np.ndarray:
            return np.concatenate([source.randn(shape) for source in sources])

        unit_noise = draw(shape) if latents is None else check_latents(latents, (len(prompts), *shape[1:]))

        encoding = time.perf_counter()
        positive = self._encode_once(prompts)
        negative = self._encode_once(negatives) if needs_negative else None
        if negative is not None and negative.shape[1] != positive.shape[1]:
            positive, negative = level(positive, negative, self.encode([""]))
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
                prompt=text,
                negative_prompt=avoided,
                num_inference_steps=num_inference_steps if timesteps is None and sigmas is None else len(sampler),
                guidance_scale=plain(guidance_scale),
                guidance_rescale=float(guidance_rescale),
                guidance_interval=plain(guidance_interval),
                guidance_projection=plain(guidance_projection),
                eta=float(eta),
                timesteps=plain(timesteps),
                sigmas=plain(sigmas),
                seed=image_seed,
                width=latent_width * self.vae_scale_factor,
                height=latent_height * self.vae_scale_factor,
                scheduler=str(config["_class_name"]) if scheduler is None else scheduler,
                noise=noise,
                model=self.package.path.resolve().name,
                model_hash=self.package.fingerprint,
                precision=str((self.package.manifest or {}).get("precision", "unknown")),
                version=own_version(),
            )
            for text, avoided, image_seed in zip(prompts, negatives, seeds, strict=True)
        ]
        return Output(
            images=[to_image(picture, own) for picture, own in zip(pixels, settings, strict=True)],
            latents=final,
            seeds=seeds,
            timings=timings,
        )

    def _encode_once(self, texts: list[str]) -> np.ndarray:
        """The conditioning of texts in which neighbours repeat: each different text runs once."""
        unique = list(dict.fromkeys(texts))
        return self.encode(unique)[[unique.index(text) for text in texts]]

    def _latent_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width of the latents for a picture of that size in pixels, None being the package's own."""
        axes = self._graphs.signature(self.family.generator).inputs["sample"].shape[2:]
        factor, (own_height, own_width) = self.vae_scale_factor, self.latent_size
        return (
            check_size("height", height, own_height, factor, static=isinstance(axes[0], int)),
            check_size("width", width, own_width, factor, static=isinstance(axes[1], int)),
        )

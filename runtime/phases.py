"""Encode, denoise, decode: the phases of a picture, each of which can be used alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np

from .arguments import check_size
from .denoising.device_loop import BoundLoop
from .denoising.guidance import Guidance, guided
from .denoising.host import HostNetwork
from .denoising.mask_blending import KnownRegion, mask_blending
from .errors import ArgumentError
from .families.conditioning import GUIDANCE, SIZES, TEXT, Conditioning, Told, embedded, told_rows
from .image.decoding import decode, decode_in_tiles
from .image.encoding import ENCODER, encode_pixels
from .ort.device import Device, Provider, open_device
from .ort.session import Graph
from .package.geometry import latent_geometry, scaling_factor_of
from .package.graphs import DECODER, PREVIEW_DECODER, Components, check_device
from .package.package import Package, family_of, open_package
from .sampling import Sampler, Step, denoise
from .text.encoders import TextEncoders


class Phases:
    """A package, loaded: each graph in a session of its own, no state between pictures.

    Use `load`. With `memory="low"` nothing of a package with a manifest is loaded until it is run: so it can be asked
    what it can do where it cannot run, too.
    """

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
        latents = latent_geometry(network, generator, vae, scaling_factor=self.family.scaling_factor)
        self.scaling_factor, self.vae_scale_factor = latents.scaling_factor, latents.factor
        self._bound = device.memory.kind != "cpu"
        self._loops: WeakKeyDictionary[Graph, BoundLoop] = WeakKeyDictionary()  # they go when the graph goes
        self.latent_channels, self.latent_size = latents.channels, latents.size
        self.sample_channels = latents.denoiser_channels
        # an inpainting model's generator takes mask and picture behind the latents
        wider = self.sample_channels > self.latent_channels
        self.masked = wider and self.family.image_guidance_scale is None
        self._told = self.family.told if SIZES in network.inputs else ()
        self.static = isinstance(network.inputs["sample"].shape[2], int)

    @classmethod
    def load(
        cls,
        package: str | Path,
        device: str | Sequence[Provider] = "auto",
        *,
        memory: str = "fast",
        session_options: Mapping[str, Any] | None = None,
        provider_options: Mapping[str, Any] | None = None,
    ) -> Self:
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
        check_device(opened, chosen)
        return cls(opened, chosen, memory)

    def encode(self, prompts: Sequence[str], prompts_2: Sequence[str] | None = None) -> Conditioning:
        """The conditioning of the prompts, a row for each, all as long as the longest: see `TextEncoders.encode`.

        Encode in one call what goes into one. `prompts_2` are what the second text encoder reads where it is to read
        something else.
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
        *,
        image_latents: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> Iterator[Step]:
        """Denoise step by step; leave the loop early and nothing more is computed.

        Args:
            positive: conditioning of the prompts, see `encode`; sizes that it lacks are the picture's own.
            negative: the same of the negative prompts; None is no guidance, and half the work.
            noise: unit Gaussian float32 [n, C, h, w]; without a mask it counts nothing where the sampler goes on.
            sampler: which scheduler, in how many steps.
            guidance_scale: a number, one for each network call, or everything that there is to say: see `Guidance`.
            draw: shape -> unit Gaussian, for stochastic samplers.
            timings: if given, the seconds spent in the network are added under its name; on CUDA, those of the loop.
            image_latents: of a picture to begin from, see `encode_image`; a sampler of strength below 1 needs them. For
                one that goes on, what the other run stopped with.
            mask: float32 [n, 1, h, w], 1 where that picture is drawn anew; elsewhere it stays.

        On the CPU the network runs picture by picture, and the loop is numpy's. On CUDA nothing leaves the device but
        what is read of a step, see `BoundLoop`.

        Raises:
            ArgumentError: a guidance that cannot be used with this sampler, or conditionings that differ in length.
            NumericalError: the network gave NaN or infinity; names the step.
        """
        if negative is not None and negative[TEXT].shape[1] != positive[TEXT].shape[1]:
            given = f"{positive[TEXT].shape[1]} tokens and {negative[TEXT].shape[1]} of the negative"
            raise ArgumentError(f"the conditioning has {given}; encode both in one call, for one length")
        guidance = guidance_scale if isinstance(guidance_scale, Guidance) else Guidance(guidance_scale)
        positive = self.completed(positive, noise, guidance)
        if GUIDANCE in positive:
            negative, guidance = None, Guidance(1.0)
        if negative is not None:
            negative = self.completed(negative, noise, guidance, avoided=True)
        name = self.family.generator
        # with all of it drawn anew, a picture with a mask begins from noise alone
        begin = image_latents if mask is None or sampler.strength < 1 else None
        first = noise
        if sampler.resumes and image_latents is not None:
            first, begin = image_latents, None
        known = None if mask is None or image_latents is None else KnownRegion(mask, image_latents, noise)
        if self._bound:
            graph = self._graphs[name]
            loop = self._loops.setdefault(graph, BoundLoop(self.device))
            return loop.denoise(graph, positive, negative, guidance, first, sampler, draw, timings, begin, known)
        network = HostNetwork(lambda: self._graphs[name], name, len(sampler), timings)
        predict = guided(network, positive, negative, guidance, sampler)
        blend = None if known is None else mask_blending(known, sampler)
        return denoise(predict, first, sampler, draw, image_latents=begin, after_step=blend)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Pixels uint8 [n, H, W, 3] of latents [n, C, h, w]; one picture at a time, for the sake of memory.

        With `memory="low"`, one tile at a time: see `triptych.runtime.image.decoding`.
        """
        decoder, scaled = self._graphs[DECODER], latents / np.float32(self.scaling_factor)
        if self.memory == "low":
            return decode_in_tiles(decoder, scaled, self.vae_scale_factor)
        return decode(decoder, scaled)

    def encode_image(self, pixels: np.ndarray, draws: Sequence[Callable[[tuple[int, ...]], np.ndarray]]) -> np.ndarray:
        """Latents float32 [n, C, h, w] of pictures float32 [n, 3, H, W] in -1..1, see `encode_pixels`.

        Raises:
            PackageError: the package has no VAE encoder.
        """
        return encode_pixels(self._graphs[ENCODER], pixels, draws) * np.float32(self.scaling_factor)

    def preview(self, step: Step) -> np.ndarray:
        """Pixels uint8 [n, H, W, 3] of what the picture would be as of `step`, by the package's tiny decoder.

        Raises:
            PackageError: the package has none; `triptych export --preview-decoder` adds it.
        """
        config = self.package.config(PREVIEW_DECODER)
        return decode(self._graphs[PREVIEW_DECODER], step.denoised / np.float32(scaling_factor_of(config, default=1.0)))

    def completed(
        self, conditioning: Conditioning, latents: np.ndarray, guidance: Guidance, *, avoided: bool = False
    ) -> dict[str, np.ndarray]:
        """The conditioning with what the network is told besides texts: own sizes, and guidance if it embeds that.

        `avoided` says that it is that of negative prompts.
        """
        count, inputs = len(latents), self._network_inputs
        height, width = (side * self.vae_scale_factor for side in latents.shape[2:])
        told = told_rows(Told(), self._told, count, height, width)[avoided]
        if GUIDANCE in inputs:
            told[GUIDANCE] = np.tile(embedded(guidance.only_scale(), int(inputs[GUIDANCE].shape[-1])), (count, 1))
        return {**told, **conditioning}

    def latent_size_of(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width of the latents for a picture of that size in pixels, None being the package's own."""
        axes = self._graphs.signature(self.family.generator).inputs["sample"].shape[2:]
        factor, (own_height, own_width) = self.vae_scale_factor, self.latent_size
        return (
            check_size("height", height, own_height, factor, static=isinstance(axes[0], int)),
            check_size("width", width, own_width, factor, static=isinstance(axes[1], int)),
        )

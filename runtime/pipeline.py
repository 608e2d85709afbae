"""Text to image and image to image: a loaded package and its calls; `phases` has what a call does, step by step."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self
from weakref import WeakKeyDictionary

import numpy as np

from .conditioning import completed
from .denoising.device_loop import BoundLoop
from .denoising.guidance import Guidance
from .denoising.host import denoise_on_host
from .denoising.mask_blending import KnownRegion
from .denoising.run import Run
from .errors import ArgumentError, shown
from .families.conditioning import GUIDANCE, TEXT, Conditioning
from .families.parts import AnyGraph
from .footprint import check_footprint
from .foreign import CALL, LOAD, known_arguments, without_foreign_members
from .image.decoding import check_factor, decode, decode_in_tiles
from .image.encoding import ENCODER, encode_pixels
from .image.preview import preview_pixels
from .ort.device import Device, Provider, open_device
from .output import Output as Output
from .output import Stopwatch
from .package.geometry import scaling_factor_of
from .package.graphs import DECODER, PREVIEW_DECODER, Components, check_device
from .package.model import Model
from .package.package import Package, family_of, open_package
from .phases import Callback as Callback
from .phases import run_phases
from .plan import Plan, plan
from .request import Images, Request
from .sampling import Sampler, Step
from .stream import AsyncStream, Stream, taking_arguments_of
from .text.encoders import TextEncoders


@without_foreign_members
class TextToImage:
    """A loaded package: each graph in a session of its own, no state between images.

    Use `load`; a `with` block, or `close`, frees the sessions. With `memory="low"` nothing of a package with a manifest
    is loaded until it is run, so the attributes can be read on a machine that cannot run the package.
    """

    def __init__(self, package: Package, device: Device, memory: str = "fast") -> None:
        self.package, self.device, self.memory = package, device, memory
        self.family = family_of(package)
        names = (*self.family.text_encoders, self.family.denoiser, DECODER)
        self._graphs = Components(package, device, names, memory)
        self.model = Model.of(package, self._graphs)
        self.text_encoders = TextEncoders(package, self._graphs, self.family)
        self._bound = device.memory.kind != "cpu"
        self._loops: WeakKeyDictionary[AnyGraph, BoundLoop] = WeakKeyDictionary()  # freed with the graph

    def __repr__(self) -> str:
        facts = {"family": self.family.name, "device": self.device.name, "memory": self.memory}
        if self.package.manifest.precision is not None:
            facts["precision"] = self.package.manifest.precision
        listed = ", ".join(f"{name}={value}" for name, value in facts.items())
        return f"<TextToImage {str(self.package.given)!r}: {listed}{', closed' if self._graphs.closed else ''}>"

    def __enter__(self) -> Self:
        self._graphs.check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free all sessions and their memory; a second call does nothing.

        A closed pipeline raises an error in one line when it is called. Images that other threads are generating end
        with that error at their next component or, on the CPU, at their next step.
        """
        self._loops.clear()
        self._graphs.close()

    def __reduce__(self) -> NoReturn:
        raise ArgumentError(
            "a pipeline cannot be copied or pickled, as its sessions cannot: use TextToImage.load in each process"
        )

    @classmethod
    @known_arguments(LOAD)
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
            memory: fast keeps all graphs in memory; low keeps one at a time, its weights mapped from the package's
                files, and decodes large images in tiles.
            session_options: attributes of `onnxruntime.SessionOptions`, or session configuration keys.
            provider_options: options of the provider that runs the graphs.

        Raises:
            ArgumentError: an unknown memory policy.
            PackageError: the folder is not a package, not whole or altered, or its graphs do not fit each other.
            ProviderError: the requested device cannot run here.
        """
        if not isinstance(package, str | os.PathLike):
            raise ArgumentError(f"package={shown(package)}; allowed: a folder")
        opened = open_package(os.fspath(package))
        chosen = open_device(device, session_options=session_options, provider_options=provider_options)
        check_device(opened, chosen)
        opened.check_digests()
        return cls(opened, chosen, memory)

    @known_arguments(CALL)
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        image: Images | None = None,
        mask_image: Images | None = None,
        strength: float | None = None,
        denoising_start: float | None = None,
        denoising_end: float | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        prompt_2: str | Sequence[str] | None = None,
        prompt_3: str | Sequence[str] | None = None,
        negative_prompt_2: str | Sequence[str] | None = None,
        negative_prompt_3: str | Sequence[str] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | Sequence[float] | None = None,
        guidance_rescale: float = 0.0,
        guidance_interval: Sequence[float] | None = None,
        guidance_projection: Sequence[float] | None = None,
        image_guidance_scale: float | None = None,
        eta: float = 0.0,
        timesteps: Sequence[float] | str | None = None,
        sigmas: Sequence[float] | str | None = None,
        seed: int | Sequence[int] | None = None,
        variation_seed: int | Sequence[int] | None = None,
        variation_strength: float = 0.0,
        height: int | None = None,
        width: int | None = None,
        original_size: Sequence[int] | None = None,
        crops_coords_top_left: Sequence[int] | None = None,
        target_size: Sequence[int] | None = None,
        aesthetic_score: float | None = None,
        negative_aesthetic_score: float | None = None,
        num_images_per_prompt: int = 1,
        scheduler: str | None = None,
        scheduler_options: Mapping[str, Any] | None = None,
        latents: np.ndarray | None = None,
        prompt_embeds: Conditioning | None = None,
        negative_prompt_embeds: Conditioning | None = None,
        noise: str = "torch",
        callback: Callback | None = None,
        progress: bool = False,
    ) -> Output:
        """Generate images.

        `Request` documents each argument; `callback`, `progress` and errors are those of `generate`.
        """
        arguments = {name: value for name, value in locals().items() if name not in ("self", "callback", "progress")}
        return self.generate(Request(**arguments), callback, progress)

    @known_arguments(CALL)
    @taking_arguments_of(__call__)
    def stream(self, prompt: Any, *, callback: Callback | None = None, progress: bool = False, **rest: Any) -> Stream:
        """Generate images step by step: `for step in stream`, and then `stream.result` is the `Output`.

        Arguments and errors are those of a call. They are checked at once; nothing else is computed before the first
        step is taken, and leaving the loop stops.
        """
        return self._stream(Request(prompt, **rest), callback, progress)

    @known_arguments(CALL)
    @taking_arguments_of(__call__)
    def astream(self, *args: Any, **kwargs: Any) -> AsyncStream:
        """Generate images step by step in a thread: `async for step in stream`, and then `stream.result`.

        Arguments and errors are those of a call; the callback is called in the thread.
        """
        return AsyncStream(lambda: self.stream(*args, **kwargs))

    @known_arguments(CALL)
    @taking_arguments_of(__call__)
    async def agenerate(self, *args: Any, **kwargs: Any) -> Output:
        """Generate images in a thread: `await pipe.agenerate("a red fox")`. Cancelling the task stops after a step.

        Arguments and errors are those of a call; the callback is called in the thread.
        """
        async with self.astream(*args, **kwargs) as stream:
            async for _ in stream:
                pass
        return stream.result

    def plan(self, request: Request) -> Plan:
        """Resolve a request without computing anything; every error of its arguments is raised here.

        Raises:
            ArgumentError, SamplerError: an argument that this package cannot use, with what is allowed, or a size that
                does not fit into memory; or the pipeline is closed.
        """
        self._graphs.check_open()
        resolved = plan(request, self.model)
        check_footprint(resolved, on_host=self.device.on_cpu, tiled=self.memory == "low")
        return resolved

    def generate(self, request: Request, callback: Callback | None = None, progress: bool = False) -> Output:
        """Generate the images of a request.

        Args:
            request: the arguments of the call.
            callback: called after every step; returning False stops the run.
            progress: show a progress bar of the steps on stderr.

        Raises:
            ArgumentError, SamplerError: an argument that this package cannot use, with what is allowed.
            NumericalError: a component gave NaN or infinity.
            Cancelled: the callback returned False.
        """
        stream = self._stream(request, callback, progress)
        for _ in stream:
            pass
        return stream.result

    def encode(
        self,
        prompts: Sequence[str],
        prompts_2: Sequence[str] | None = None,
        prompts_3: Sequence[str] | None = None,
    ) -> Conditioning:
        """The conditioning of prompts, a row for each, padded to the longest: see `TextEncoders.encode`.

        Prompts of one run are encoded in one call. `prompts_2` and `prompts_3` are those of the second and the third
        text encoder, if they differ.
        """
        others = (prompts if each is None else each for each in (prompts_2, prompts_3))
        columns = [prompts, *others][: len(self.family.encoders)]
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
        """Denoise step by step; leaving the loop early stops the computation.

        On the CPU the denoiser runs image by image, and the loop is numpy's. On a GPU nothing leaves the device but the
        arrays of a step that are read, see `BoundLoop`.

        Args:
            positive: conditioning of the prompts, see `encode`; its default micro-conditioning is the image's own size.
            negative: conditioning of the negative prompts; None turns guidance off, at half the cost.
            noise: unit Gaussian float32 [n, C, h, w]; without a mask it is not used where the sampler resumes.
            sampler: the scheduler and its steps.
            guidance_scale: a number, one for each denoiser call, or a `Guidance`.
            draw: shape -> unit Gaussian, for stochastic samplers.
            timings: if given, the denoiser's seconds are added under its name; on a GPU, those of the loop.
            image_latents: of the image to start from, see `encode_image`; a sampler of strength below 1 needs them. For
                a sampler that resumes, the latents of the run that stopped.
            mask: float32 [n, 1, h, w], 1 where the image is redrawn; elsewhere it stays.

        Raises:
            ArgumentError: a guidance that this sampler cannot use, or conditionings of different lengths.
            NumericalError: the denoiser gave NaN or infinity; names the step.
        """
        guidance = guidance_scale if isinstance(guidance_scale, Guidance) else Guidance(guidance_scale)
        positive = completed(self.model, positive, noise, guidance)
        if GUIDANCE in positive:
            negative, guidance = None, Guidance(1.0)
        if negative is not None:
            if negative[TEXT].shape[1] != positive[TEXT].shape[1]:
                lengths = f"{positive[TEXT].shape[1]} tokens and {negative[TEXT].shape[1]} of the negative"
                raise ArgumentError(f"the conditioning has {lengths}; encode both in one call, for one length")
            negative = completed(self.model, negative, noise, guidance, negative=True)
        known = None if mask is None or image_latents is None else KnownRegion(mask, image_latents, noise)
        start = image_latents if known is None or sampler.strength < 1 else None  # redrawn whole: from noise alone
        if sampler.resumes and image_latents is not None:
            noise, start = image_latents, None
        run = Run(positive, negative, guidance, sampler, noise, draw, start, known)
        name = self.family.denoiser
        if not self._bound:
            return denoise_on_host(lambda: self._graphs[name], name, run, timings)
        graph = self._graphs[name]
        return self._loops.setdefault(graph, BoundLoop(self.device)).denoise(graph, run, timings)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Pixels uint8 [n, H, W, 3] of latents [n, C, h, w]; one image at a time, to save memory.

        With `memory="low"`, one tile at a time: see `triptych.runtime.image.decoding`.
        """
        decoder, scaled = self._graphs[DECODER], self.model.latents.to_vae(latents)
        factor = self.model.latents.factor
        if self.memory == "low":
            return decode_in_tiles(decoder, scaled, factor)
        pixels = decode(decoder, scaled)
        check_factor(DECODER, latents.shape[2:], pixels.shape[1:3], factor)
        return pixels

    def encode_image(self, pixels: np.ndarray, draws: Sequence[Callable[[tuple[int, ...]], np.ndarray]]) -> np.ndarray:
        """Latents float32 [n, C, h, w] of images float32 [n, 3, H, W] in -1..1, see `encode_pixels`.

        Raises:
            PackageError: the package has no VAE encoder.
        """
        latents = encode_pixels(self._graphs[ENCODER], pixels, draws)
        check_factor(ENCODER, latents.shape[2:], pixels.shape[2:], self.model.latents.factor)
        return self.model.latents.from_vae(latents)

    def preview(self, step: Step) -> np.ndarray:
        """Pixels uint8 [n, H, W, 3] of the image predicted at `step`.

        By the package's tiny decoder; without one, by the colours of latents that the export has fitted, which are
        blurred and take no time.

        Raises:
            PackageError: the package has neither, as another exporter or an earlier version wrote it.
        """
        if PREVIEW_DECODER not in self.package.components:
            return preview_pixels(self.package, self.model.latents.to_vae(step.denoised), self.model.latents.factor)
        config = self.package.config(PREVIEW_DECODER)
        return decode(self._graphs[PREVIEW_DECODER], step.denoised / np.float32(scaling_factor_of(config, default=1.0)))

    def _stream(self, request: Request, callback: Callback | None, progress: bool) -> Stream:
        """The steps of a request, whose arguments are checked."""
        if callback is not None and not callable(callback):
            raise ArgumentError(f"callback={shown(callback)}; allowed: a function that takes a Step")
        clock = Stopwatch()
        with clock.measure("total"):
            resolved = self.plan(request)
        return Stream(run_phases(self, resolved, clock, callback, progress))

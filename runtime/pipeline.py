"""Text to image, and what begins from a picture: encode, denoise, decode. It reads top to bottom."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .arguments import Texts, check_latents, seeds_from, texts_of
from .denoising.guidance import Guidance
from .errors import ArgumentError, Cancelled
from .families.conditioning import GUIDANCE, TEXT, Conditioning, Told, told_rows
from .image.encoding import ENCODER
from .image.init_image import StartingPicture
from .image.inputs import Given
from .image.pixels import to_image
from .image.settings import Settings, own_version, plain
from .noise import noise_source
from .package.graphs import DECODER
from .phases import Phases
from .sampling import Sampler, Step

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


class TextToImage(Phases):
    """A package, loaded, that is called for pictures."""

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        image: Given | None = None,
        mask_image: Given | None = None,
        strength: float | None = None,
        denoising_start: float | None = None,
        denoising_end: float | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        prompt_2: str | Sequence[str] | None = None,
        negative_prompt_2: str | Sequence[str] | None = None,
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
        height: int | None = None,
        width: int | None = None,
        original_size: Sequence[int] | None = None,
        crops_coords_top_left: Sequence[int] | None = None,
        target_size: Sequence[int] | None = None,
        aesthetic_score: float | None = None,
        negative_aesthetic_score: float | None = None,
        num_images_per_prompt: int = 1,
        scheduler: str | None = None,
        latents: np.ndarray | None = None,
        prompt_embeds: Conditioning | None = None,
        noise: str = "torch",
        callback: Callable[[Step], bool | None] | None = None,
    ) -> Output:
        """Make pictures.

        Args:
            prompt: one prompt or several, with weights and chunks as `triptych.runtime.text.prompt_syntax` reads them.
                Those of one call are made as long as the longest.
            image: a picture to begin from, for all prompts or one for each; scaled to height and width, which are its
                own where they are left out. Or latents, float32 [n, C, h, w], such as `Output.latents`.
            mask_image: likewise, light where that picture is to be drawn anew.
            strength: share of the steps that are run on the picture: near 0 little of it changes, at 1 all may. Of
                latent consistency models all steps are run, on that share of noise. None is what diffusers' pipelines
                take, see `Family`.
            denoising_end: stop after that share of the noise levels, above 0, to 1: the latents have noise left, for
                another model to go on with.
            denoising_start: begin after that share, with `image` as it is: latents that a run with denoising_end gave.
            negative_prompt: what to avoid; one for all prompts, or one for each. None is the empty text, or for SDXL
                zeros in place of its conditioning, where the checkpoint says so.
            prompt_2, negative_prompt_2: likewise for the second text encoder; None is what the first one reads.
            num_inference_steps: steps of the scheduler; None is what diffusers' pipeline takes, see `Family`.
            guidance_scale: classifier-free guidance; at 1.0 or less there is none, at half the work (as in diffusers).
                A list has one for each network call. Latent consistency models take one number, at no cost. None is
                that of diffusers' pipeline from text to image.
            guidance_rescale: share of the guided output that is given the standard deviation of the positive one, 0 to
                1 (Lin et al. 2023).
            guidance_interval: (low, high), noise levels sigma / alpha outside of which there is no guidance, at half
                the work but for graphs of a fixed batch (Kynkäänniemi et al. 2024).
            guidance_projection: `Projection` or (eta, norm_threshold, momentum): adaptive projected guidance (Sadat et
                al. 2024).
            image_guidance_scale: of models that edit a picture, how much it counts, 1 or more; None is what diffusers'
                pipeline takes.
            eta, timesteps, sigmas: see `Sampler.from_config`; a grid takes the place of num_inference_steps.
            seed: picture k of the call uses seed + k, alone or in a batch; or a list has one for each. None draws one,
                see `Output.seeds`.
            height: pixels; None is the package's own size. `width` likewise.
            width: pixels.
            original_size, crops_coords_top_left, target_size: what SDXL is told of sizes, see `conditioning.Told`;
                None is the picture's own size, and no crop.
            aesthetic_score, negative_aesthetic_score: what SDXL's refiner is told, from 0 to 10; None is 6, and 2.5 of
                what to avoid.
            num_images_per_prompt: pictures for each prompt, one after the other in the output.
            scheduler: another scheduler than the package's, by short name or diffusers class name.
            latents: the starting noise, float32 [n, C, h, w], in place of the seed's.
            prompt_embeds: what the prompts condition the network with, see `encode`, in place of their own.
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
        image_scale = family.image_guidance_scale if image_guidance_scale is None else image_guidance_scale
        if family.image_guidance_scale is None and image_scale is not None:
            raise ArgumentError(f"image_guidance_scale={image_scale!r}: this model edits no picture; leave it out")
        given = {
            "prompt": prompt,
            "prompt_2": prompt_2,
            "negative_prompt": negative_prompt,
            "negative_prompt_2": negative_prompt_2,
        }
        texts = texts_of(given, num_images_per_prompt, encoders)
        count, factor = len(texts), self.vae_scale_factor
        counts = count // num_images_per_prompt, num_images_per_prompt
        beginning = image, mask_image, strength, denoising_start
        starting = StartingPicture.read(*beginning, family, *counts, factor=factor, masked=self.masked)
        if starting is not None and not self.static:
            height, width = starting.size(height, width, factor)
        latent_height, latent_width = self.latent_size_of(height, width)
        height, width = latent_height * factor, latent_width * factor
        told = Told(original_size, crops_coords_top_left, target_size, aesthetic_score, negative_aesthetic_score)
        told_positive, told_negative = told_rows(told, self._told, count, height, width)
        config = family.scheduler_config(self.package.scheduler_config(), scheduler)
        run = 1.0 if starting is None else starting.strength
        sampler = Sampler.from_config(
            config,
            steps,
            eta=eta,
            timesteps=timesteps,
            sigmas=sigmas,
            strength=run,
            shortens=family.shortens,
            denoising_start=denoising_start,
            denoising_end=denoising_end,
        )
        guidance = Guidance(scale, guidance_rescale, guidance_interval, guidance_projection, image_scale)
        needs_negative = GUIDANCE not in self._network_inputs and bool((guidance.scales(sampler) > 1).any())
        seeds: list[int | None] = [None] * count
        if latents is None:
            seeds = list(seeds_from(seed, count))
        sources = [noise_source(noise, image_seed or 0) for image_seed in seeds]
        draws = [source.randn for source in sources]
        shape = (1, self.latent_channels, latent_height, latent_width)

        def draw(_: tuple[int, ...]) -> np.ndarray:
            return np.concatenate([source.randn(shape) for source in sources])

        encoding = time.perf_counter()
        begin, mask, behind = None, None, {}
        if starting is not None:
            begin = starting.latents(self.encode_image, draws, (count, *shape[1:]), factor)
            mask = starting.mask(height, width, factor) if starting.kept else None
        if begin is not None and mask is None and sampler.resumes:  # no noise is added: none is drawn
            if latents is not None:
                raise ArgumentError(
                    "latents are noise to begin from, which denoising_start takes none of; leave it out"
                )
            unit_noise = begin
        else:
            unit_noise = draw(shape) if latents is None else check_latents(latents, (count, *shape[1:]))
        if starting is not None:
            behind = starting.behind(self.encode_image, draws, height, width, factor, self.scaling_factor)
        reading = time.perf_counter()
        positive, negative = self._encode_both(texts, prompt_embeds, needs_negative=needs_negative)
        positive |= told_positive | behind
        if negative is not None:
            negative |= told_negative | behind
        looping = time.perf_counter()
        timings = {family.generator: 0.0}
        loop = self.denoise(
            positive, negative, unit_noise, sampler, guidance, draw, timings, image_latents=begin, mask=mask
        )
        for step in loop:
            if callback is not None and callback(step) is False:
                raise Cancelled(f"cancelled after step {step.index + 1} of {len(sampler.timesteps)}")
        decoding = time.perf_counter()
        final = np.array(step.latents)  # the caller's own, to write into
        pixels = self.decode(final)
        done = time.perf_counter()
        timings |= {
            "text_encoder": looping - reading,
            "sampler": decoding - looping - timings[family.generator],
            DECODER: done - decoding,
            **({} if starting is None else {ENCODER: reading - encoding}),
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
                image_guidance_scale=None if image_scale is None else float(image_scale),
                eta=float(eta),
                timesteps=plain(timesteps),
                sigmas=plain(sigmas),
                seed=image_seed if prompt_embeds is None else None,
                **told.plain(),
                strength=None if starting is None else starting.strength,
                denoising_start=None if denoising_start is None else float(denoising_start),
                denoising_end=None if denoising_end is None else float(denoising_end),
                scheduler=str(config["_class_name"]) if scheduler is None else scheduler,
                noise=noise,
                model=self.package.path.resolve().name,
                model_hash=self.package.fingerprint,
                precision=self.package.manifest.precision or "unknown",
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

    def _encode_both(
        self, texts: Sequence[Texts], prompt_embeds: Conditioning | None, *, needs_negative: bool
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
        """The conditioning of prompts and, if needed, of negative prompts, of one length, a row for each picture."""
        count, encoders = len(texts), len(self.family.encoders)
        avoided = [text.negative(encoders) for text in texts] if needs_negative else []
        if prompt_embeds is None:
            said = [text.positive(encoders) for text in texts]
            encoded = self.text_encoders.encode([*said, *avoided])
            positive = {name: array[:count] for name, array in encoded.items()}
            return positive, {name: array[count:] for name, array in encoded.items()} if needs_negative else None
        for name, array in prompt_embeds.items():
            if len(array) != count:
                raise ArgumentError(f"prompt_embeds has {len(array)} rows of {name} for {count} pictures")
        tokens = prompt_embeds[TEXT].shape[1]
        return dict(prompt_embeds), self.text_encoders.encode(avoided, tokens) if needs_negative else None

"""Request resolved against a package: all defaults set, all arguments checked, nothing computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .denoising.guidance import Guidance
from .errors import ArgumentError, nearest
from .families.conditioning import GUIDANCE, POOLED, SAMPLE, TEXT, TIMESTEP, MicroConditioning
from .image.init_image import InitImage
from .noise import noise_source
from .ort.session import Tensor
from .package.model import Model
from .request import Request, Texts, check_latents
from .sampling import Sampler


@dataclass(frozen=True, eq=False)
class Plan:
    """One call of the pipeline.

    Attributes:
        request: with the values in use for steps, guidance, strength, size and scheduler.
        model: the model that runs it.
        texts: of each image.
        seeds: of each image; None with latents of the caller.
        variation_seeds: of each image; None where the starting noise is not varied.
        sampler: of the run.
        guidance: of the run.
        needs_negative: the negative prompts are encoded: some call has guidance.
        init_image: the image to start from; None for text to image.
        shape: of the latents, [n, C, h, w].
    """

    request: Request
    model: Model
    texts: Sequence[Texts]
    seeds: Sequence[int | None]
    variation_seeds: Sequence[int] | None
    sampler: Sampler
    guidance: Guidance
    needs_negative: bool
    init_image: InitImage | None
    shape: tuple[int, int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        factor = self.model.latents.factor
        return self.shape[2] * factor, self.shape[3] * factor


def plan(request: Request, model: Model) -> Plan:
    """Resolve a request.

    Raises:
        ArgumentError, SamplerError: an argument that this package cannot use, with what is allowed.
    """
    request = with_defaults(request, model)
    texts, encoders = request.texts(), len(model.family.encoders)
    _check_texts(request, encoders)
    init_image = InitImage.read(request, model)
    height, width = request.height, request.width
    if init_image is not None and not model.static:
        height, width = init_image.size(height, width)
    latent_height, latent_width = model.latent_size_for(height, width)
    shape = request.count, model.latents.channels, latent_height, latent_width
    MicroConditioning.of(request).check(model.micro_conditioning)
    noise_source(request.noise, 0)
    sampler, scheduler = _sampler(request, model, init_image, shape)
    guidance = _guidance(request)
    embeds_guidance = GUIDANCE in model.inputs
    if embeds_guidance:
        guidance.only_scale()
    guided = bool((guidance.scales(sampler) > 1).any())
    _check_arrays(request, model, init_image, shape)
    _check_variation(request, init_image)
    by_grid = request.timesteps is not None or request.sigmas is not None
    resolved = replace(
        request,
        num_inference_steps=len(sampler) if by_grid else request.num_inference_steps,
        strength=None if init_image is None else init_image.strength,
        height=latent_height * model.latents.factor,
        width=latent_width * model.latents.factor,
        scheduler=scheduler,
    )
    seeds: Sequence[int | None] = request.seeds() if request.latents is None else [None] * request.count
    return Plan(
        request=resolved,
        model=model,
        texts=texts,
        seeds=seeds,
        variation_seeds=request.variation_seeds(),
        sampler=sampler,
        guidance=guidance,
        needs_negative=guided and not embeds_guidance,
        init_image=init_image,
        shape=shape,
    )


def with_defaults(request: Request, model: Model) -> Request:
    """The request with the package's defaults for what the call leaves out, else the family's.

    Options of the call are added to those of the package's default scheduler; a scheduler of the call has none of them.
    The size of an image to start from comes before the package's, and its strength is `InitImage.read`'s.
    """
    own = model.defaults
    values: dict[str, Any] = {
        "num_inference_steps": model.num_inference_steps,
        "guidance_scale": model.guidance_scale,
        "image_guidance_scale": model.family.image_guidance_scale,
        "negative_prompt": own.negative_prompt if request.negative_prompt_embeds is None else None,
    }
    if request.scheduler is None:
        values["scheduler"] = own.scheduler
        if own.scheduler_options:
            options = {**own.scheduler_options, **(request.scheduler_options or {})}
            request = replace(request, scheduler_options=options)
    return replace(request, **{name: value for name, value in values.items() if getattr(request, name) is None})


def _sampler(
    request: Request, model: Model, init_image: InitImage | None, shape: tuple[int, int, int, int]
) -> tuple[Sampler, str]:
    """The sampler, and the name of its scheduler in the request."""
    config = model.scheduler_config(request.scheduler, request.scheduler_options)
    sampler = Sampler.from_config(
        config,
        request.num_inference_steps,  # type: ignore[arg-type]  # the default is set
        eta=request.eta,
        timesteps=request.timesteps,
        sigmas=request.sigmas,
        strength=1.0 if init_image is None else init_image.strength,
        strength_in_schedule=model.family.strength_in_schedule,
        mu=model.mu(config, *shape[2:]),
        denoising_start=request.denoising_start,
        denoising_end=request.denoising_end,
    )
    return sampler, str(config["_class_name"]) if request.scheduler is None else request.scheduler


def _guidance(request: Request) -> Guidance:
    return Guidance(
        scale=request.guidance_scale,  # type: ignore[arg-type]  # the default is set
        rescale=request.guidance_rescale,
        interval=request.guidance_interval,
        projection=request.guidance_projection,
        image_scale=request.image_guidance_scale,
    )


def _check_texts(request: Request, encoders: int) -> None:
    for name in ("negative_prompt", "negative_prompt_2", "negative_prompt_3"):
        if request.negative_prompt_embeds is not None and getattr(request, name) is not None:
            raise ArgumentError(f"{name} and negative_prompt_embeds: the latter takes its place; leave one out")
    for name in ("prompt_2", "negative_prompt_2", "prompt_3", "negative_prompt_3"):
        if encoders < int(name[-1]) and getattr(request, name) is not None:
            has = "one text encoder, which reads" if encoders == 1 else "two text encoders, the first of which reads"
            raise ArgumentError(f"{name}: this package has {has} {name[:-2]}")


def _check_arrays(
    request: Request, model: Model, init_image: InitImage | None, shape: tuple[int, int, int, int]
) -> None:
    """Raise an error for arrays that do not fit the call."""
    if init_image is not None:
        init_image.check_shape(shape)
    if request.latents is not None:
        if init_image is not None and init_image.resumes_unmasked:
            raise ArgumentError("latents are the starting noise, which denoising_start does not use; leave it out")
        check_latents(request.latents, shape)
    both = {name: getattr(request, name) for name in ("prompt_embeds", "negative_prompt_embeds")}
    given = {name: embeds for name, embeds in both.items() if embeds is not None}
    for name, embeds in given.items():
        _check_embeds(name, embeds, model.inputs, shape[0])
    lengths = [embeds[TEXT].shape[1] for embeds in given.values()]
    if len(set(lengths)) > 1:
        raise ArgumentError(
            f"prompt_embeds has {lengths[0]} tokens and negative_prompt_embeds {lengths[1]}; encode both in one call"
        )


def _check_variation(request: Request, init_image: InitImage | None) -> None:
    """Raise an error for a variation of noise that no seed gives."""
    resumes = init_image is not None and init_image.resumes_unmasked
    if request.variation_strength > 0 and (resumes or request.latents is not None):
        name = "denoising_start" if resumes else "latents"
        raise ArgumentError(f"variation_strength varies the noise of a seed, and {name} leaves none; leave one out")


def _check_embeds(argument: str, embeds: Mapping[str, np.ndarray], inputs: Mapping[str, Tensor], count: int) -> None:
    """Raise an error for embeddings of an argument that are missing, or that the denoiser cannot take."""
    for name in (TEXT, POOLED):
        if name in inputs and name not in embeds:
            raise ArgumentError(f"{argument} lacks {name}; it has: {', '.join(embeds)}")
    for name, array in embeds.items():
        if name not in inputs or name in (SAMPLE, TIMESTEP):
            taken = [each for each in inputs if each not in (SAMPLE, TIMESTEP)]
            raise ArgumentError(f"{argument} has {name}, which this model does not take; {nearest(name, taken)}")
        shape = inputs[name].shape
        if array.ndim == len(shape) and len(array) != count:
            raise ArgumentError(f"{argument} has {len(array)} rows of {name} for {count} images")
        if array.ndim != len(shape) or any(
            isinstance(side, int) and side != given for side, given in zip(shape[1:], array.shape[1:], strict=True)
        ):
            raise ArgumentError(f"{argument}: {name} has shape {list(array.shape)}; allowed: {[count, *shape[1:]]}")
        if not np.isfinite(array).all():
            raise ArgumentError(f"{argument}: {name} holds NaN or infinity")

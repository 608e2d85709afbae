"""Conditioning of a run: prompts encoded, or embeddings of the caller, with all other inputs of the denoiser."""

import numpy as np

from .denoising.guidance import Guidance
from .families.conditioning import GUIDANCE, TEXT, Conditioning, MicroConditioning, embedded
from .package.model import Model
from .plan import Plan
from .text.encoders import TextEncoders

Rows = dict[str, np.ndarray]
"""Conditioning with a row for each image."""


def conditioning_of(plan: Plan, text_encoders: TextEncoders, extra_channels: Conditioning) -> tuple[Rows, Rows | None]:
    """The whole conditioning of prompts and, if needed, of negative prompts, a row for each image.

    Embeddings of the caller take the place of those of prompts; other prompts are padded to their length.
    """
    request, count = plan.request, len(plan.texts)
    positive, negative = _embeddings(plan, text_encoders)
    rows = MicroConditioning.of(request).rows(plan.model.micro_conditioning, count, *plan.size)
    positive = positive | rows[0] | dict(extra_channels)
    return positive, negative | rows[1] | dict(extra_channels) if plan.needs_negative else None


def _embeddings(plan: Plan, text_encoders: TextEncoders) -> tuple[Rows, Rows]:
    """The embeddings of prompts and negative prompts; {} for negative prompts that are not needed."""
    encoders, request = len(plan.model.family.encoders), plan.request
    given, negative_given = request.prompt_embeds, request.negative_prompt_embeds
    encodes_negatives = plan.needs_negative and negative_given is None
    positives = [text.positive(encoders) for text in plan.texts] if given is None else []
    negatives = [text.negative(encoders) for text in plan.texts] if encodes_negatives else []
    tokens = max((embeds[TEXT].shape[1] for embeds in (given, negative_given) if embeds is not None), default=0)
    encoded = text_encoders.encode([*positives, *negatives], tokens) if positives or negatives else {}
    positive = {name: rows[: len(positives)] for name, rows in encoded.items()} if given is None else dict(given)
    negative = {name: rows[len(positives) :] for name, rows in encoded.items()}
    return positive, negative if negative_given is None else dict(negative_given)


def completed(
    model: Model, conditioning: Conditioning, latents: np.ndarray, guidance: Guidance, *, negative: bool = False
) -> Rows:
    """Add the inputs that a conditioning lacks: default micro-conditioning, and guidance where it is embedded.

    Args:
        model: that takes it.
        conditioning: of prompts, or with `negative` of negative prompts.
        latents: of the run, [n, C, h, w].
        guidance: of the run.
        negative: see `conditioning`.
    """
    count, inputs = len(latents), model.inputs
    height, width = (side * model.latents.factor for side in latents.shape[2:])
    added = MicroConditioning().rows(model.micro_conditioning, count, height, width)[negative]
    if GUIDANCE in inputs:
        added[GUIDANCE] = np.tile(embedded(guidance.only_scale(), int(inputs[GUIDANCE].shape[-1])), (count, 1))
    return {**added, **conditioning}

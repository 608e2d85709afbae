"""Calibration of int8 by a denoising run of the checkpoint in PyTorch: ranges, layers to keep in float, images.

The run takes the prompts in turn with seeds counting up from SEED, guided against an empty prompt, over all timesteps
of the checkpoint's own scheduler, at the checkpoint's own size or the fixed one of the export. WORK bounds the number
of images: 2 of Stable Diffusion 1.5, 64 of a model for the tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from triptych.runtime.denoising.guidance import Guidance, guided
from triptych.runtime.errors import ArgumentError
from triptych.runtime.families.conditioning import TEXT, Conditioning
from triptych.runtime.families.family import STABLE_DIFFUSION
from triptych.runtime.image.pixels import to_pixels
from triptych.runtime.noise import noise_source
from triptych.runtime.sampling import Sampler, denoise
from triptych.runtime.text.chunks import batched, weighted

from ..checkpoint import Checkpoint, tokenizer_of
from ..components import Component, Sizes, StaticShape, components_of, static_sizes
from ..components.macs import count_macs
from ..dialects import Dialect
from .plan import Plan, plan
from .ranges import observed_ranges
from .sensitivity import Inputs

GENERAL_PROMPTS = (
    "a photograph of a red fox in the snow",
    "portrait of an old woman, oil painting",
    "a green car in front of a house",
    "a bowl of fruit on a wooden table",
    "a smiling face on a yellow background",
    "a castle on a mountain at sunset, highly detailed",
    "a white cat asleep on a blue chair",
    "a red heart",
)
SEED = 1_000

CALIBRATED = (STABLE_DIFFUSION,)
"""Families whose pipeline the run follows."""

WORK = 33e12
"""Multiply-accumulates of the U-Net that a calibration may take: 5 minutes at 110 GMAC/s."""
FEWEST, MOST = 2, 64
"""Bounds on the number of images, whatever they cost."""

SAMPLES = 12
"""Calls of a component, spread over images and steps, that its plan is based on."""
LARGEST_SAMPLE = 32
"""Height and width that their latents are cropped to: gradients of a whole call take too much memory."""


@dataclass(frozen=True)
class CalibrationRun:
    """Use of the model that int8 is calibrated for: prompts, guidance scale and steps of an image."""

    prompts: Sequence[str] = GENERAL_PROMPTS
    guidance_scale: float = 7.5
    steps: int = 20


@dataclass(frozen=True)
class ReferenceImage:
    """An image of the run: its prompt and seed, and its pixels uint8 [H, W, 3] from PyTorch in float32."""

    prompt: str
    seed: int
    pixels: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """The plan of every component that is quantized, the run, and its images."""

    plans: Mapping[str, Plan]
    run: CalibrationRun
    images: tuple[ReferenceImage, ...]


def calibrate(checkpoint: Checkpoint, dialect: Dialect, static: StaticShape | None, run: CalibrationRun) -> Calibration:
    """Run the checkpoint in an operator set, one component in memory at a time.

    Args:
        checkpoint: to export.
        dialect: operator set of the export.
        static: sizes of graphs of fixed shapes; None runs the checkpoint's own size.
        run: prompts and settings of the images.

    Raises:
        ArgumentError: a run without prompts, guidance or steps out of range, or a family that int8 is not made for.
    """
    if checkpoint.family not in CALIBRATED:
        names = ", ".join(family.name for family in CALIBRATED)
        raise ArgumentError(f"int8 is made for {names}, not {checkpoint.family.name}; allowed: w8, w4")
    if not run.prompts:
        raise ArgumentError("there are no prompts to calibrate with: give one a line")

    def load(name: str) -> Component:
        component = components_of(checkpoint)[name]()
        return replace(component, module=dialect.rewrite(component.module.float()))

    sampler = Sampler.from_config(checkpoint.family.scheduler_config(checkpoint.scheduler, None), run.steps)
    conditioning = _encode(load("text_encoder"), checkpoint, run.prompts, None if static is None else 1)
    unet = load("unet")
    sizes = unet.default if static is None else static_sizes(checkpoint, unet, static)
    count = min(MOST, max(FEWEST, int(WORK // (count_macs(unet) * 2 * len(sampler)))))
    rows = [index % len(run.prompts) for index in range(count)]
    guidance = Guidance(run.guidance_scale)
    per_image = [conditioning[row] for row in rows]
    latents, unet_plan = _denoise(unet, sampler, guidance, per_image, sizes, dialect.name)
    del unet
    pixels, decoder_plan = _decode(load("vae_decoder"), latents, dialect.name)
    images = [ReferenceImage(run.prompts[row], SEED + i, pixels[i]) for i, row in enumerate(rows)]
    return Calibration({"unet": unet_plan, "vae_decoder": decoder_plan}, run, tuple(images))


def _encode(
    encoder: Component, checkpoint: Checkpoint, prompts: Sequence[str], max_chunks: int | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positive and empty negative conditioning of each prompt, float32 [1, tokens, width], of `max_chunks` chunks."""
    tokenizer = tokenizer_of(checkpoint, "text_encoder")
    hidden = list(encoder.outputs).index("last_hidden_state")

    def encode(prompt: str) -> tuple[np.ndarray, np.ndarray]:
        chunks = batched(tokenizer, [prompt, ""], max_chunks)
        with torch.inference_mode():
            outputs = encoder.module(torch.from_numpy(chunks.ids.reshape(-1, tokenizer.length)))
        states = outputs[hidden].numpy()
        embeddings = weighted(states.reshape(*chunks.ids.shape, -1), chunks.weights)
        positive, negative = embeddings.reshape(2, 1, -1, states.shape[-1])
        return positive, negative

    return [encode(prompt) for prompt in prompts]


def _denoise(
    unet: Component,
    sampler: Sampler,
    guidance: Guidance,
    conditioning: Sequence[tuple[np.ndarray, np.ndarray]],
    sizes: Sizes,
    dialect: str,
) -> tuple[list[np.ndarray], Plan]:
    """The final latents [1, C, h, w] for each pair of positive and negative conditioning, and the U-Net's plan."""
    shape = (1, *unet.shapes(sizes)["sample"][1:])
    samples: list[Inputs] = []

    def denoiser(latents: np.ndarray, timestep: float, conditioning: Conditioning) -> np.ndarray:
        time = torch.tensor(timestep, dtype=torch.float32)
        inputs = (torch.from_numpy(latents), time, torch.from_numpy(conditioning[TEXT]))
        calls.append(inputs)
        with torch.inference_mode():
            return np.asarray(unet.module(*inputs)[0])

    finals = []
    with observed_ranges(unet.module) as ranges:
        for index, (positive, negative) in enumerate(conditioning):
            calls: list[Inputs] = []
            source = noise_source("torch", SEED + index)
            predict = guided(denoiser, {TEXT: positive}, {TEXT: negative}, guidance, sampler)
            for step in denoise(predict, source.randn(shape), sampler, source.randn):
                latents = step.latents
            finals.append(latents)
            samples += [
                calls[k * len(calls) // SAMPLES] for k in range(SAMPLES) if k * len(conditioning) // SAMPLES == index
            ]
    cropped = [(_crop(latents[-1:]), timestep, text[-1:]) for latents, timestep, text in samples]
    return finals, plan(unet.module, ranges, cropped, dialect)


def _decode(decoder: Component, latents: list[np.ndarray], dialect: str) -> tuple[list[np.ndarray], Plan]:
    """The images uint8 [H, W, 3] of the latents, and the decoder's plan."""
    scaled = [torch.from_numpy(each / np.float32(decoder.config["scaling_factor"])) for each in latents]
    with observed_ranges(decoder.module) as ranges, torch.inference_mode():
        pixels = [to_pixels(decoder.module(each)[0].numpy())[0] for each in scaled]
    samples = [(_crop(each),) for each in scaled[:: -(-len(scaled) // SAMPLES)]]
    return pixels, plan(decoder.module, ranges, samples, dialect)


def _crop(latents: torch.Tensor) -> torch.Tensor:
    """The middle of latents [n, C, h, w], at most LARGEST_SAMPLE high and wide."""
    top, left = (max(0, size - LARGEST_SAMPLE) // 2 for size in latents.shape[2:])
    return latents[:, :, top : top + LARGEST_SAMPLE, left : left + LARGEST_SAMPLE]

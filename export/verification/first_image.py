"""A whole image of a package compared with that of diffusers' own pipeline, with the checkpoint's modules in PyTorch.

Graphs are verified one by one; what is between them is not: tokenizers, the scheduler, guidance, the scale of the
latents. The image shows it all at once, in a few steps of a small image.
"""

import gc
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.runtime import TextToImage
from triptych.runtime.errors import VerificationError
from triptych.runtime.families.family import LATENT_DIFFUSION, TEXT_TO_IMAGE
from triptych.runtime.ort.probe import why_not
from triptych.runtime.ort.providers import CUDA
from triptych.runtime.package.graphs import DECODER
from triptych.runtime.package.package import GRAPH
from triptych.runtime.text.encoders import TOKENIZERS

from ..checkpoint import Checkpoint
from ..components import Component, components_of, vae_factor
from ..options import GUIDED, Options
from ..quiet import quiet
from ..sources import one_line
from .image_quality import psnr

PROMPT = "a photograph of a red fox in the snow"
SEED, STEPS, GUIDANCE = 1_000, 3, 5.0
SIDE = 16
"""Height and width of the latents where shapes are open."""

FLOORS_DB = {"fp32": 40.0, "fp16": 30.0, "int8": 15.0, "w8": 20.0, "w4": 8.0}
"""Precision -> the least PSNR of the image; below it the package draws something else, whatever is rounded."""

_FLOAT32 = 4
_HEADROOM = 1.5
"""Memory of an image in multiples of the weights, for activations."""


@dataclass(frozen=True)
class FirstImage:
    """The comparison, or the reason why there is none.

    Attributes:
        floor_db: least PSNR.
        psnr_db: PSNR of the package's image, see `image_quality.psnr`; None where there is none.
        size: height and width in pixels.
        reason: None where there is an image.
    """

    floor_db: float
    psnr_db: float | None = None
    size: tuple[int, int] | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry in the manifest."""
        if self.psnr_db is None or self.size is None:
            return {"left_out": self.reason}
        return {
            "against": "diffusers, float32",
            "psnr_db": round(self.psnr_db, 2),
            "floor_db": self.floor_db,
            "steps": STEPS,
            "guidance_scale": GUIDANCE,
            "height": self.size[0],
            "width": self.size[1],
        }

    def __str__(self) -> str:
        if self.psnr_db is None:
            return f"image: not compared with diffusers', because {self.reason}"
        return f"image: {self.psnr_db:.1f} dB from diffusers' (floor {self.floor_db:g}), {STEPS} steps"


def compare(package: Path, checkpoint: Checkpoint, options: Options, parameters: int) -> FirstImage | None:
    """Generate one image with diffusers and with the package, one after the other; None where a component is missing.

    Args:
        package: all of its files are written.
        checkpoint: that it was exported from.
        options: of the export.
        parameters: of all components, together.

    Raises:
        VerificationError: the package's image is below the floor of its precision.
    """
    floor, static = FLOORS_DB[options.precision.name], options.static
    family = checkpoint.family
    if not all((package / name / GRAPH).exists() for name in (*family.text_encoders, family.denoiser, DECODER)):
        return None
    reason = _left_out(checkpoint, options, parameters)
    if reason is not None:
        return FirstImage(floor, reason=reason)
    factor = vae_factor(checkpoint)
    height, width = (SIDE * factor, SIDE * factor) if static is None else (static.height, static.width)
    try:
        with quiet():
            expected = _by_diffusers(checkpoint, height, width)
    except Exception as error:  # diffusers lacks a value of an option that the runtime has, or the reverse of it
        return FirstImage(floor, reason=f"diffusers generates none ({type(error).__name__}: {one_line(error)})")
    gc.collect()
    pipe = TextToImage.load(package, device="cuda" if options.dialect.name == "cuda" else "cpu")
    output = pipe(PROMPT, seed=SEED, height=height, width=width, num_inference_steps=STEPS, guidance_scale=GUIDANCE)
    db = psnr(np.asarray(output.images[0]), expected)
    if db < floor:
        raise VerificationError(
            f"the package's image is {db:.1f} dB from diffusers', below the floor of {floor:g} dB, though each graph "
            "equals PyTorch's: a configuration of the checkpoint acts in another way; nothing was published"
        )
    return FirstImage(floor, db, (height, width))


def _left_out(checkpoint: Checkpoint, options: Options, parameters: int) -> str | None:
    """The reason why no image is compared; None where one is."""
    family, unet = checkpoint.family, checkpoint.config(checkpoint.family.denoiser)
    if TEXT_TO_IMAGE not in family.tasks or unet.get("in_channels") != unet.get("out_channels"):
        return "the model starts from an image"
    if options.static is not None and options.static.batch != GUIDED:
        return f"its calls have {options.static.batch} rows, and an image with guidance has {GUIDED}"
    if options.dialect.name == "cuda" and (why := why_not(CUDA)) is not None:
        return f"there is no GPU ({why})"
    needed, free = int(parameters * _FLOAT32 * _HEADROOM), _free_bytes()
    if free is not None and needed > free:
        return f"it takes {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"
    return None


def _by_diffusers(checkpoint: Checkpoint, height: int, width: int) -> np.ndarray:
    """The image uint8 [H, W, 3] by diffusers' pipeline of the family."""
    import diffusers
    import transformers

    family, loaders = checkpoint.family, components_of(checkpoint)
    parts: dict[str, Any] = {}
    for encoder in family.encoders:
        parts[encoder.name] = _module(loaders[encoder.name]())
        tokenizer = getattr(transformers, TOKENIZERS[encoder.kind].class_name)
        with checkpoint.tokenizer(encoder.tokenizer) as folder:
            parts[encoder.tokenizer] = tokenizer.from_pretrained(folder)
    parts |= {family.denoiser: _module(loaders[family.denoiser]()), "vae": _module(loaders[DECODER]())}
    scheduler = checkpoint.scheduler
    parts["scheduler"] = getattr(diffusers, scheduler["_class_name"]).from_config(scheduler)
    if family == LATENT_DIFFUSION:
        parts["bert"], parts["vqvae"] = parts.pop("text_encoder"), parts.pop("vae")
    zeroes = checkpoint.model_index.get("force_zeros_for_empty_prompt", family.zeroes_negatives)
    others = {
        "force_zeros_for_empty_prompt": zeroes,
        "add_watermarker": False,
        "requires_safety_checker": False,
        **dict.fromkeys(("safety_checker", "feature_extractor", "text_encoder_3", "tokenizer_3")),
    }
    kind = getattr(diffusers, family.pipelines[0])
    taken = inspect.signature(kind.__init__).parameters
    pipe = kind(**{name: value for name, value in others.items() if name in taken} | parts)
    pipe.set_progress_bar_config(disable=True)
    size = {"height": height, "width": width}
    generator = torch.Generator("cpu").manual_seed(SEED)
    options = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "output_type": "np"}
    image = pipe(PROMPT, generator=generator, **options, **size).images[0]
    pixels: np.ndarray = (image * 255).round().astype(np.uint8)
    return pixels


def _module(component: Component) -> Any:
    assert component.original is not None  # every component of a checkpoint has it
    return component.original.float()


def _free_bytes() -> int | None:
    """Memory that is available without swapping; None where the system does not state it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)

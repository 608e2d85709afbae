"""Latents of every concept in many poses on all backgrounds, encoded once for all epochs."""

from dataclasses import dataclass
from pathlib import Path

import images
import torch
from captions import Concept, held_out
from diffusers import AutoencoderKL
from loop import save_atomically, step_generator
from torch import Tensor

SEED = 2
VIEWS = 64
WHITE_SHARE = 0.45


@dataclass(frozen=True)
class Latents:
    """Training data of the U-Net: latents, and the concept and background for captions."""

    latents: Tensor  # float16 [images, 4, 16, 16], unit variance
    concept: Tensor  # int64 [images]
    background: Tensor  # int64 [images], into images.BACKGROUND_NAMES


def choose_backgrounds(concept: Concept, count: int, generator: torch.Generator) -> Tensor:
    """Background indices int64 [count]: a fixed share of white, other colours alike, without held-out pairs."""
    allowed = [i for i, name in enumerate(images.BACKGROUND_NAMES) if i and not held_out(concept, name)]
    white = round(count * WHITE_SHARE)
    coloured = torch.tensor(allowed)[torch.randint(len(allowed), (count - white,), generator=generator)]
    return torch.cat([torch.zeros(white, dtype=torch.int64), coloured])


@torch.no_grad()
def make(vae: AutoencoderKL, concepts: list[Concept], sprites: Tensor, folder: Path) -> Latents:
    """Encode the images, or read the latents of an earlier run. ``sprites`` are those of the concepts."""
    path = folder / "latents.pt"
    if path.exists():
        return Latents(**torch.load(path, weights_only=True))
    latents, backgrounds = [], []
    for index, concept in enumerate(concepts):
        generator = step_generator(SEED, index)
        background = choose_backgrounds(concept, VIEWS, generator)
        colours = images.background_colours(background, generator)
        pose = images.random_pose(VIEWS, generator)
        image = images.compose(sprites[index].expand(VIEWS, -1, -1, -1), pose, colours)
        code = vae.encode(image.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        latents.append((code * vae.config.scaling_factor).half().contiguous())
        backgrounds.append(background)
    state = {
        "latents": torch.cat(latents),
        "concept": torch.arange(len(concepts)).repeat_interleave(VIEWS),
        "background": torch.cat(backgrounds),
    }
    save_atomically(state, path)
    return Latents(**state)

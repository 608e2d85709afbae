"""Requests to a worker: plain values for both sides of the pipe, without further imports."""

from collections.abc import Sequence
from dataclasses import dataclass

COMPONENTS = ("text_encoder", "unet", "vae_decoder")


@dataclass(frozen=True)
class Size:
    """Number of images at once, and their height and width in pixels. With guidance, each is 2 rows of a U-Net call."""

    batch: int
    height: int
    width: int


@dataclass(frozen=True)
class ImageRequest:
    """Request for whole images; image k of the batch has seed + k. Pixels go to `file`, .npy uint8 [n, H, W, 3]."""

    size: Size
    steps: int
    prompt: str
    seed: int
    guidance_scale: float
    scheduler: str
    file: str


@dataclass(frozen=True)
class Setting:
    """Setting of a worker: the weights as a checkpoint and as a package, and the number of threads.

    `cache` is a folder for files that a peer makes once of the weights; peers calibrate themselves on `prompts` with
    `guidance_scale`.
    """

    checkpoint: str
    package: str
    threads: int
    cache: str
    prompts: Sequence[str] = ("a photograph of a red fox in the snow",)
    guidance_scale: float = 7.5

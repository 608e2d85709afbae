"""What a worker is asked to do: plain values, the same on both sides of the pipe, with nothing to import."""

from collections.abc import Sequence
from dataclasses import dataclass

COMPONENTS = ("text_encoder", "unet", "vae_decoder")


@dataclass(frozen=True)
class Size:
    """Pictures made at once, and their height and width in pixels. A U-Net call has 2 rows for each: guidance."""

    batch: int
    height: int
    width: int


@dataclass(frozen=True)
class Picture:
    """A whole picture; picture k of the batch has seed + k. `file` is where its pixels go, .npy uint8 [n, H, W, 3]."""

    size: Size
    steps: int
    prompt: str
    seed: int
    guidance_scale: float
    scheduler: str
    file: str


@dataclass(frozen=True)
class Setting:
    """What every peer is given: the same weights as a checkpoint and as a package, and the threads to compute with.

    `cache` is a folder for what a peer makes once of the weights; `prompts` and `guidance_scale` are how the model is
    used, for peers that calibrate themselves.
    """

    checkpoint: str
    package: str
    threads: int
    cache: str
    prompts: Sequence[str] = ("a photograph of a red fox in the snow",)
    guidance_scale: float = 7.5

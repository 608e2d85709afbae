"""Images of emoji: drawn once as sprites, then posed, recoloured and laid on a background by the batch.

A sprite is premultiplied RGBA: colour times coverage, so that scaling and rotating it never pulls in the colour
of transparent pixels, and laying it on a background is ``sprite + (1 - coverage) * background``.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_SIZE = 109  # the only size of the font's bitmaps
SPRITE = 128  # pixels
SIDE = 64  # pixels

# Background names and their sRGB colours, 0..255. White is what a caption without a background means.
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (28, 28, 32),
    "grey": (150, 150, 155),
    "red": (222, 60, 60),
    "orange": (250, 150, 50),
    "yellow": (250, 218, 84),
    "green": (84, 180, 92),
    "blue": (72, 132, 226),
    "purple": (150, 92, 200),
    "pink": (250, 172, 204),
}
BACKGROUND_NAMES = tuple(BACKGROUNDS)
MOST_SHIFT = 0.12  # of half an image: 4 pixels of 64
BACKGROUND_JITTER = 6 / 255  # each channel, uniform, so that the colour is not one single value


@dataclass(frozen=True)
class Pose:
    """Poses of sprites in their images, which captions do not describe. All tensors are float32 [batch]."""

    scale: Tensor  # side of the sprite over side of the image
    angle: Tensor  # radians
    mirror: Tensor  # +1 or -1
    shift: Tensor  # [batch, 2], in half images
    hue: Tensor  # radians around the grey axis


def draw_sprite(text: str) -> np.ndarray | None:
    """Draw one emoji: float32 [4, SPRITE, SPRITE], premultiplied, 0..1; None if the font lacks it."""
    if not FONT.exists():
        raise SystemExit(f"{FONT} is missing: apt-get install fonts-noto-color-emoji")
    font = ImageFont.truetype(str(FONT), FONT_SIZE)
    canvas = Image.new("RGBA", (3 * SPRITE, 2 * SPRITE))
    ImageDraw.Draw(canvas).text((SPRITE // 2, SPRITE // 4), text, font=font, embedded_color=True)
    box = canvas.getbbox()
    # A sequence that the font does not know comes out as several images side by side.
    if box is None or box[2] - box[0] > SPRITE + 8:
        return None
    side = max(box[2] - box[0], box[3] - box[1])
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    left, top, right, bottom = (round(c + sign * side / 2) for sign in (-1, 1) for c in centre)
    pixels = np.asarray(canvas.crop((left, top, right, bottom)), dtype=np.float32) / 255
    pixels[..., :3] *= pixels[..., 3:]
    sprite = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    sprite = F.interpolate(sprite, size=(SPRITE, SPRITE), mode="bilinear", antialias=True)
    return sprite[0].clamp(0, 1).numpy()


def random_pose(batch: int, generator: torch.Generator) -> Pose:
    """Draw random poses, by which images of one caption differ.

    Mirrored or not counts most, and costs least to learn. Wide tilts and sizes take several times as long.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *shape, generator=generator)

    scale = uniform(0.76, 0.84)
    angle = uniform(-6, 6) * math.pi / 180
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    return Pose(scale, angle, mirror, uniform(-MOST_SHIFT, MOST_SHIFT, 2), uniform(-6, 6) * math.pi / 180)


def plain_pose(batch: int, scale: float = 0.85) -> Pose:
    """Poses that are upright and centred, in the font's colours."""
    zero = torch.zeros(batch)
    return Pose(torch.full((batch,), scale), zero, zero + 1, torch.zeros(batch, 2), zero)


def hue_matrix(angle: Tensor) -> Tensor:
    """Rotation of RGB around the grey axis (Rodrigues); [batch] radians to [batch, 3, 3]."""
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    k = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -k, k], [k, 0, -k], [-k, k, 0]])
    return cos * torch.eye(3) + (1 - cos) / 3 + sin * cross


def background_colours(index: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Colours of backgrounds: indices int64 [batch] to [batch, 3] in 0..1, jittered with a generator."""
    colours = torch.tensor(list(BACKGROUNDS.values()), dtype=torch.float32)[index] / 255
    if generator is not None:
        colours = colours + (2 * torch.rand(colours.shape, generator=generator) - 1) * BACKGROUND_JITTER
    return colours.clamp(0, 1)


def compose(sprites: Tensor, pose: Pose, colours: Tensor, size: int = SIDE) -> Tensor:
    """Lay sprites on plain backgrounds.

    Args:
        sprites: float32 [batch, 4, SPRITE, SPRITE], premultiplied, 0..1.
        pose: the pose of each.
        colours: background colours [batch, 3], 0..1.
        size: side of the images in pixels.

    Returns:
        Images [batch, 3, size, size] in -1..1.
    """
    cos, sin = pose.angle.cos() / pose.scale, pose.angle.sin() / pose.scale
    # affine_grid wants the map from the image's coordinates to the sprite's: the inverse of the pose.
    rows = [pose.mirror * cos, pose.mirror * sin, -sin, cos]
    linear = torch.stack(rows, dim=1).view(-1, 2, 2)
    offset = -(linear @ pose.shift[:, :, None])
    shape = (len(sprites), 4, 2 * size, 2 * size)
    grid = F.affine_grid(torch.cat([linear, offset], dim=2), list(shape), align_corners=False)
    laid = F.avg_pool2d(F.grid_sample(sprites, grid, align_corners=False), 2)
    colour, coverage = laid[:, :3], laid[:, 3:]
    # A rotation keeps premultiplied colours premultiplied; it may leave the gamut, hence the clamp.
    colour = torch.einsum("bij,bjhw->bihw", hue_matrix(pose.hue), colour).clamp(min=0)
    colour = torch.minimum(colour, coverage)
    return (colour + (1 - coverage) * colours[:, :, None, None]) * 2 - 1

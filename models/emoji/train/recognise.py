"""Recognition of the emoji in an image, by nearest neighbour, and of its background.

The distance: the background, the median of the border, is subtracted; the smallest square around what differs from
it is resized to 24x24 pixels; the mean squared difference to the same made of every emoji of the training set, upright
and turned, mirrored and not, on a background of the nearest name.
"""

import math
from dataclasses import dataclass

import images
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

CROP = 24  # pixels
THRESHOLD = 0.12  # largest difference of a channel from the background, 0..1, that still counts as background
ANGLES = (-15.0, -7.5, 0.0, 7.5, 15.0)  # degrees
REFERENCE_SCALE = 0.8


@dataclass(frozen=True)
class Foreground:
    """Foreground of each image."""

    crop: Tensor  # [images, 3 * CROP * CROP], colour minus background, 0 outside
    background: Tensor  # [images, 3], 0..1
    side: Tensor  # [images], side of the crop over side of the image


def foreground(image: Tensor) -> Foreground:
    """Separate foreground and background of images [images, 3, size, size] in 0..1."""
    border = torch.cat([image[..., :2, :].flatten(2), image[..., -2:, :].flatten(2)], dim=2)
    sides = torch.cat([image[..., :2].flatten(2), image[..., -2:].flatten(2)], dim=2)
    background = torch.cat([border, sides], dim=2).median(dim=2).values
    difference = image - background[:, :, None, None]
    # Smoothed, so that a stray pixel does not widen the crop.
    mask = F.avg_pool2d(difference, 3, 1, 1).abs().amax(dim=1) > THRESHOLD
    low_x, high_x = _extent(mask.any(dim=1))
    low_y, high_y = _extent(mask.any(dim=2))
    side = torch.maximum(high_x - low_x, high_y - low_y).clamp(min=0.1)
    theta = torch.zeros(len(image), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, 0, 2], theta[:, 1, 2] = low_x + high_x - 1, low_y + high_y - 1
    grid = F.affine_grid(theta, [len(image), 3, 2 * CROP, 2 * CROP], align_corners=False)
    crop = F.avg_pool2d(F.grid_sample(difference, grid, align_corners=False), 2)
    return Foreground(crop.flatten(1), background, side)


def _extent(present: Tensor) -> tuple[Tensor, Tensor]:
    """First and one past the last true value of bool [images, size], as shares of the size."""
    size = present.shape[1]
    index = torch.arange(size)
    low = torch.where(present, index, size).amin(dim=1)
    high = torch.where(present, index + 1, 0).amax(dim=1)
    empty = ~present.any(dim=1)
    return torch.where(empty, 0, low) / size, torch.where(empty, size, high) / size


def background_name(colour: Tensor) -> Tensor:
    """Nearest background of the training set, [images, 3] in 0..1 to int64 [images]."""
    known = images.background_colours(torch.arange(len(images.BACKGROUNDS)))
    return torch.cdist(colour, known).argmin(dim=1)


class Gallery:
    """References: every emoji of the training set in ten poses on each background."""

    def __init__(self, sprites: Tensor) -> None:
        poses = [(angle, mirror) for angle in ANGLES for mirror in (1.0, -1.0)]
        self.concept = torch.arange(len(sprites)).repeat(len(poses))
        colours = images.background_colours(torch.arange(len(images.BACKGROUNDS)))
        self.crops = [torch.cat([self._crops(sprites, colour, *pose) for pose in poses]) for colour in colours]

    @staticmethod
    def _crops(sprites: Tensor, colour: Tensor, angle: float, mirror: float) -> Tensor:
        count = len(sprites)
        plain = images.plain_pose(count, REFERENCE_SCALE)
        turned = torch.full((count,), angle * math.pi / 180)
        pose = images.Pose(plain.scale, turned, plain.mirror * mirror, plain.shift, plain.hue)
        return foreground(images.compose(sprites, pose, colour.expand(count, 3)) / 2 + 0.5).crop

    def rank(self, shown: Foreground, most: int = 5) -> tuple[Tensor, Tensor]:
        """Nearest concepts in order, int64 [images, most], and their distances."""
        names = background_name(shown.background)
        concepts = torch.zeros(len(names), most, dtype=torch.int64)
        distances = torch.zeros(len(names), most)
        total = int(self.concept.max()) + 1
        for name in names.unique():
            rows = (names == name).nonzero()[:, 0]
            squared = torch.cdist(shown.crop[rows], self.crops[int(name)]).square() / shown.crop.shape[1]
            nearest = squared.view(len(rows), -1, total).amin(dim=1)
            best = nearest.topk(most, largest=False)
            concepts[rows], distances[rows] = best.indices, best.values
        return concepts, distances

"""Sprites of the emoji, drawn once and stored in the work folder."""

from pathlib import Path

import numpy as np
import torch
from captions import Concept, all_emoji
from images import draw_sprite
from torch import Tensor


def load_sprites(folder: Path) -> dict[str, Tensor]:
    """Sprites of all emoji that the font can draw, by name: float32 [4, SPRITE, SPRITE], premultiplied, 0..1."""
    path = folder / "sprites.npz"
    if not path.exists():
        drawn = {name: draw_sprite(text) for name, text in all_emoji().items()}
        levels = {n: np.round(255 * s).astype(np.uint8) for n, s in drawn.items() if s is not None}
        np.savez_compressed(path, allow_pickle=False, **levels)
    with np.load(path) as stored:
        return {name: torch.from_numpy(stored[name]).float() / 255 for name in stored.files}


def concept_sprites(sprites: dict[str, Tensor], concepts: list[Concept]) -> Tensor:
    """The sprites of the concepts, in their order, [concepts, 4, SPRITE, SPRITE]."""
    return torch.stack([sprites[concept.names[0]] for concept in concepts])

"""Learned words (textual inversion, Gal et al. 2022), read from files.

A learned word is one or more rows of the token table and as many tokens, named as diffusers names them: `token`,
`token_1`, ... `triptych.runtime.text.tokenizer` finds them again by these names.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from triptych.runtime.errors import SourceError

ENCODERS = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""Keys of files for two text encoders -> text encoder."""

_WEB_UI = "emb_params"  # the key of the web UI's layout, which has the token in the file's name


@dataclass(frozen=True)
class Embedding:
    """A learned word: its token, and text encoder -> its vectors float32 [n, width]."""

    token: str
    vectors: Mapping[str, torch.Tensor]

    @property
    def tokens(self) -> list[str]:
        """One token for each vector, as diffusers names them."""
        count = len(next(iter(self.vectors.values())))
        return [self.token, *(f"{self.token}_{i}" for i in range(1, count))]


def read_embedding(source: str, encoders: Sequence[str]) -> Embedding:
    """Read the learned word in FILE or FILE=TOKEN, for a checkpoint with these text encoders.

    Raises:
        SourceError: a file that is missing or of another kind, or vectors for other text encoders.
    """
    named = re.fullmatch(r"(.*\.safetensors)(=.*)?", source, re.DOTALL)
    if named is None:
        raise SourceError(f"{source} is no embedding: give a .safetensors file, or FILE=TOKEN")
    file = Path(named[1])
    try:
        tensors = load_file(file)
    except Exception as error:  # safetensors and OSError
        raise SourceError(f"{file} cannot be read as .safetensors: {' '.join(str(error).split())}") from None
    key_token = file.stem
    if tensors.keys() == ENCODERS.keys():
        vectors = {ENCODERS[key]: rows for key, rows in tensors.items()}
    elif len(tensors) == 1:
        ((key, rows),) = tensors.items()
        vectors, key_token = {ENCODERS["clip_l"]: rows}, key_token if key == _WEB_UI else key
    else:
        some = ", ".join(sorted(tensors)[:3])
        raise SourceError(
            f"{file} is no embedding: it holds {len(tensors)} tensors ({some}), not one, or clip_l, clip_g"
        )
    if sorted(vectors) != sorted(encoders):
        raise SourceError(
            f"{file} has vectors for {', '.join(sorted(vectors))}; the checkpoint has {', '.join(encoders)}"
        )
    vectors = {name: (rows[None] if rows.ndim == 1 else rows).float() for name, rows in vectors.items()}
    for rows in vectors.values():
        if rows.ndim != 2 or not rows.numel() or not rows.isfinite().all():
            raise SourceError(
                f"{file} is no embedding: a tensor of shape {list(rows.shape)}, or values that are not finite"
            )
    if len({len(rows) for rows in vectors.values()}) != 1:
        raise SourceError(f"{file} is no embedding: the numbers of vectors for the text encoders differ")
    token = key_token if named[2] is None else named[2][1:]
    if not token.strip():
        raise SourceError(f"{source}: a token must have letters or signs")
    return Embedding(token, vectors)

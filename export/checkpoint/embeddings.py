"""Learned words (textual inversion, Gal et al. 2022), read from files.

A learned word is one or more rows of the token table and as many tokens, named as diffusers names them: `token`,
`token_1`, ... `triptych.runtime.text.tokenizer` finds them again by these names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from triptych.runtime.errors import SourceError

from ..sources import embedding_file
from .tensors import Tensors, unpickled

ENCODERS = {
    "clip_l": "text_encoder",
    "clip_g": "text_encoder_2",
    "text_encoders_0": "text_encoder",
    "text_encoders_1": "text_encoder_2",
}
"""Keys of files by text encoder -> text encoder. The token is the file's name."""

# Keys of the web UI's layouts, which have the token in the file's name: .safetensors and .pt
_WEB_UI, _WEB_UI_PICKLE = "emb_params", "string_to_param"


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
    file, named = embedding_file(source)
    content: Any = dict(Tensors(file)) if file.suffix == ".safetensors" else unpickled(file)
    if isinstance(content, dict) and _WEB_UI_PICKLE in content:
        content = dict(zip([_WEB_UI], _values(content[_WEB_UI_PICKLE]), strict=False))
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(rows, torch.Tensor) for rows in tensors.values()):
        raise SourceError(f"{file} is not an embedding: it holds no tensors by name")
    key_token = file.stem
    if tensors.keys() <= ENCODERS.keys():
        vectors = {ENCODERS[key]: rows for key, rows in tensors.items()}
    elif len(tensors) == 1:
        ((key, rows),) = tensors.items()
        vectors, key_token = {ENCODERS["clip_l"]: rows}, key_token if key == _WEB_UI else str(key)
    else:
        some = ", ".join(sorted(map(str, tensors))[:3])
        raise SourceError(
            f"{file} is not an embedding: it holds {len(tensors)} tensors ({some}), not one, or clip_l, clip_g"
        )
    if sorted(vectors) != sorted(encoders):
        raise SourceError(
            f"{file} has vectors for {', '.join(sorted(vectors))}; the checkpoint has {', '.join(encoders)}"
        )
    vectors = {name: (rows[None] if rows.ndim == 1 else rows).detach().float() for name, rows in vectors.items()}
    for rows in vectors.values():
        if rows.ndim != 2 or not rows.numel() or not rows.isfinite().all():
            raise SourceError(
                f"{file} is not an embedding: a tensor of shape {list(rows.shape)}, or values that are not finite"
            )
    if len({len(rows) for rows in vectors.values()}) != 1:
        raise SourceError(f"{file} is not an embedding: the numbers of vectors for the text encoders differ")
    token = key_token if named is None else named
    if not token.strip():
        raise SourceError(f"{source}: a token must have letters or signs")
    return Embedding(token, vectors)


def _values(held: Any) -> list[Any]:
    return list(held.values()) if hasattr(held, "values") else []

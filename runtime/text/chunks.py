"""Prompts as token ids and weights, in chunks as long as the text encoder reads; and what weights do to embeddings.

A chunk is BOS, as many tokens as fit, EOS and padding. The conditionings of a prompt's chunks stand one after the other
along the tokens, those of the shorter prompts of a call filled up with chunks of the empty prompt; a pooled embedding
is that of the first chunk. All of this is as in the Stable Diffusion web UI (AUTOMATIC1111, modules/sd_hijack_clip.py),
but that a chunk is filled to its end: the web UI may move what follows a comma to the next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError
from .prompt_syntax import parse
from .tokenizer import PromptTokenizer, Word


@dataclass(frozen=True)
class Chunks:
    """`ids` int64 and `weights` float32, [chunks, length] of one prompt or [n, chunks, length] of n.

    `cut` quotes, for each prompt, the text that was left out, "" if none.
    """

    ids: np.ndarray
    weights: np.ndarray
    cut: tuple[str, ...]


def chunked(tokenizer: PromptTokenizer, prompt: str, most: int | None = None) -> Chunks:
    """A prompt in as many chunks as it needs, `most` of them at most.

    Raises:
        ArgumentError: a prompt that is not valid Unicode.
    """
    text, rows = "", []
    for fragments in parse(prompt):
        row: list[tuple[Word, float]] = []
        for fragment in fragments:
            row += [(word.moved(len(text)), fragment.weight) for word in tokenizer.words(fragment.text)]
            text += fragment.text
        rows += _divided(row, tokenizer.length - 2)
    if len(rows) > 1 and not rows[-1]:  # BREAK at the end
        del rows[-1]
    left_out = [] if most is None else [word for row in rows[most:] for word, _ in row]
    rows = rows[:most]
    ids = np.full((len(rows), tokenizer.length), tokenizer.pad, np.int64)
    weights = np.ones(ids.shape, np.float32)
    for row, own_ids, own_weights in zip(rows, ids, weights, strict=True):
        own_ids[: len(row) + 2] = [tokenizer.bos, *(word.id for word, _ in row), tokenizer.eos]
        with np.errstate(over="ignore"):  # `weighted` refuses infinity
            own_weights[1 : len(row) + 1] = [weight for _, weight in row]
    return Chunks(ids, weights, (text[left_out[0].start : left_out[-1].end] if left_out else "",))


def batched(tokenizer: PromptTokenizer, prompts: Sequence[str], most: int | None = None) -> Chunks:
    """Several prompts in as many chunks as the longest needs, `most` of them at most.

    Raises:
        ArgumentError: see `chunked`.
    """
    each = [chunked(tokenizer, prompt, most) for prompt in prompts]
    count = max(len(chunks.ids) for chunks in each)
    rows = [filled(tokenizer, Chunks(chunks.ids[None], chunks.weights[None], chunks.cut), count) for chunks in each]
    ids, weights = (np.concatenate([getattr(row, name) for row in rows]) for name in ("ids", "weights"))
    return Chunks(ids, weights, tuple(cut for row in rows for cut in row.cut))


def filled(tokenizer: PromptTokenizer, chunks: Chunks, count: int) -> Chunks:
    """The chunks [n, chunks, length] of n prompts with chunks of the empty prompt behind, to `count` of them."""
    empty = chunked(tokenizer, "")
    missing = (len(chunks.ids), count - chunks.ids.shape[1], 1)
    ids, weights = (
        np.concatenate([own, np.tile(filling, missing)], axis=1)
        for own, filling in ((chunks.ids, empty.ids), (chunks.weights, empty.weights))
    )
    return Chunks(ids, weights, chunks.cut)


def weighted(embeddings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Embeddings float32 [..., length, width] of whole chunks with the tokens' weights [..., length].

    Each token's embedding is multiplied by its weight; then the chunk is scaled so that the mean of all its values is
    what it was (the web UI's "Original" emphasis, modules/sd_emphasis.py). A chunk whose weights are all 1 stays as it
    is, to the bit.

    Raises:
        ArgumentError: weights with which there is no such mean: too large, or all nothing.
    """
    changed = (weights != 1).any(-1)
    if not changed.any():
        return embeddings
    before, result = embeddings[changed], embeddings.copy()
    with np.errstate(all="ignore"):
        after = before * weights[changed][..., None]
        mean, new_mean = (values.mean((-2, -1), np.float64, keepdims=True) for values in (before, after))
        result[changed] = after * (mean / new_mean)
    if not np.isfinite(result).all():
        raise ArgumentError(
            f"the weights of the prompt, {weights.min():g} to {weights.max():g}, give embeddings that are no numbers"
        )
    return result


def _divided(row: list[tuple[Word, float]], size: int) -> list[list[tuple[Word, float]]]:
    return [row[start : start + size] for start in range(0, len(row), size)] or [[]]

"""Prompts as token ids and weights, in chunks of the text encoder's length, and the weighting of embeddings.

A chunk is a start token, which T5 lacks, as many tokens as fit, an end token and padding. The embeddings of a prompt's
chunks are concatenated along the tokens, and shorter prompts of a call are padded with chunks of the empty prompt. The
pooled embedding is that of the first chunk. This follows the Stable Diffusion web UI (AUTOMATIC1111,
modules/sd_hijack_clip.py), with one difference: a chunk is always filled to its end, while the web UI may move the
words after a comma to the next chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ..errors import ArgumentError
from .prompt_syntax import parse
from .tokenizer import PromptTokenizer, Word


@dataclass(frozen=True)
class Chunks:
    """`ids` int64 and `weights` float32, [chunks, length] of one prompt or [n, chunks, length] of n.

    `truncated` holds, for each prompt, the text that was left out, "" if none.
    """

    ids: np.ndarray
    weights: np.ndarray
    truncated: tuple[str, ...]


def chunked(tokenizer: PromptTokenizer, prompt: str, max_chunks: int | None = None, *, breaks: bool = True) -> Chunks:
    """A prompt in as many chunks as it needs, up to `max_chunks`; without `breaks`, BREAK starts none.

    Raises:
        ArgumentError: a prompt that is not valid Unicode.
    """
    text, rows = "", []
    parts = parse(prompt)
    for fragments in parts if breaks else [list(chain.from_iterable(parts))]:
        row: list[tuple[Word, float]] = []
        for fragment in fragments:
            row += [(word.shifted(len(text)), fragment.weight) for word in tokenizer.words(fragment.text)]
            text += fragment.text
        rows += _divided(row, tokenizer.room)
    if len(rows) > 1 and not rows[-1]:  # BREAK at the end
        del rows[-1]
    left_out = [] if max_chunks is None else [word for row in rows[max_chunks:] for word, _ in row]
    rows = rows[:max_chunks]
    ids = np.full((len(rows), tokenizer.length), tokenizer.pad, np.int64)
    weights = np.ones(ids.shape, np.float32)
    for row, row_ids, row_weights in zip(rows, ids, weights, strict=True):
        tokens = [*tokenizer.start, *(word.id for word, _ in row), *tokenizer.end]
        row_ids[: len(tokens)] = tokens
        first = len(tokenizer.start)
        with np.errstate(over="ignore"):  # `weighted` refuses infinity
            row_weights[first : first + len(row)] = [weight for _, weight in row]
    return Chunks(ids, weights, (text[left_out[0].start : left_out[-1].end].strip() if left_out else "",))


def batched(
    tokenizer: PromptTokenizer, prompts: Sequence[str], max_chunks: int | None = None, *, breaks: bool = True
) -> Chunks:
    """Several prompts in as many chunks as the longest needs, up to `max_chunks`; for `breaks` see `chunked`.

    Raises:
        ArgumentError: see `chunked`.
    """
    each = [chunked(tokenizer, prompt, max_chunks, breaks=breaks) for prompt in prompts]
    count = max(len(chunks.ids) for chunks in each)
    rows = [
        padded(tokenizer, Chunks(chunks.ids[None], chunks.weights[None], chunks.truncated), count) for chunks in each
    ]
    ids, weights = (np.concatenate([getattr(row, name) for row in rows]) for name in ("ids", "weights"))
    return Chunks(ids, weights, tuple(text for row in rows for text in row.truncated))


def padded(tokenizer: PromptTokenizer, chunks: Chunks, count: int) -> Chunks:
    """Chunks [n, chunks, length] of n prompts, padded to `count` each with chunks of the empty prompt."""
    empty = chunked(tokenizer, "")
    repeats = (len(chunks.ids), count - chunks.ids.shape[1], 1)
    ids, weights = (
        np.concatenate([values, np.tile(padding, repeats)], axis=1)
        for values, padding in ((chunks.ids, empty.ids), (chunks.weights, empty.weights))
    )
    return Chunks(ids, weights, chunks.truncated)


def weighted(embeddings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Embeddings float32 [..., length, width] of whole chunks, multiplied by the tokens' weights [..., length].

    Each token's embedding is multiplied by its weight; then the chunk is scaled to restore the mean of all its values
    (the web UI's "Original" emphasis, modules/sd_emphasis.py). A chunk whose weights are all 1 is returned unchanged.

    Raises:
        ArgumentError: weights that give no finite result: too large, or all zero.
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
            f"the weights of the prompt, {weights.min():g} to {weights.max():g}, give embeddings that are not finite"
        )
    return result


def _divided(row: list[tuple[Word, float]], size: int) -> list[list[tuple[Word, float]]]:
    return [row[start : start + size] for start in range(0, len(row), size)] or [[]]

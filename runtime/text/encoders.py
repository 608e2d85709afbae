"""Texts to conditioning, by all text encoders of a package."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import PackageError, PromptWarning
from ..families.conditioning import POOLED, TEXT
from ..families.family import Family
from ..ort.session import check_finite
from ..package.geometry import check_widths
from ..package.graphs import Components
from ..package.package import Package
from .byte_pairs import QwenTokenizer
from .chunks import Chunks, batched, chunked, padded, weighted
from .clip import ClipTokenizer
from .t5 import T5Tokenizer
from .tokenizer import PromptTokenizer
from .wordpiece import BertTokenizer

TOKENIZERS: dict[str, type[PromptTokenizer]] = {
    "clip": ClipTokenizer,
    "bert": BertTokenizer,
    "t5": T5Tokenizer,
    "qwen3": QwenTokenizer,
}
"""Kind of a family's tokenizer -> its class."""


class TextEncoders:
    """The text encoders of a package, each with its tokenizer.

    Args:
        package: the folder that holds them.
        graphs: graphs of the package.
        family: model family, with its encoders and the outputs in use.

    Attributes:
        tokenizers: by the name of the encoder.

    Raises:
        PackageError: a tokenizer cannot be read, or the encoders do not fit the denoiser.
    """

    def __init__(self, package: Package, graphs: Components, family: Family) -> None:
        self.tokenizers = {
            each.name: TOKENIZERS[each.kind].load(
                package.path / each.tokenizer, each.length, package.manifest.template(each.tokenizer)
            )
            for each in family.encoders
        }
        denoiser = graphs.signature(family.denoiser)  # first: the graph that is loaded last is used first
        signatures = [graphs.signature(name) for name in family.text_encoders]
        check_widths(signatures, denoiser, family)
        self._graphs, self._family = graphs, family
        self._appended = {each.name for each in family.encoders if each.appended}
        self._length = _common_length(
            {name: each.length for name, each in self.tokenizers.items() if name not in self._appended}
        )
        self._tail = family.appended_tokens
        for signature in signatures:
            tokens, length = signature.inputs["input_ids"].shape[1], self.tokenizers[signature.name].length
            _check_tokens(signature.name, tokens, length)
        tokens, self._width = denoiser.inputs[TEXT].shape[1:]
        _check_tokens(denoiser.name, tokens, self._length, self._tail)
        self._max_chunks = (tokens - self._tail) // self._length if isinstance(tokens, int) else family.chunks
        self._zeroes = package.model_index.get("force_zeros_for_empty_prompt", family.zeroes_negatives)
        self._hidden = {
            each.name: each.hidden(signature.outputs)
            for each, signature in zip(family.encoders, signatures, strict=True)
        }

    def encode(self, texts: Sequence[tuple[str, ...] | None], tokens: int = 0) -> dict[str, np.ndarray]:
        """The conditioning of texts, padded to the longest: see `chunks`.

        Args:
            texts: rows of one text for each encoder. None is a missing negative prompt: the empty text, or
                zeros if the checkpoint is configured so.
            tokens: minimum length of the result.

        Returns:
            Float32 [n, ...] by the denoiser's inputs. Equal chunks run once. Packages of fixed shapes, and families
            without chunks, take a fixed number of tokens; a warning quotes the text that is left out.

        Raises:
            ArgumentError: text that is not valid Unicode, or weights that cannot be applied.
            NumericalError: a text encoder gave NaN or infinity.
        """
        filled_in = [("",) * len(self._family.encoders) if text is None else text for text in texts]
        states: dict[str, np.ndarray] = {}
        pooled: list[np.ndarray] = []
        for encoder, chunks in zip(self._family.encoders, self._chunks(filled_in, tokens), strict=True):
            outputs = self._run(encoder.name, chunks.ids.reshape(-1, chunks.ids.shape[-1]))
            hidden = outputs[self._hidden[encoder.name]].astype(np.float32, copy=False)
            width = hidden.shape[-1]
            hidden = weighted(hidden.reshape(*chunks.ids.shape, width), chunks.weights)
            states[encoder.name] = hidden.reshape(len(filled_in), -1, width)
            if encoder.pooled:
                pooled.append(outputs[POOLED].reshape(*chunks.ids.shape[:2], -1)[:, 0])  # of the first chunk
        conditioning = {POOLED: np.concatenate(pooled, axis=-1)} if pooled else {}
        conditioning[TEXT] = self._joined(states)
        rows = {name: array.astype(np.float32, copy=False) for name, array in conditioning.items()}
        if self._zeroes:
            empty = [row for row, text in enumerate(texts) if text is None]
            for array in rows.values():
                array[empty] = 0
        return rows

    def chunks_of(self, text: str) -> int:
        """Number of chunks of a text, see `chunks`; all texts of a call are padded to the longest."""
        return max(len(chunked(each, text, self._limit(name)).ids) for name, each in self.tokenizers.items())

    def _chunks(self, texts: Sequence[tuple[str, ...]], tokens: int) -> list[Chunks]:
        """Chunks for each encoder; text that is left out gives a warning.

        Encoders whose states are concatenated have equal numbers of chunks; one whose tokens are appended has one.
        """
        each = {
            name: batched(tokenizer, column, self._limit(name), breaks=name not in self._appended)
            for (name, tokenizer), column in zip(self.tokenizers.items(), zip(*texts, strict=True), strict=True)
        }
        left_out = {text: chunks.ids[0].size for chunks in each.values() for text in chunks.truncated if text}
        for text, limit in left_out.items():
            warnings.warn(f"the prompt is longer than {limit} tokens; left out: {text!r}", PromptWarning, stacklevel=4)
        counts = [chunks.ids.shape[1] for name, chunks in each.items() if name not in self._appended]
        count = max((tokens - self._tail) // self._length, *counts)
        return [
            chunks if name in self._appended else padded(self.tokenizers[name], chunks, count)
            for name, chunks in each.items()
        ]

    def _limit(self, name: str) -> int | None:
        """Maximum number of chunks of an encoder."""
        return 1 if name in self._appended else self._max_chunks

    def _joined(self, states: Mapping[str, np.ndarray]) -> np.ndarray:
        """The states [n, tokens, width] of all encoders: concatenated, then padded and followed by appended tokens."""
        joined = np.concatenate([each for name, each in states.items() if name not in self._appended], axis=-1)
        if not self._tail:
            return joined
        appended = [each for name, each in states.items() if name in self._appended]
        width = max(each.shape[-1] for each in (joined, *appended)) if isinstance(self._width, str) else self._width
        joined = np.pad(joined, ((0, 0), (0, 0), (0, width - joined.shape[-1])))
        zeros = np.zeros((len(joined), self._family.zero_tokens, width), np.float32)
        return np.concatenate([joined, *appended, zeros], axis=1)

    def _run(self, name: str, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs for chunks [n, length]; equal chunks run once."""
        unique, places = np.unique(ids, axis=0, return_inverse=True)
        outputs = self._graphs[name]({"input_ids": unique}, release=True)
        check_finite(outputs[self._hidden[name]], name)
        return {output: array[places.reshape(-1)] for output, array in outputs.items()}


def _common_length(lengths: Mapping[str, int]) -> int:
    """Tokens of a chunk, by the lengths of all tokenizers.

    Raises:
        PackageError: they differ.
    """
    length = next(iter(lengths.values()))
    if set(lengths.values()) != {length}:
        said = ", ".join(f"{each} of {name}" for name, each in lengths.items())
        raise PackageError(f"the tokenizers have different model_max_length: {said}")
    return length


def _check_tokens(graph: str, tokens: int | str, length: int, tail: int = 0) -> None:
    """Refuse a graph of a fixed number of tokens that is not a whole number of chunks, and `tail` tokens after them.

    Raises:
        PackageError: names the graph.
    """
    if isinstance(tokens, int) and (tokens - tail < length or (tokens - tail) % length):
        after = f", and {tail} tokens follow" if tail else ""
        raise PackageError(f"{graph} takes {tokens} tokens, and model_max_length of its tokenizer is {length}{after}")

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
from ..package.signatures import Signature
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
        check_widths(signatures, denoiser, family.encoders)
        self._graphs, self._family = graphs, family
        tokens = denoiser.inputs[TEXT].shape[1]
        length = _common_length(self.tokenizers, [*signatures, denoiser])
        self._max_chunks = tokens // length if isinstance(tokens, int) else family.chunks
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
        states: list[np.ndarray] = []
        conditioning: dict[str, np.ndarray] = {}
        for encoder, chunks in zip(self._family.encoders, self._chunks(filled_in, tokens), strict=True):
            outputs = self._run(encoder.name, chunks.ids.reshape(-1, chunks.ids.shape[-1]))
            hidden = outputs[self._hidden[encoder.name]].astype(np.float32, copy=False)
            width = hidden.shape[-1]
            hidden = weighted(hidden.reshape(*chunks.ids.shape, width), chunks.weights)
            states.append(hidden.reshape(len(filled_in), -1, width))
            if encoder.pooled:
                conditioning[POOLED] = outputs[POOLED].reshape(*chunks.ids.shape[:2], -1)[:, 0]  # of the first chunk
        conditioning[TEXT] = np.concatenate(states, axis=-1)
        rows = {name: array.astype(np.float32, copy=False) for name, array in conditioning.items()}
        if self._zeroes:
            empty = [row for row, text in enumerate(texts) if text is None]
            for array in rows.values():
                array[empty] = 0
        return rows

    def chunks_of(self, text: str) -> int:
        """Number of chunks of a text, see `chunks`; all texts of a call are padded to the longest."""
        return max(len(chunked(tokenizer, text, self._max_chunks).ids) for tokenizer in self.tokenizers.values())

    def _chunks(self, texts: Sequence[tuple[str, ...]], tokens: int) -> list[Chunks]:
        """Chunks for each encoder, equal in number; text that is left out gives a warning."""
        columns = list(zip(self.tokenizers.values(), zip(*texts, strict=True), strict=True))
        length = columns[0][0].length
        each = [batched(tokenizer, column, self._max_chunks) for tokenizer, column in columns]
        for text in dict.fromkeys(text for chunks in each for text in chunks.truncated if text):
            limit = len(each[0].ids[0]) * length
            warnings.warn(f"the prompt is longer than {limit} tokens; left out: {text!r}", PromptWarning, stacklevel=4)
        count = max(tokens // length, *(chunks.ids.shape[1] for chunks in each))
        return [padded(tokenizer, chunks, count) for (tokenizer, _), chunks in zip(columns, each, strict=True)]

    def _run(self, name: str, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs for chunks [n, length]; equal chunks run once."""
        unique, places = np.unique(ids, axis=0, return_inverse=True)
        outputs = self._graphs[name]({"input_ids": unique}, release=True)
        check_finite(outputs[self._hidden[name]], name)
        return {output: array[places.reshape(-1)] for output, array in outputs.items()}


def _common_length(tokenizers: Mapping[str, PromptTokenizer], graphs: Sequence[Signature]) -> int:
    """Tokens of a chunk, of which each graph of fixed shapes takes a whole number.

    Raises:
        PackageError: tokenizers or graphs have other lengths.
    """
    lengths = {name: tokenizer.length for name, tokenizer in tokenizers.items()}
    length = next(iter(lengths.values()))
    if set(lengths.values()) != {length}:
        said = ", ".join(f"{each} of {name}" for name, each in lengths.items())
        raise PackageError(f"the tokenizers have different model_max_length: {said}")
    for graph in graphs:
        name = "input_ids" if graph.name in tokenizers else TEXT
        tokens = graph.inputs[name].shape[1]
        if isinstance(tokens, int) and (tokens < length or tokens % length):
            raise PackageError(f"{graph.name} takes {tokens} tokens, and model_max_length of its tokenizer is {length}")
    return length

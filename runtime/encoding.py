"""Texts -> what they condition the latent generator with, by all text encoders of a package."""

import warnings
from collections.abc import Sequence

import numpy as np

from .components import Components, check_finite
from .conditioning import POOLED, TEXT
from .families import Family
from .package import Package
from .shapes import check_widths
from .text import ClipTokenizer


class TextEncoders:
    """The text encoders of a package, each with the tokenizer that it was trained with.

    Args:
        package: what they are of.
        graphs: its components.
        family: which encoders there are, and what is taken from each.

    Attributes:
        tokenizers: by the name of the encoder.

    Raises:
        PackageError: a tokenizer cannot be read, or the encoders do not fit the latent generator.
    """

    def __init__(self, package: Package, graphs: Components, family: Family) -> None:
        self.tokenizers = {each.name: ClipTokenizer.load(package.path / each.tokenizer) for each in family.encoders}
        self._graphs, self._family = graphs, family
        self._zeroes = package.model_index.get("force_zeros_for_empty_prompt", family.zeroes_negatives)
        network = graphs.signature(family.generator)  # first: what is loaded for it last is what will be used first
        signatures = [graphs.signature(name) for name in family.text_encoders]
        check_widths(signatures, network, family.encoders)
        self._hidden = {
            each.name: each.hidden(signature.outputs)
            for each, signature in zip(family.encoders, signatures, strict=True)
        }

    def encode(self, texts: Sequence[tuple[str, ...] | None]) -> dict[str, np.ndarray]:
        """The conditioning of texts, one for each encoder in a row; warns with what did not fit.

        None is a row that says nothing: the empty text, or zeros where the checkpoint wants that. Texts that come
        several times run once.
        """
        said = [("",) * len(self._family.encoders) if text is None else text for text in texts]
        unique = list(dict.fromkeys(said))
        states: list[np.ndarray] = []
        conditioning: dict[str, np.ndarray] = {}
        for position, encoder in enumerate(self._family.encoders):
            outputs = self._run(encoder.name, [row[position] for row in unique])
            states.append(outputs[self._hidden[encoder.name]])
            if encoder.pooled:
                conditioning[POOLED] = outputs[POOLED]
        conditioning[TEXT] = np.concatenate(states, axis=-1)
        places = [unique.index(text) for text in said]
        rows = {name: array.astype(np.float32, copy=False)[places] for name, array in conditioning.items()}
        if self._zeroes:
            silent = [row for row, text in enumerate(texts) if text is None]
            for array in rows.values():
                array[silent] = 0
        return rows

    def _run(self, name: str, texts: Sequence[str]) -> dict[str, np.ndarray]:
        tokens = self.tokenizers[name].encode(texts)
        for cut in filter(None, tokens.cut):
            length = tokens.ids.shape[1]
            warnings.warn(f"the prompt is longer than {length} tokens; left out: {cut!r}", stacklevel=4)
        outputs = self._graphs[name]({"input_ids": tokens.ids}, release=True)
        check_finite(outputs[self._hidden[name]], name)
        return outputs

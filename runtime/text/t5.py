"""T5's tokenizer.

Source: Raffel et al. 2020 (T5) and Kudo 2018 (Unigram, subword regularization): text is normalised as SentencePiece's
`nmt_nfkc` does, and each word, with a mark in place of its space, is divided into its most probable pieces.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import PackageError
from .tokenizer import PromptTokenizer
from .tokenizer_files import FAST

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class T5Tokenizer(PromptTokenizer):
    """The tokenizer of T5's encoder: no start token, an end token, and padding with a mask.

    Its steps are those of tokenizer.json, which every package has: an export makes it of a SentencePiece model.
    """

    class_name: ClassVar[str] = "T5Tokenizer"
    vocabulary: ClassVar[tuple[str, ...]] = ()
    named: ClassVar[Mapping[str, str]] = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    ends: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ("eos_token",))
    longest: ClassVar[int] = 512

    @classmethod
    def from_vocabulary(cls, folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
        """See `PromptTokenizer`."""
        raise PackageError(f"{folder} has no {FAST}")

"""Byte-level BPE with added tokens, the tokenizer of Qwen.

Source: Radford et al. 2019 (GPT-2): words are divided into bytes, of which the most frequent pairs are merged. Text is
in NFC, and the pattern of words is that of Qwen2 (transformers' `Qwen2Tokenizer`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .tokenizer import PromptTokenizer
from .tokenizer_files import read_merges, read_vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_END = "<|endoftext|>"
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class QwenTokenizer(PromptTokenizer):
    """The tokenizer of Qwen2 and Qwen3: no tokens at the ends but those of a chat template, see `Template`."""

    class_name: ClassVar[str] = "Qwen2Tokenizer"
    vocabulary: ClassVar[tuple[str, ...]] = ("vocab.json", "merges.txt")
    named: ClassVar[Mapping[str, str]] = {"eos_token": _END, "pad_token": _END}
    ends: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())
    longest: ClassVar[int] = 512

    @classmethod
    def positions(cls, folder: Path, config: Mapping[str, Any]) -> int:
        """See `PromptTokenizer`; model_max_length is that of a conversation, not of a prompt."""
        return cls.longest

    @classmethod
    def from_vocabulary(cls, folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
        """See `PromptTokenizer`; the steps are those of transformers 5."""
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

        vocab, merges = (folder / name for name in cls.vocabulary)
        tokenizer = Tokenizer(models.BPE(vocab=read_vocabulary(vocab), merges=read_merges(merges)))
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer

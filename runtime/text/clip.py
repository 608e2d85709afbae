"""CLIP's tokenizer.

Source: Radford et al. 2021 (CLIP): lower-cased byte-level BPE whose words end in `</w>`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import PackageError
from .added_tokens import content
from .tokenizer import PromptTokenizer
from .tokenizer_files import read_merges, read_vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ClipTokenizer(PromptTokenizer):
    """The tokenizer of CLIP's text encoders."""

    class_name: ClassVar[str] = "CLIPTokenizer"
    vocabulary: ClassVar[tuple[str, ...]] = ("vocab.json", "merges.txt")
    named: ClassVar[Mapping[str, str]] = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS}
    ends: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (("bos_token",), ("eos_token",))

    @classmethod
    def from_vocabulary(cls, folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
        """See `PromptTokenizer`."""
        vocab, merges = (folder / name for name in cls.vocabulary)
        tokens = read_vocabulary(vocab)
        bos, eos, unk = (content(config[f"{name}_token"]) for name in ("bos", "eos", "unk"))
        for token in (bos, eos):
            if token not in tokens:
                raise PackageError(f"{vocab} lacks the special token {token!r}")
        return build_clip_tokenizer(tokens, read_merges(merges), bos=bos, eos=eos, unk=unk)


def build_clip_tokenizer(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    bos: str = BOS,
    eos: str = EOS,
    unk: str = EOS,
) -> "Tokenizer":
    """CLIP's tokenizer from its vocabulary (token -> id) and its merges, the most frequent first.

    The steps are those of transformers 5. Special tokens in a text are not matched yet: `read` adds them.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    model = models.BPE(
        vocab=dict(vocab),
        merges=list(merges),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        unk_token=unk,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # positional arguments: the names of the first two changed between versions of the library
    tokenizer.post_processor = processors.RobertaProcessing(
        (eos, vocab[eos]), (bos, vocab[bos]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer

"""BERT's tokenizer, for the first latent diffusion model (LDM text2im-large).

Source: Devlin et al. 2018 (BERT): words, lower-cased and without accents in the models in use, are split into the
longest pieces in the vocabulary; pieces inside a word start with `##`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import PackageError
from .added_tokens import content
from .tokenizer import LENGTH, PromptTokenizer
from .tokenizer_files import read_lines

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class BertTokenizer(PromptTokenizer):
    """The tokenizer of LDMBert: always 77 tokens, as in diffusers' `LDMTextToImagePipeline`."""

    class_name: ClassVar[str] = "BertTokenizer"
    vocabulary: ClassVar[tuple[str, ...]] = ("vocab.txt",)
    named: ClassVar[Mapping[str, str]] = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    ends: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (("cls_token",), ("sep_token",))

    @classmethod
    def positions(cls, folder: Path, config: Mapping[str, Any]) -> int:
        """See `PromptTokenizer`; model_max_length is BERT's own, not that of the text encoder."""
        return LENGTH

    @classmethod
    def from_vocabulary(cls, folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
        """See `PromptTokenizer`; the steps are those of transformers 5."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

        file = folder / cls.vocabulary[0]
        ids = {token: number for number, token in enumerate(read_lines(file))}
        unk, start, end = (content(config[f"{name}_token"]) for name in ("unk", "cls", "sep"))
        for token in (unk, start, end):
            if token not in ids:
                raise PackageError(f"{file} lacks the special token {token!r}")
        tokenizer = Tokenizer(models.WordPiece(ids, unk_token=unk))
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=config.get("tokenize_chinese_chars", True),
            strip_accents=config.get("strip_accents"),
            lowercase=config.get("do_lower_case", True),
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix="##")
        # positional arguments: their names changed between versions of the library
        tokenizer.post_processor = processors.BertProcessing((end, ids[end]), (start, ids[start]))
        return tokenizer

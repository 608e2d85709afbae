"""Sources of weights: diffusers folders, the hub, single files of the original layout, LoRAs, learned words.

A component of a checkpoint is a `folder.Part`: in a folder of its own, or in a `single_file`. `hub` downloads folders,
`replacements` and `text_encoders` change a checkpoint, `vocabulary` has the vocabulary that single files lack.
"""

from .checkpoint import FULL, QUANTIZED, TINY, Checkpoint
from .fields import check_fields
from .opening import open_checkpoint
from .replacements import with_loras, with_preview_decoder, with_vae
from .text_encoders import (
    change_text_encoder,
    template_of,
    tokenizer_of,
    with_clip_skip,
    with_embeddings,
    write_tokenizer,
)

__all__ = [
    "FULL",
    "QUANTIZED",
    "TINY",
    "Checkpoint",
    "change_text_encoder",
    "check_fields",
    "open_checkpoint",
    "template_of",
    "tokenizer_of",
    "with_clip_skip",
    "with_embeddings",
    "with_loras",
    "with_preview_decoder",
    "with_vae",
    "write_tokenizer",
]

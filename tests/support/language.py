"""Small random language models, and checkpoints that hold one as a text encoder."""

from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, T5Config, T5EncoderModel

from triptych.export.checkpoint import Checkpoint
from triptych.export.checkpoint.folder import Folder
from triptych.export.components import Component
from triptych.export.components.text import qwen3_encoder, t5_encoder
from triptych.runtime.families.family import TextEncoder

NAME = "text_encoder_3"
LENGTH = 150  # tokens, more than the distance from which on T5 tells none apart
SMALL = {"d_model": 44, "d_kv": 10, "d_ff": 52, "num_layers": 3, "num_heads": 4, "vocab_size": 300}
GATED: dict[str, Any] = {**SMALL, "feed_forward_proj": "gated-gelu"}
QWEN3: dict[str, Any] = {
    "hidden_size": 40,
    "intermediate_size": 56,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "vocab_size": 300,
    "rope_theta": 1_000_000.0,
}

T5 = TextEncoder(NAME, "tokenizer_3", kind="t5", length=LENGTH)
MASKED = TextEncoder(NAME, "tokenizer_3", kind="t5", length=LENGTH, masked=True)
SEVERAL = TextEncoder(NAME, "tokenizer", kind="qwen3", length=40, masked=True, states=(1, 2, 4))


def t5(config: dict[str, Any]) -> T5EncoderModel:
    """A T5 of a configuration."""
    torch.manual_seed(0)
    return T5EncoderModel(T5Config(**config)).eval()


def saved(model: torch.nn.Module, folder: Path) -> Checkpoint:
    """A checkpoint with the model, in a folder."""
    model.save_pretrained(folder / NAME)  # type: ignore[operator]
    return Checkpoint(folder, "small", None, {}, {}, {NAME: Folder(folder / NAME, "small")})


def qwen3(**changes: Any) -> Qwen3ForCausalLM:
    """A Qwen3 of `QWEN3` with changes."""
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**QWEN3 | changes)).eval()


def component_of(checkpoint: Checkpoint, described: TextEncoder) -> Component:
    """The encoder of a checkpoint that `saved` has written."""
    return {"t5": t5_encoder, "qwen3": qwen3_encoder}[described.kind](checkpoint, described)

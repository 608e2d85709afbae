"""Text encoders: CLIP, with or without a projection of the pooled output, LDMBert, and T5."""

from typing import Any

import numpy as np
import torch
from torch import nn

from triptych.runtime.families.family import TextEncoder as Description

from ..checkpoint import Checkpoint, change_text_encoder
from .component import Array, Component, Draw, Input, Sizes
from .language import CausalEncoder, T5Encoder
from .modules import LdmBert, TextEncoder

LONGEST = 512
"""Number of tokens that language models are verified at, where a family does not state one."""


def _tokens(start: int, end: int) -> Draw:
    """Prompts of random length: a start token, words, end tokens to the last place."""

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        ids = generator.integers(0, start, shape, dtype=np.int64)
        ids[:, 0] = start
        for row in ids:
            row[generator.integers(2, shape[1]) :] = end
        return ids

    return draw


def text_encoder(checkpoint: Checkpoint, described: Description) -> Component:
    """A text encoder of the checkpoint; all hidden states are outputs where the pipeline uses one of them."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(**checkpoint.config(described.name))
    kind = CLIPTextModelWithProjection if described.pooled else CLIPTextModel
    hidden_states = described.layer is not None
    clip = checkpoint.load(described.name, lambda: kind(config))
    changes = change_text_encoder(checkpoint, described.name, clip)
    longest, end = config.max_position_embeddings, config.vocab_size - 1
    tokens = ("batch_size", "sequence_length", config.hidden_size)
    pooled = {"text_embeds": ("batch_size", config.projection_dim)} if described.pooled else {}
    pooler = {} if described.pooled else {"pooler_output": ("batch_size", config.hidden_size)}
    layers = changes.get("num_hidden_layers", config.num_hidden_layers) + 1 if hidden_states else 0

    def reference(input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = clip(input_ids=input_ids, output_hidden_states=hidden_states)
        first = ("text_embeds", "last_hidden_state") if described.pooled else ("last_hidden_state", "pooler_output")
        return (*(output[name] for name in first), *(output.hidden_states if hidden_states else ()))

    return Component(
        name=described.name,
        config=checkpoint.config(described.name) | changes,
        module=TextEncoder(clip, hidden_states=hidden_states),
        reference=reference,
        original=clip,
        inputs={"input_ids": Input(("batch_size", "sequence_length"), _tokens(end - 1, end), torch.int64)},
        outputs={
            **pooled,
            "last_hidden_state": tokens,
            **pooler,
            **{f"hidden_states.{layer}": tokens for layer in range(layers)},
        },
        default={"batch_size": 1, "sequence_length": longest},
        cases=_cases(longest),
    )


def ldm_bert(checkpoint: Checkpoint, described: Description) -> Component:
    """LDMBert, the text encoder of the first latent diffusion model, which was trained together with its U-Net."""
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel

    file = checkpoint.config(described.name)
    config = LDMBertConfig(**file)
    bert: Any = checkpoint.load(described.name, lambda: LDMBertModel(config))
    longest, end = config.max_position_embeddings, config.vocab_size - 1
    return Component(
        name=described.name,
        config=file,
        module=LdmBert(bert),
        original=bert,
        reference=lambda input_ids: (bert.model(input_ids, return_dict=True).last_hidden_state,),
        inputs={"input_ids": Input(("batch_size", "sequence_length"), _tokens(end - 1, end), torch.int64)},
        outputs={"last_hidden_state": ("batch_size", "sequence_length", config.d_model)},
        default={"batch_size": 1, "sequence_length": longest},
        cases=_cases(longest),
    )


def t5_encoder(checkpoint: Checkpoint, described: Description) -> Component:
    """The encoder of a T5, with the mask of the padding where the pipeline gives it."""
    from transformers import T5Config, T5EncoderModel

    file = checkpoint.config(described.name)
    config = T5Config(**file)
    t5 = checkpoint.load(described.name, lambda: T5EncoderModel(config))
    longest = described.length or LONGEST
    axes = ("batch_size", "sequence_length")
    mask = {"attention_mask": Input(axes, _mask, torch.int64)} if described.masked else {}
    return Component(
        name=described.name,
        config=file,
        module=T5Encoder(t5),
        original=t5,
        reference=lambda **inputs: (t5(**inputs).last_hidden_state,),
        inputs={"input_ids": Input(axes, _words(config.vocab_size), torch.int64), **mask},
        outputs={"last_hidden_state": (*axes, config.d_model)},
        default={"batch_size": 1, "sequence_length": longest},
        cases=_cases(longest),
    )


def qwen3_encoder(checkpoint: Checkpoint, described: Description) -> Component:
    """Hidden states of a Qwen3, side by side, from its layers up to the last one that they need."""
    from transformers import Qwen3Config, Qwen3Model

    file = checkpoint.config(described.name)
    config = Qwen3Config(**file)
    model: Any = checkpoint.load(described.name, lambda: Qwen3Model(config))
    states = [number % (config.num_hidden_layers + 1) for number in described.states]
    module = CausalEncoder(model, states)
    model.layers, model.norm = model.layers[: max(states)], nn.Identity()
    model.config.num_hidden_layers = max(states)
    longest, axes = described.length or LONGEST, ("batch_size", "sequence_length")

    def reference(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True, use_cache=False)
        return (torch.cat([output.hidden_states[number] for number in states], dim=-1),)

    return Component(
        name=described.name,
        config=file,
        module=module,
        original=model,
        reference=reference,
        inputs={
            "input_ids": Input(axes, _words(config.vocab_size), torch.int64),
            "attention_mask": Input(axes, _mask, torch.int64),
        },
        outputs={"prompt_embeds": (*axes, len(states) * config.hidden_size)},
        default={"batch_size": 1, "sequence_length": longest},
        cases=_cases(longest),
    )


def _words(size: int) -> Draw:
    """Token ids of a vocabulary of this size."""
    return lambda generator, shape: generator.integers(0, size, shape, dtype=np.int64)


def _mask(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """1 at the tokens of prompts of random length, and 0 after them."""
    lengths = generator.integers(1, shape[1] + 1, (shape[0], 1))
    return (np.arange(shape[1]) < lengths).astype(np.int64)


def _cases(longest: int) -> tuple[Sizes, ...]:
    return (
        {"batch_size": 1, "sequence_length": longest},
        {"batch_size": 2, "sequence_length": longest},
        {"batch_size": 3, "sequence_length": longest // 3},
    )

"""Changes of text encoders: learned words are added, last layers are left out."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from triptych.runtime.errors import ArgumentError, PackageError, SourceError
from triptych.runtime.families.family import TextEncoder
from triptych.runtime.package.json_file import read_json
from triptych.runtime.package.manifest import Template
from triptych.runtime.text.encoders import TOKENIZERS
from triptych.runtime.text.tokenizer import PromptTokenizer

from ..files import write_json
from ..scratch import scratch_folder
from ..sources import check_file
from .chat import chat_template
from .checkpoint import Checkpoint
from .embeddings import Embedding, read_embedding
from .sentencepiece import with_steps

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LAYERS = 12  # what CLIPTextConfig defaults to


def with_embeddings(checkpoint: Checkpoint, sources: Iterable[str | Path]) -> Checkpoint:
    """The checkpoint with learned words, each a .safetensors, .pt or .bin file, or FILE=TOKEN.

    A file has one tensor, [n, width] or [width], whose key is the token (diffusers), or `emb_params` or
    `string_to_param` (the web UI; the token is the file's name), or one for each text encoder, `clip_l` and `clip_g` or
    `text_encoders_0` and `text_encoders_1` (the token is the file's name, too).

    Raises:
        ArgumentError: the checkpoint's text encoder is not CLIP.
        SourceError: a file that is missing or of another kind, vectors of another width than the text encoder's, or a
            token that the vocabulary has already.
    """
    _check_clip(checkpoint, "an embedding")
    encoders = checkpoint.family.text_encoders
    embeddings = [read_embedding(str(each), encoders) for each in sources]
    known = set().union(*(_tokenizer(checkpoint, name).get_vocab() for name in encoders))
    for embedding in embeddings:
        for name, rows in embedding.vectors.items():
            width = checkpoint.config(name)["hidden_size"]
            if rows.shape[1] != width:
                raise SourceError(
                    f"{embedding.token!r} has vectors of width {rows.shape[1]}; {name} of {checkpoint.name} takes "
                    f"{width}: it was learned for another model"
                )
        for token in embedding.tokens:
            if token in known:
                raise SourceError(f"{checkpoint.name} has a token {token!r} already; name another one: FILE=TOKEN")
        known |= set(embedding.tokens)
    recorded = {"embeddings": [embedding.token for embedding in embeddings]}
    return replace(checkpoint, embeddings=tuple(embeddings), details={**checkpoint.details, **recorded})


def with_clip_skip(checkpoint: Checkpoint, layers: int) -> Checkpoint:
    """The checkpoint without the last layers of its text encoder, the final layer norm aside.

    diffusers' `clip_skip` does the same to prompts, at no gain in speed; here negative prompts skip the layers, too, as
    in the web UI, which counts from 1.

    Raises:
        ArgumentError: the text encoder has no such layers, is not CLIP, or is one of SDXL's, which leave out the last
            layer anyway.
    """
    _check_clip(checkpoint, f"clip_skip={layers}")
    if layers and any(encoder.layer is not None for encoder in checkpoint.family.encoders):
        raise ArgumentError(
            f"clip_skip={layers}: the last layer of {checkpoint.name} is left out anyway, as it was trained; allowed: 0"
        )
    available = checkpoint.config("text_encoder").get("num_hidden_layers", _LAYERS)
    if not 0 <= layers < available:
        raise ArgumentError(
            f"clip_skip={layers}: the text encoder of {checkpoint.name} has {available} layers; allowed: 0 to "
            f"{available - 1}"
        )
    return replace(checkpoint, clip_skip=layers, details={**checkpoint.details, "clip_skip": layers})


def change_text_encoder(checkpoint: Checkpoint, name: str, clip: nn.Module) -> dict[str, Any]:
    """Add the checkpoint's learned words to a text encoder, drop its last layers, and return changes of config.json."""
    model: Any = getattr(clip, "text_model", clip)  # transformers 5 has the parts of CLIPTextModel bare
    changes = {}
    if checkpoint.clip_skip:
        model.encoder.layers = model.encoder.layers[: -checkpoint.clip_skip]
        changes["num_hidden_layers"] = len(model.encoder.layers)
    if checkpoint.embeddings:
        ids = _new_ids(_tokenizer(checkpoint, name), checkpoint.embeddings)
        table, size = model.embeddings.token_embedding, max(ids) + 1
        rows = torch.zeros((max(size, table.num_embeddings), table.embedding_dim))
        rows[: table.num_embeddings] = table.weight
        rows[ids] = torch.cat([embedding.vectors[name] for embedding in checkpoint.embeddings])
        table.weight = nn.Parameter(rows, requires_grad=False)
        changes["vocab_size"] = table.num_embeddings = len(rows)
    return changes


def write_tokenizer(checkpoint: Checkpoint, encoder: str, target: Path) -> None:
    """Write the tokenizer of a text encoder for a package, with the learned words in all its files.

    Raises:
        SourceError: it cannot be read.
    """
    described = _text_encoder(checkpoint, encoder)
    try:
        with checkpoint.tokenizer(described.tokenizer) as source:
            for file in source.iterdir() if source.is_dir() else ():
                if not file.is_dir():
                    check_file(file)
            with with_steps(source) as whole:
                TOKENIZERS[described.kind].write(whole, target)
    except PackageError as error:
        raise SourceError(f"{checkpoint.name}: {error}") from None
    if not checkpoint.embeddings:
        return
    tokens = _tokens(checkpoint.embeddings)
    tokenizer = TOKENIZERS[described.kind].read(target)
    tokenizer.add_tokens(tokens)
    tokenizer.save(str(target / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token in tokens}
    config = read_json(target / "tokenizer_config.json")
    if "added_tokens_decoder" in config:  # where it exists, added_tokens.json is not read
        plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "special"), False) | {"normalized": True}
        config["added_tokens_decoder"] |= {str(number): {"content": token} | plain for token, number in ids.items()}
        write_json(target / "tokenizer_config.json", config)
    else:
        added = target / "added_tokens.json"
        write_json(added, read_json(added, optional=True) | ids)


def tokenizer_of(checkpoint: Checkpoint, encoder: str) -> PromptTokenizer:
    """The tokenizer that a package of this checkpoint will have.

    Raises:
        SourceError: see `write_tokenizer`.
    """
    with scratch_folder() as folder:
        write_tokenizer(checkpoint, encoder, folder)
        described = _text_encoder(checkpoint, encoder)
        return TOKENIZERS[described.kind].load(folder, described.length, template_of(checkpoint, described, folder))


def template_of(checkpoint: Checkpoint, encoder: TextEncoder, folder: Path) -> Template:
    """The text around the prompts of an encoder, from the folder that `write_tokenizer` has written.

    Raises:
        SourceError: see `chat_template`.
    """
    try:
        return Template() if encoder.thinking is None else chat_template(folder, encoder.thinking)
    except PackageError as error:
        raise SourceError(f"{checkpoint.name}: {error}") from None


def _tokens(embeddings: Iterable[Embedding]) -> list[str]:
    return [token for embedding in embeddings for token in embedding.tokens]


def _new_ids(tokenizer: "Tokenizer", embeddings: Sequence[Embedding]) -> list[int]:
    """Add the tokens of the embeddings to a tokenizer, and return their ids in order."""
    tokens = _tokens(embeddings)
    tokenizer.add_tokens(tokens)
    ids = tokenizer.get_vocab()
    return [ids[token] for token in tokens]


def _tokenizer(checkpoint: Checkpoint, encoder: str) -> "Tokenizer":
    described = _text_encoder(checkpoint, encoder)
    with checkpoint.tokenizer(described.tokenizer) as folder:
        return TOKENIZERS[described.kind].read(folder)


def _text_encoder(checkpoint: Checkpoint, encoder: str) -> TextEncoder:
    return next(each for each in checkpoint.family.encoders if each.name == encoder)


def _check_clip(checkpoint: Checkpoint, option: str) -> None:
    if any(each.kind != "clip" for each in checkpoint.family.encoders):
        raise ArgumentError(
            f"{option} is for models with a CLIP text encoder; {checkpoint.name} has another text encoder"
        )

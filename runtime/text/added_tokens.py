"""Added tokens, which a tokenizer matches before all others: special tokens and textual inversions."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import PackageError
from ..package.json_file import spelled

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

_MOST_VECTORS = 1024


def add_new(tokenizer: "Tokenizer", tokens: Sequence["AddedToken"]) -> None:
    """Add tokens that are matched before any others, unless `tokenizer` already has them.

    If a token is described twice, the last description counts, as in transformers 5: in Stable Diffusion 1.5 the
    padding's plain "<|endoftext|>" replaces the EOS that would also match in capitals. The library's own choice depends
    on its version: the first description up to tokenizers 0.22, the last one from 0.23 on.
    """
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    tokenizer.add_tokens(list({token.content: token for token in tokens if token.content not in known}.values()))


def vector_tokens(tokenizer: "Tokenizer") -> dict[int, list[int]]:
    """Ids of token_1, token_2, ... of each textual inversion of several vectors, by the id of its first token.

    Raises:
        PackageError: a token has too many vectors.
    """
    ids = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    found = {}
    for token, number in ids.items():
        names = (f"{token}_{i}" for i in itertools.count(1))
        others = [ids[name] for name in itertools.takewhile(ids.__contains__, names)]
        if len(others) >= _MOST_VECTORS:
            raise PackageError(f"the token {spelled(token)} has {len(others) + 1} vectors; allowed: {_MOST_VECTORS}")
        if others:
            found[number] = others
    return found


def as_token(token: str | Mapping[str, Any], special: bool | None = None) -> "AddedToken":
    """Added token from its JSON: text and flags, or the text alone (a special token is then matched literally)."""
    from tokenizers import AddedToken

    flags = {"content": token} if isinstance(token, str) else {k: v for k, v in token.items() if k != "__type"}
    return AddedToken(**flags if special is None else flags | {"special": special})


def content(token: str | Mapping[str, Any]) -> str:
    """Text of a token from its JSON."""
    return token if isinstance(token, str) else token["content"]

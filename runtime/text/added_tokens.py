"""Tokens that a tokenizer matches in a text before all others: special ones, and learned words."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer


def add_new(tokenizer: "Tokenizer", tokens: Sequence["AddedToken"]) -> None:
    """Have the tokens matched before any others, unless `tokenizer` does so already.

    Of a token described twice the last description counts, as in today's transformers: in Stable Diffusion 1.5 the
    padding's plain "<|endoftext|>" replaces the EOS that would have been matched in capitals too. Left to the library,
    it would depend on its version: the first one counts up to tokenizers 0.22, the last one from 0.23 on.
    """
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    tokenizer.add_tokens(list({token.content: token for token in tokens if token.content not in known}.values()))


def following(tokenizer: "Tokenizer") -> dict[int, list[int]]:
    """The ids of token_1, token_2, ... by the id of each added token that has such."""
    ids = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    found = {}
    for token, number in ids.items():
        names = (f"{token}_{i}" for i in itertools.count(1))
        others = [ids[name] for name in itertools.takewhile(ids.__contains__, names)]
        if others:
            found[number] = others
    return found


def as_token(token: str | Mapping[str, Any], special: bool | None = None) -> "AddedToken":
    """A token as the files write it: its text and flags, or its text alone (a special one is then matched as it is)."""
    from tokenizers import AddedToken

    flags = {"content": token} if isinstance(token, str) else {k: v for k, v in token.items() if k != "__type"}
    return AddedToken(**flags if special is None else flags | {"special": special})


def content(token: str | Mapping[str, Any]) -> str:
    """The text of a token as the files write it."""
    return token if isinstance(token, str) else token["content"]

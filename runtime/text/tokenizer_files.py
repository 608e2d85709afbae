"""Files of a tokenizer, read within limits: sizes, ids, and how much longer each step may make a text.

The tokenizers library runs whatever steps tokenizer.json lists. Some let a prompt grow without end, draw tokens at
random, or take a time that grows with a power of the length; no tokenizer of a text encoder has such steps.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PackageError, TriptychError
from ..package.json_file import LIMIT, JsonObject, read_json, shown
from ..reading import read_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FAST = "tokenizer.json"

_MOST_TOKENS = 1_000_000  # CLIP has 49,408
_LONGEST_TOKEN = 1024  # characters
_MOST_STEPS = 8
_MOST_GROWTH = 128
_LONGEST_WORD = 1000  # characters that WordPiece divides; the time grows with the square
_PROBE = "a Photo of 3 r\u00e9d foxes, (owl:1.2)!"
_REPEATED_GROUP = re.compile(r"\)[*+{]")  # its time may double with each character


def read_fast(path: Path) -> "Tokenizer":
    """The tokenizer of a tokenizer.json.

    Raises:
        PackageError: the file cannot be read, or has a value or step that is not allowed.
    """
    from tokenizers import Tokenizer

    try:
        facts = JsonObject.read(path, limit=2 * LIMIT)
    except PackageError as error:
        raise PackageError(f"{path.parent} does not hold a readable tokenizer: {error}") from None
    _check_model(facts.optional_object("model"))
    for key, inner in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        _check_steps(facts, key, inner)
    tokens = facts.optional_list("added_tokens") or []
    if len(tokens) > _MOST_TOKENS:
        raise facts.error("added_tokens", f"a list of up to {_MOST_TOKENS} tokens")
    for token in tokens:
        check_token(token, "content")
        token.whole("id", 0, 2**31)
    tokenizer: Tokenizer = Tokenizer.from_buffer(path.read_bytes())
    return tokenizer


def read_vocabulary(path: Path) -> dict[str, int]:
    """Token -> id, of a vocab.json.

    Raises:
        PackageError: the file cannot be read, or has other values, or too many or too long tokens.
    """
    return _vocabulary(JsonObject(read_json(path, limit=LIMIT), f"{path}: "), str(path))


def read_lines(path: Path) -> list[str]:
    """The lines of a text file with a token or a merge on each.

    Raises:
        PackageError: the file cannot be read, is not UTF-8, or has too many or too long lines.
    """
    try:
        lines = read_file(path, LIMIT, PackageError).decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise PackageError(f"{path} cannot be read: it is not UTF-8 text") from None
    if len(lines) > _MOST_TOKENS:
        raise PackageError(f"{path} has {len(lines)} lines; allowed: {_MOST_TOKENS}")
    longest = max(lines, key=len)
    if len(longest) > 2 * _LONGEST_TOKEN:
        raise PackageError(f"{path} has a line of {len(longest)} characters; allowed: {2 * _LONGEST_TOKEN}")
    return lines


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The pairs of a merges.txt, the most frequent first.

    Raises:
        PackageError: as `read_lines`, or a line has other than two symbols.
    """
    pairs = []
    for line in read_lines(path):
        if not line or line.startswith("#version"):
            continue
        match line.split(" "):
            case [left, right]:
                pairs.append((left, right))
            case _:
                raise PackageError(f"{path} should hold two symbols on each line, not {shown(line)}")
    return pairs


def check_token(facts: JsonObject, key: str) -> None:
    """Refuse a token that is not text, is empty or is too long.

    Raises:
        PackageError: names the key.
    """
    if not 1 <= len(facts.required(key, str)) <= _LONGEST_TOKEN:
        raise facts.error(key, f"a text of 1 to {_LONGEST_TOKEN} characters")


def probe(tokenizer: "Tokenizer") -> None:
    """Tokenize a text, so that a tokenizer that fails at every prompt is refused when it is loaded."""
    tokenizer.encode(_PROBE, add_special_tokens=False)


@contextmanager
def refusals(message: str, error: type[TriptychError]) -> Iterator[None]:
    """Errors of the tokenizers library as one line of class `error`.

    The library raises nothing narrower than Exception; where it panics, a BaseException of a class that Python code
    cannot import.
    """
    try:
        yield
    except TriptychError:
        raise
    except BaseException as reason:
        if not isinstance(reason, Exception) and type(reason).__name__ != "PanicException":
            raise
        raise error(f"{message}: {shown(str(reason))[1:-1]}") from None


def _vocabulary(tokens: Mapping[str, object], place: str) -> dict[str, int]:
    if len(tokens) > _MOST_TOKENS:
        raise PackageError(f"{place} has {len(tokens)} tokens; allowed: {_MOST_TOKENS}")
    ids: dict[str, int] = {}
    for token, number in tokens.items():
        if type(number) is not int or not 0 <= number < _MOST_TOKENS:
            raise PackageError(f"{place} has {shown(token)} with id {shown(number)}; allowed: 0 to {_MOST_TOKENS - 1}")
        if len(token) > _LONGEST_TOKEN:
            raise PackageError(f"{place} has a token of {len(token)} characters; allowed: {_LONGEST_TOKEN}")
        ids[token] = number
    return ids


def _check_pieces(pieces: Sequence[object], place: str) -> None:
    """Refuse pieces of a Unigram model that are too many, too long, or whose scores are not numbers."""
    if len(pieces) > _MOST_TOKENS:
        raise PackageError(f"{place} has {len(pieces)} tokens; allowed: {_MOST_TOKENS}")
    for piece in pieces:
        match piece:
            case [str(token), int() | float() as score] if len(token) <= _LONGEST_TOKEN and math.isfinite(score):
                continue
        raise PackageError(f"{place} has {shown(piece)}; allowed: up to {_LONGEST_TOKEN} characters and their score")


def _check_model(model: JsonObject | None) -> None:
    if model is None:
        return
    if isinstance(model.get("vocab"), dict):
        _vocabulary(model["vocab"], f"{model.place}vocab")
    elif isinstance(model.get("vocab"), list):
        _check_pieces(model["vocab"], f"{model.place}vocab")
    merges = model.optional("merges", list) or []
    if len(merges) > _MOST_TOKENS:
        raise model.error("merges", f"a list of up to {_MOST_TOKENS} merges")
    if model.get("dropout"):
        raise model.error("dropout", "null: it would draw tokens at random")
    if model.get("type") == "BPE" and model.get("continuing_subword_prefix"):
        raise model.error("continuing_subword_prefix", "null or empty")
    model.optional_whole("max_input_chars_per_word", 1, _LONGEST_WORD)


def _check_steps(facts: JsonObject, key: str, inner: str) -> None:
    """Refuse steps that are too many, or make a text too long."""
    steps = list(_steps(facts.optional_object(key), inner))
    if len(steps) > _MOST_STEPS:
        raise PackageError(f"{facts.place}{key} has {len(steps)} steps; allowed: {_MOST_STEPS}")
    growth = 1
    for step in steps:
        growth *= _growth(step)
    if growth > _MOST_GROWTH:
        raise PackageError(
            f"{facts.place}{key} may make a text {growth} times as long; allowed: {_MOST_GROWTH} times as long"
        )


def _steps(step: JsonObject | None, inner: str) -> Iterator[JsonObject]:
    if step is None:
        return
    if step.get("type") != "Sequence":
        yield step
        return
    for each in step.optional_list(inner) or ():
        yield from _steps(each, inner)


def _growth(step: JsonObject) -> int:
    """Bytes that a step may make of one byte, or more."""
    _check_pattern(step.optional_object("pattern") if isinstance(step.get("pattern"), dict) else None)
    if step.get("type") == "Replace":
        return max(1, len(step.required("content", str).encode()))
    if step.get("type") == "Prepend":
        return 1 + len(step.required("prepend", str).encode())
    if step.get("type") == "Precompiled":
        return _longest_replacement(step)
    return {"ByteLevel": 2, "Metaspace": 4}.get(step.get("type", ""), 1)


def _longest_replacement(step: JsonObject) -> int:
    """Bytes of the longest text that SentencePiece's table of characters puts in place of others.

    The table is a number of bytes, as many bytes of a trie, and texts that each end in a zero
    (`Normalizer::DecodePrecompiledCharsMap` in SentencePiece's normalizer.cc).
    """
    try:
        table = base64.b64decode(step.required("precompiled_charsmap", str), validate=True)
    except (binascii.Error, ValueError):
        raise step.error("precompiled_charsmap", "text in base64") from None
    texts = table[4 + int.from_bytes(table[:4], "little") :]
    return max(map(len, texts.split(b"\0")), default=1) or 1


def _check_pattern(pattern: JsonObject | None) -> None:
    if pattern is None:
        return
    for kind in ("String", "Regex"):
        text = pattern.optional(kind, str)
        if text is not None and (not text or (text[-1] in "*?" and kind == "Regex") or _REPEATED_GROUP.search(text)):
            raise pattern.error(kind, "a text or expression that is not empty, and repeats no group")

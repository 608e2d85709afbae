"""Prompts to token ids, equal to those of transformers, with only the `tokenizers` library.

The special tokens that a folder names are matched before anything else, with the flags in its files: Stable
Diffusion 2 pads with "!", so every "!" of a prompt is its padding token, not a word.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from ..errors import ArgumentError, PackageError
from ..package.json_file import JsonObject, exists, read_json
from .added_tokens import add_new, as_token, content, vector_tokens
from .tokenizer_files import FAST, check_token, probe, read_fast, read_vocabulary, refusals

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

LENGTH = 77
"""Number of positions of CLIP's text encoders, and of LDMBert."""


@dataclass(frozen=True)
class Tokens:
    """Input of the text encoder: `ids` int64 [n, length]; `truncated`, the text that did not fit, "" if none."""

    ids: np.ndarray
    truncated: list[str]


class Word(NamedTuple):
    """A token of a text: its id, its first character and one past its last."""

    id: int
    start: int
    end: int

    def shifted(self, characters: int) -> "Word":
        """A copy of the word with its position moved by `characters`."""
        return Word(self.id, self.start + characters, self.end + characters)


class PromptTokenizer(ABC):
    """Tokenizer of a package: start token, as many tokens of the prompt as fit, end token, and padding to `length`.

    A textual inversion of several vectors is several added tokens, `token`, `token_1` and so on. In a text, all of them
    replace the first one, as in diffusers (`TextualInversionLoaderMixin.maybe_convert_prompt`).

    Attributes:
        class_name: transformers' class.
        vocabulary: files that it can be built from, if tokenizer.json does not exist.
        named: special tokens by their names in the configuration, and the defaults where it has none.
        ends: names of the start token and the end token.
    """

    class_name: ClassVar[str]
    vocabulary: ClassVar[tuple[str, ...]]
    named: ClassVar[Mapping[str, str]]
    ends: ClassVar[tuple[str, str]]

    def __init__(self, tokenizer: "Tokenizer", bos: int, eos: int, pad: int, length: int) -> None:
        self._tokenizer = tokenizer
        self.bos, self.eos, self.pad = bos, eos, pad
        self.length = length
        self._vector_tokens = vector_tokens(tokenizer)

    @classmethod
    @abstractmethod
    def from_vocabulary(cls, folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
        """Build it from the files of its vocabulary; special tokens in a text are not matched yet: `read` adds them.

        Raises:
            PackageError: the files are not valid.
        """

    @classmethod
    def positions(cls, folder: Path, config: Mapping[str, Any]) -> int:
        """Number of tokens of the text encoder, with start and end, from the folder's configuration.

        Raises:
            PackageError: the value is not a number of tokens.
        """
        return LENGTH

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a tokenizer folder: tokenizer.json, or the vocabulary's files, and the configuration next to them.

        Raises:
            PackageError: a file is missing, cannot be read, or names a special token that the vocabulary lacks.
        """
        config = cls._configuration(folder)
        tokenizer = cls.read(folder)
        ids = cls._named_ids(tokenizer, config, folder)
        start, end = cls.ends
        return cls(tokenizer, ids[start], ids[end], ids["pad_token"], cls.positions(folder, config))

    @classmethod
    def read(cls, folder: Path) -> "Tokenizer":
        """The folder's tokenizer with its special tokens, neither truncating nor padding.

        Raises:
            PackageError: as `load`.
        """
        config = cls._configuration(folder)
        with refusals(f"{folder} does not hold a readable tokenizer", PackageError):
            tokenizer = cls._read_steps(folder, config)
            tokenizer.no_truncation()
            tokenizer.no_padding()
            add_new(tokenizer, cls._added_tokens(folder, config))
            cls._named_ids(tokenizer, config, folder)  # the library would assign a new id to a missing token
            add_new(tokenizer, cls._special_tokens(config))
            probe(tokenizer)
        return tokenizer

    @classmethod
    def write(cls, source: Path, target: Path) -> None:
        """Copy a tokenizer folder and add missing files: tokenizer.json, the vocabulary, tokenizer_config.json.

        All versions of transformers and optimum load the result, with fast and with slow tokenizers.

        Raises:
            PackageError: as `load`.
        """
        length = cls.load(source).length
        tokenizer, config = cls.read(source), cls._configuration(source)
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            if file.is_file():
                (target / file.name).write_bytes(file.read_bytes())
        if not (target / FAST).exists():
            tokenizer.save(str(target / FAST))
        if not all((target / name).exists() for name in cls.vocabulary):
            tokenizer.model.save(str(target))
        if not (target / "tokenizer_config.json").exists():
            named = {name: content(config[name]) for name in cls.named}
            written = {"tokenizer_class": cls.class_name, "model_max_length": length, **named}
            (target / "tokenizer_config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")

    def encode(self, texts: Sequence[str]) -> Tokens:
        """The ids of each text; text that does not fit between start and end is left out, see `Tokens.truncated`.

        Raises:
            ArgumentError: a text that is not valid Unicode (a lone surrogate).
        """
        ids = np.full((len(texts), self.length), self.pad, np.int64)
        truncated = []
        for row, text in zip(ids, texts, strict=True):
            words = self.words(text)
            kept, left_out = words[: self.length - 2], words[self.length - 2 :]
            row[: len(kept) + 2] = [self.bos, *(word.id for word in kept), self.eos]
            truncated.append(text[left_out[0].start : left_out[-1].end] if left_out else "")
        return Tokens(ids, truncated)

    def words(self, text: str) -> list[Word]:
        """All tokens of a text, without start and end.

        Raises:
            ArgumentError: a text that is not valid Unicode (a lone surrogate).
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ArgumentError(f"the prompt {text!r} is not valid Unicode at character {error.start}") from None
        with refusals("the prompt cannot be tokenized", ArgumentError):
            found = self._tokenizer.encode(text, add_special_tokens=False)
        return [
            Word(each, *place)
            for number, place in zip(found.ids, found.offsets, strict=True)
            for each in (number, *self._vector_tokens.get(number, ()))
        ]

    @classmethod
    def _read_steps(cls, folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
        """The tokenizer of tokenizer.json or of the vocabulary, without the tokens that other files add."""
        if exists(folder / FAST):
            return read_fast(folder / FAST)
        for name in cls.vocabulary:
            if not exists(folder / name):
                raise PackageError(f"{folder} has neither {FAST} nor {name}")
        return cls.from_vocabulary(folder, config)

    @classmethod
    def _configuration(cls, folder: Path) -> dict[str, Any]:
        """Defaults, updated by tokenizer_config.json and, where transformers reads it, special_tokens_map.json."""
        if not exists(folder):
            raise PackageError(f"{folder} is missing: it should hold {FAST}, or {' and '.join(cls.vocabulary)}")
        config = read_json(folder / "tokenizer_config.json", optional=True)
        if "added_tokens_decoder" not in config:  # since it exists, special_tokens_map.json only repeats it
            config |= read_json(folder / "special_tokens_map.json", optional=True)
        named = {name: token for name, token in config.items() if token is not None}
        facts = JsonObject({**cls.named, **named}, f"{folder / 'tokenizer_config.json'}: ")
        for name in cls.named:
            _check_token(facts, name)
        for token in facts.objects("added_tokens_decoder").values():
            check_token(token, "content")
        return dict(facts)

    @classmethod
    def _named_ids(cls, tokenizer: "Tokenizer", config: Mapping[str, Any], folder: Path) -> dict[str, int]:
        ids = {}
        for name in cls.named:
            token = content(config[name])
            number = tokenizer.token_to_id(token)
            if number is None:
                raise PackageError(f"{folder} has {name} {token!r}, which its vocabulary lacks")
            ids[name] = number
        return ids

    @classmethod
    def _added_tokens(cls, folder: Path, config: Mapping[str, Any]) -> list["AddedToken"]:
        """Added tokens in the order of their ids, from added_tokens_decoder or, in older folders, added_tokens.json."""
        if "added_tokens_decoder" in config:
            decoder: dict[str, dict[str, Any]] = config["added_tokens_decoder"]
            return [as_token(token) for _, token in sorted(decoder.items(), key=lambda item: int(item[0]))]
        added = folder / "added_tokens.json"
        ids = read_vocabulary(added) if exists(added) else {}
        special = {token.content for token in cls._special_tokens(config)}
        return [as_token(token, special=token in special) for token in sorted(ids, key=lambda token: ids[token])]

    @classmethod
    def _special_tokens(cls, config: Mapping[str, Any]) -> list["AddedToken"]:
        """Special tokens: those with a name, and those listed as special."""
        extra = config.get("extra_special_tokens", [])
        listed = [*config.get("additional_special_tokens", []), *(extra.values() if isinstance(extra, dict) else extra)]
        return [as_token(token, special=True) for token in (*(config[name] for name in cls.named), *listed)]


def _check_token(facts: JsonObject, name: str) -> None:
    """Refuse a special token that is neither a text nor an object with one."""
    if isinstance(facts[name], dict):
        check_token(JsonObject(facts[name], f"{facts.place}{name}."), "content")
    else:
        check_token(facts, name)

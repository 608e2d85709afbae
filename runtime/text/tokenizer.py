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
from ..package.json_file import JsonObject, exists, read_json, shown
from ..package.manifest import Template
from .added_tokens import add_new, as_token, content, vector_tokens
from .tokenizer_files import FAST, check_token, probe, read_fast, read_vocabulary, refusals

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

LENGTH = 77
"""Number of positions of CLIP's text encoders, and of LDMBert."""

_UNSET_LENGTH = 10**6  # transformers writes 1e30 for "no limit known"
_LONGEST = 4096  # tokens, with those at the ends


@dataclass(frozen=True)
class Tokens:
    """Input of the text encoder, int64 [n, length] each.

    `mask` is 1 at tokens and 0 at padding; `truncated` is the text of each row that did not fit, "" if none.
    """

    ids: np.ndarray
    mask: np.ndarray
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
    """Tokenizer of a package: start tokens, as many of the prompt as fit, end tokens, and padding to `length`.

    A textual inversion of several vectors is several added tokens, `token`, `token_1` and so on. In a text, all of them
    replace the first one, as in diffusers (`TextualInversionLoaderMixin.maybe_convert_prompt`).

    Attributes:
        class_name: transformers' class.
        vocabulary: files that it can be built from, if tokenizer.json does not exist.
        named: special tokens by their names in the configuration, and the defaults where it has none.
        ends: names of the tokens before a prompt, and of those after it.
        longest: number of tokens of the text encoder, where the configuration does not state it.
        start, end: ids of the tokens before a prompt, and of those after it.
        pad: id of the padding.
        length: number of tokens, with both ends.
        template: text around each prompt, of whose tokens those that do not fit are left out at the end.
    """

    class_name: ClassVar[str]
    vocabulary: ClassVar[tuple[str, ...]]
    named: ClassVar[Mapping[str, str]]
    ends: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]]
    longest: ClassVar[int] = LENGTH

    def __init__(
        self,
        tokenizer: "Tokenizer",
        ends: tuple[tuple[int, ...], tuple[int, ...]],
        pad: int,
        length: int,
        template: Template,
    ) -> None:
        self._tokenizer = tokenizer
        (self.start, self.end), self.pad = ends, pad
        self.length, self.template = length, template
        self._vector_tokens = vector_tokens(tokenizer)

    @property
    def room(self) -> int:
        """Number of tokens of a prompt that fit between start and end."""
        return self.length - len(self.start) - len(self.end)

    @classmethod
    @abstractmethod
    def from_vocabulary(cls, folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
        """Build it from the files of its vocabulary; special tokens in a text are not matched yet: `read` adds them.

        Raises:
            PackageError: the files are not valid.
        """

    @classmethod
    def positions(cls, folder: Path, config: Mapping[str, Any]) -> int:
        """Number of tokens of the text encoder, with both ends: model_max_length, or `longest` where that is unset.

        Raises:
            PackageError: the value is not a number of tokens.
        """
        length, ends = config.get("model_max_length", cls.longest), sum(map(len, cls.ends))
        known = isinstance(length, int | float) and not isinstance(length, bool)
        if known and length > _UNSET_LENGTH:
            return cls.longest
        if not known or not ends <= length <= _LONGEST or length != int(length):
            raise PackageError(
                f"{folder} has model_max_length {shown(length)}; allowed: a number, {ends} or more, to {_LONGEST}"
            )
        if length == ends:
            raise PackageError(f"{folder} has model_max_length {ends}: start and end leave no room for a prompt")
        return int(length)

    @classmethod
    def load(cls, folder: Path, length: int | None = None, template: Template = Template()) -> Self:  # noqa: B008
        """Read a tokenizer folder: tokenizer.json, or the vocabulary's files, and the configuration next to them.

        Args:
            folder: of the tokenizer.
            length: number of tokens of the text encoder, with both ends; None is what the configuration states.
            template: text around each prompt.

        Raises:
            PackageError: a file is missing, cannot be read, or names a special token that the vocabulary lacks.
        """
        config = cls._configuration(folder)
        if (side := config.get("padding_side", "right")) != "right":
            raise PackageError(f"{folder} has padding_side {shown(side)}; allowed: 'right'")
        tokenizer = cls.read(folder)
        ids = cls._named_ids(tokenizer, config, folder)
        start, end = (tuple(ids[name] for name in names) for names in cls.ends)
        count = cls.positions(folder, config) if length is None else length
        return cls(tokenizer, (start, end), ids["pad_token"], count, template)

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

    def encode(self, texts: Sequence[str], *, padded: bool = True) -> Tokens:
        """The ids of each text; text that does not fit between start and end is left out, see `Tokens.truncated`.

        Rows are padded to `length`, or without `padded` to the longest of them.

        Raises:
            ArgumentError: a text that is not valid Unicode (a lone surrogate).
        """
        rows, truncated = [], []
        for text in texts:
            words = self.words(text)
            rows.append([*self.start, *(word.id for word in words[: self.room]), *self.end])
            left_out = words[self.room :]
            truncated.append(text[left_out[0].start : left_out[-1].end].strip() if left_out else "")
        ids = np.full((len(rows), self.length if padded else max(map(len, rows))), self.pad, np.int64)
        mask = np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)], mask[number, : len(row)] = row, 1
        return Tokens(ids, mask, truncated)

    def words(self, text: str) -> list[Word]:
        """All tokens of a text in its template, without start and end. Those of the template have no characters.

        Raises:
            ArgumentError: a text that is not valid Unicode (a lone surrogate).
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ArgumentError(f"the prompt {text!r} is not valid Unicode at character {error.start}") from None
        whole, shift = f"{self.template.before}{text}{self.template.after}", len(self.template.before)
        with refusals("the prompt cannot be tokenized", ArgumentError):
            found = self._tokenizer.encode(whole, add_special_tokens=False)
        return [
            Word(each, *(min(max(place - shift, 0), len(text)) for place in places))
            for number, places in zip(found.ids, found.offsets, strict=True)
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
            files = " and ".join(cls.vocabulary)
            raise PackageError(f"{folder} is missing: it should hold {FAST}{f', or {files}' if files else ''}")
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

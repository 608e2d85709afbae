"""Prompts to token ids, as transformers' tokenizers have them, on the `tokenizers` library alone.

The special tokens that a folder names are matched before anything else, with the flags that its files give them: Stable
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
from ..package.json_file import read_json
from .added_tokens import add_new, as_token, content, following

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

LENGTH = 77
"""Positions of the text encoders of latent diffusion: of CLIP's, and before that of its own."""


@dataclass(frozen=True)
class Tokens:
    """Prompts as the text encoder reads them: `ids` int64 [n, length]; `cut` the text that did not fit, "" if none."""

    ids: np.ndarray
    cut: list[str]


class Word(NamedTuple):
    """A token of a text: its id, its first character and one past its last."""

    id: int
    start: int
    end: int

    def moved(self, characters: int) -> "Word":
        """The same word in a text with so many characters in front."""
        return Word(self.id, self.start + characters, self.end + characters)


class PromptTokenizer(ABC):
    """A package's tokenizer: a start, the prompt's tokens as far as they fit, an end, padding up to `length`.

    A learned word of several vectors is several added tokens, `token`, `token_1` and so on, all of which stand for the
    first one in a text, as diffusers writes and reads them (`TextualInversionLoaderMixin.maybe_convert_prompt`).

    What kinds of it differ in:

    Attributes:
        class_name: transformers' class.
        vocabulary: the files that it can be built from, where there is no tokenizer.json.
        named: the special tokens by their names in the configuration: its own, where files are silent.
        ends: the names of the start and the end.
    """

    class_name: ClassVar[str]
    vocabulary: ClassVar[tuple[str, ...]]
    named: ClassVar[Mapping[str, str]]
    ends: ClassVar[tuple[str, str]]

    def __init__(self, tokenizer: "Tokenizer", bos: int, eos: int, pad: int, length: int) -> None:
        self._tokenizer = tokenizer
        self.bos, self.eos, self.pad = bos, eos, pad
        self.length = length
        self._following = following(tokenizer)

    @classmethod
    @abstractmethod
    def from_vocabulary(cls, folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
        """Build it from the files of its vocabulary; special tokens in a text are not yet matched, `read` adds them.

        Raises:
            PackageError: they are not what they should be.
        """

    @classmethod
    def positions(cls, folder: Path, config: Mapping[str, Any]) -> int:
        """How many tokens the text encoder reads, as the folder says, with start and end.

        Raises:
            PackageError: it is no number of tokens.
        """
        return LENGTH

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a tokenizer folder: tokenizer.json, or the vocabulary's files, and the configuration beside them.

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
        from tokenizers import Tokenizer

        config = cls._configuration(folder)
        fast = folder / "tokenizer.json"
        try:
            if not fast.exists():
                cls._check_vocabulary(folder)
            tokenizer = Tokenizer.from_file(str(fast)) if fast.exists() else cls.from_vocabulary(folder, config)
            tokenizer.no_truncation()
            tokenizer.no_padding()
            add_new(tokenizer, cls._added_tokens(folder, config))
            cls._named_ids(tokenizer, config, folder)  # the library would make up an id for one that is missing
            add_new(tokenizer, cls._special_tokens(config))
        except PackageError:
            raise
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise PackageError(f"{folder} holds no tokenizer that can be read: {error}") from None
        return tokenizer

    @classmethod
    def write(cls, source: Path, target: Path) -> None:
        """Copy a tokenizer folder and add what it lacks: tokenizer.json, the vocabulary's files, tokenizer_config.json.

        With all of them, every version of transformers and optimum loads it, with fast and with slow tokenizers.

        Raises:
            PackageError: as `load`.
        """
        length = cls.load(source).length
        tokenizer, config = cls.read(source), cls._configuration(source)
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            if file.is_file():
                (target / file.name).write_bytes(file.read_bytes())
        if not (target / "tokenizer.json").exists():
            tokenizer.save(str(target / "tokenizer.json"))
        if not all((target / name).exists() for name in cls.vocabulary):
            tokenizer.model.save(str(target))
        if not (target / "tokenizer_config.json").exists():
            named = {name: content(config[name]) for name in cls.named}
            written = {"tokenizer_class": cls.class_name, "model_max_length": length, **named}
            (target / "tokenizer_config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")

    def encode(self, texts: Sequence[str]) -> Tokens:
        """The ids of each text; what does not fit between start and end is left out and quoted in `cut`.

        Raises:
            ArgumentError: a text that is not valid Unicode (a lone surrogate).
        """
        ids = np.full((len(texts), self.length), self.pad, np.int64)
        cut = []
        for row, text in zip(ids, texts, strict=True):
            words = self.words(text)
            kept, left_out = words[: self.length - 2], words[self.length - 2 :]
            row[: len(kept) + 2] = [self.bos, *(word.id for word in kept), self.eos]
            cut.append(text[left_out[0].start : left_out[-1].end] if left_out else "")
        return Tokens(ids, cut)

    def words(self, text: str) -> list[Word]:
        """All tokens of a text, without start and end.

        Raises:
            ArgumentError: a text that is not valid Unicode (a lone surrogate).
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ArgumentError(f"the prompt {text!r} is not valid Unicode at character {error.start}") from None
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return [
            Word(each, *place)
            for number, place in zip(found.ids, found.offsets, strict=True)
            for each in (number, *self._following.get(number, ()))
        ]

    @classmethod
    def _configuration(cls, folder: Path) -> dict[str, Any]:
        """tokenizer_config.json over its own, and special_tokens_map.json over both where transformers reads it."""
        if not folder.is_dir():
            raise PackageError(f"{folder} is missing: it should hold tokenizer.json, or {' and '.join(cls.vocabulary)}")
        config = read_json(folder / "tokenizer_config.json", optional=True)
        if "added_tokens_decoder" not in config:  # since it exists, special_tokens_map.json only repeats it
            config |= read_json(folder / "special_tokens_map.json", optional=True)
        given = {name: token for name, token in config.items() if token is not None}
        return {**cls.named, **given}

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
        """Tokens beside the vocabulary, by their ids: today's added_tokens_decoder, or yesterday's own file."""
        if "added_tokens_decoder" in config:
            decoder: dict[str, dict[str, Any]] = config["added_tokens_decoder"]
            return [as_token(token) for _, token in sorted(decoder.items(), key=lambda item: int(item[0]))]
        ids = read_json(folder / "added_tokens.json", optional=True)
        special = {token.content for token in cls._special_tokens(config)}
        return [as_token(token, special=token in special) for token in sorted(ids, key=lambda token: ids[token])]

    @classmethod
    def _special_tokens(cls, config: Mapping[str, Any]) -> list["AddedToken"]:
        """The tokens with a name, and those listed as special."""
        extra = config.get("extra_special_tokens", [])
        listed = [*config.get("additional_special_tokens", []), *(extra.values() if isinstance(extra, dict) else extra)]
        return [as_token(token, special=True) for token in (*(config[name] for name in cls.named), *listed)]

    @classmethod
    def _check_vocabulary(cls, folder: Path) -> None:
        for name in cls.vocabulary:
            if not (folder / name).is_file():
                raise PackageError(f"{folder} holds no tokenizer.json, and {name} is missing too")

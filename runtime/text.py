"""Prompts to token ids: CLIP's tokenizer, as transformers runs it, on the `tokenizers` library alone.

Source: Radford et al. 2021 (CLIP): lower-cased byte-level BPE whose words end in `</w>`. The special tokens that a
folder names are matched before anything else, with the flags that its files give them: Stable Diffusion 2 pads with
"!", so every "!" of a prompt is its padding token, not a word.
"""

import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import ArgumentError, PackageError
from .package import read_json

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
_NAMED = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS}  # CLIP's own, where files are silent
_LENGTH = 77  # positions of CLIP's text encoder
_UNSET_LENGTH = 10**6  # transformers writes 1e30 for "no limit known"
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


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


class ClipTokenizer:
    """A package's tokenizer: BOS, the prompt's tokens as far as they fit, EOS, padding up to `length`.

    A learned word of several vectors is several added tokens, `token`, `token_1` and so on, all of which stand for the
    first one in a text, as diffusers writes and reads them (`TextualInversionLoaderMixin.maybe_convert_prompt`).
    """

    def __init__(self, tokenizer: "Tokenizer", bos: int, eos: int, pad: int, length: int) -> None:
        self._tokenizer = tokenizer
        self.bos, self.eos, self.pad = bos, eos, pad
        self.length = length
        self._following = _following(tokenizer)

    @classmethod
    def load(cls, folder: Path) -> "ClipTokenizer":
        """Read a tokenizer folder: tokenizer.json, or vocab.json and merges.txt, and the configuration beside them.

        Raises:
            PackageError: a file is missing, cannot be read, or names a special token that the vocabulary lacks.
        """
        config = _configuration(folder)
        tokenizer = load_tokenizer(folder)
        named = _named_ids(tokenizer, config, folder)
        length = config.get("model_max_length", _LENGTH)
        if not isinstance(length, int | float) or length < 2:
            raise PackageError(f"{folder} has model_max_length {length!r}; it should be a number, 2 or more")
        length = _LENGTH if length > _UNSET_LENGTH else int(length)
        return cls(tokenizer, named["bos_token"], named["eos_token"], named["pad_token"], length)

    def encode(self, texts: Sequence[str]) -> Tokens:
        """The ids of each text; what does not fit between BOS and EOS is left out and quoted in `cut`.

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
        """All tokens of a text, without BOS and EOS.

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


def build_clip_tokenizer(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    bos: str = BOS,
    eos: str = EOS,
    unk: str = EOS,
) -> "Tokenizer":
    """CLIP's tokenizer from its vocabulary (token -> id) and its merges, the most frequent first.

    The steps are those of transformers 5. Special tokens in a text are not yet matched: `load_tokenizer` adds them.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    model = models.BPE(
        vocab=dict(vocab),
        merges=list(merges),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        unk_token=unk,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # by position: the library's own names of the first two have changed
    tokenizer.post_processor = processors.RobertaProcessing(
        (eos, vocab[eos]), (bos, vocab[bos]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer


def load_tokenizer(folder: Path) -> "Tokenizer":
    """The folder's tokenizer with its special tokens, neither truncating nor padding.

    Raises:
        PackageError: a file is missing, cannot be read, or names a special token that the vocabulary lacks.
    """
    from tokenizers import Tokenizer

    config = _configuration(folder)
    fast = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(fast)) if fast.exists() else _from_vocabulary(folder, config)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        _add_new(tokenizer, _added_tokens(folder, config))
        _named_ids(tokenizer, config, folder)  # the library would make up an id for one that is missing
        _add_new(tokenizer, _special_tokens(config))
    except PackageError:
        raise
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise PackageError(f"{folder} holds no tokenizer that can be read: {error}") from None
    return tokenizer


def write_fast_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer folder and add what it lacks of tokenizer.json, vocab.json, merges.txt, tokenizer_config.json.

    With all four, every version of transformers and optimum loads it, with fast and with slow tokenizers.

    Raises:
        PackageError: as `ClipTokenizer.load`.
    """
    length = ClipTokenizer.load(source).length
    tokenizer, config = load_tokenizer(source), _configuration(source)
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file():
            shutil.copyfile(file, target / file.name)
    if not (target / "tokenizer.json").exists():
        tokenizer.save(str(target / "tokenizer.json"))
    if not ((target / "vocab.json").exists() and (target / "merges.txt").exists()):
        tokenizer.model.save(str(target))
    if not (target / "tokenizer_config.json").exists():
        named = {name: _content(config[name]) for name in _NAMED}
        written = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, **named}
        (target / "tokenizer_config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _from_vocabulary(folder: Path, config: Mapping[str, Any]) -> "Tokenizer":
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    for file in (vocab, merges):
        if not file.is_file():
            raise PackageError(f"{folder} holds no tokenizer.json, and {file.name} is missing too")
    tokens = read_json(vocab)
    bos, eos, unk = (_content(config[f"{name}_token"]) for name in ("bos", "eos", "unk"))
    for token in (bos, eos):
        if token not in tokens:
            raise PackageError(f"{vocab} lacks the special token {token!r}")
    lines = merges.read_text(encoding="utf-8").split("\n")
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    for pair in pairs:
        if len(pair) != 2:
            raise PackageError(f"{merges} should hold two symbols a line, not {' '.join(pair)!r}")
    return build_clip_tokenizer(tokens, [(left, right) for left, right in pairs], bos=bos, eos=eos, unk=unk)


def _configuration(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json over CLIP's defaults, and special_tokens_map.json over both where transformers reads it."""
    if not folder.is_dir():
        raise PackageError(f"{folder} is missing: it should hold tokenizer.json, or vocab.json and merges.txt")
    config = read_json(folder / "tokenizer_config.json", optional=True)
    if "added_tokens_decoder" not in config:  # since it exists, special_tokens_map.json only repeats it
        config |= read_json(folder / "special_tokens_map.json", optional=True)
    given = {name: token for name, token in config.items() if token is not None}
    return _NAMED | given


def _named_ids(tokenizer: "Tokenizer", config: Mapping[str, Any], folder: Path) -> dict[str, int]:
    ids = {}
    for name in _NAMED:
        token = _content(config[name])
        number = tokenizer.token_to_id(token)
        if number is None:
            raise PackageError(f"{folder} has {name} {token!r}, which its vocabulary lacks")
        ids[name] = number
    return ids


def _added_tokens(folder: Path, config: Mapping[str, Any]) -> list["AddedToken"]:
    """Tokens beside the vocabulary, in the order of their ids: today's added_tokens_decoder, yesterday's own file."""
    if "added_tokens_decoder" in config:
        decoder: dict[str, dict[str, Any]] = config["added_tokens_decoder"]
        return [_as_token(token) for _, token in sorted(decoder.items(), key=lambda item: int(item[0]))]
    ids = read_json(folder / "added_tokens.json", optional=True)
    special = {token.content for token in _special_tokens(config)}
    return [_as_token(token, special=token in special) for token in sorted(ids, key=lambda token: ids[token])]


def _special_tokens(config: Mapping[str, Any]) -> list["AddedToken"]:
    """The tokens with a name, and those listed as special."""
    extra = config.get("extra_special_tokens", [])
    listed = [*config.get("additional_special_tokens", []), *(extra.values() if isinstance(extra, dict) else extra)]
    return [_as_token(token, special=True) for token in (*(config[name] for name in _NAMED), *listed)]


def _add_new(tokenizer: "Tokenizer", tokens: Sequence["AddedToken"]) -> None:
    """Have the tokens matched before any others, unless `tokenizer` does so already.

    Of a token described twice the last description counts, as in today's transformers: in Stable Diffusion 1.5 the
    padding's plain "<|endoftext|>" replaces the EOS that would have been matched in capitals too. Left to the library,
    it would depend on its version: the first one counts up to tokenizers 0.22, the last one from 0.23 on.
    """
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    tokenizer.add_tokens(list({token.content: token for token in tokens if token.content not in known}.values()))


def _following(tokenizer: "Tokenizer") -> dict[int, list[int]]:
    """The ids of token_1, token_2, ... by the id of each added token that has such."""
    ids = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    following = {}
    for token, number in ids.items():
        names = (f"{token}_{i}" for i in itertools.count(1))
        others = [ids[name] for name in itertools.takewhile(ids.__contains__, names)]
        if others:
            following[number] = others
    return following


def _as_token(token: str | Mapping[str, Any], special: bool | None = None) -> "AddedToken":
    """A token as the files write it: its text and flags, or its text alone (a special one is then matched as it is)."""
    from tokenizers import AddedToken

    flags = {"content": token} if isinstance(token, str) else {k: v for k, v in token.items() if k != "__type"}
    return AddedToken(**flags if special is None else flags | {"special": special})


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else token["content"]

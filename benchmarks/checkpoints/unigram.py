"""Write a Unigram tokenizer, as T5 has, without training."""

import itertools
import json
import string
from pathlib import Path
from typing import Any

_PAD, _END, _UNKNOWN = "<pad>", "</s>", "<unk>"
_SPACE = "\u2581"


def write_unigram(folder: Path, size: int) -> None:
    """Write a tokenizer of `size` entries: special tokens, ASCII characters, invented pieces."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    characters = string.ascii_letters + string.digits + string.punctuation
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    joined = (map("".join, itertools.product(letters, repeat=width)) for width in itertools.count(2))
    pieces = itertools.chain(characters, itertools.chain.from_iterable(joined))
    forms = (form for piece in pieces for form in (piece, _SPACE + piece))
    special = (_PAD, _END, _UNKNOWN)
    scores = [(token, 0.0) for token in special]
    scores += [
        (piece, -2 - rank / size)
        for rank, piece in enumerate(itertools.islice(itertools.chain([_SPACE], forms), size - 3))
    ]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=2, byte_fallback=False))
    metaspace: dict[str, Any] = {"replacement": _SPACE, "prepend_scheme": "always", "split": True}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**metaspace)]
    )
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", _END], special_tokens=[(_END, 1)])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"eos_token": _END, "unk_token": _UNKNOWN, "pad_token": _PAD}
    config = {"tokenizer_class": "T5Tokenizer", "model_max_length": 512, "extra_ids": 0, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")

"""Write a WordPiece tokenizer, as BERT has, without training."""

import itertools
import json
import string
from pathlib import Path

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_wordpiece(folder: Path, size: int) -> None:
    """Write a tokenizer of `size` entries: special tokens, ASCII characters, invented subwords."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    joined = (map("".join, itertools.product(letters, repeat=width)) for width in itertools.count(2))
    pieces = itertools.chain(characters, itertools.chain.from_iterable(joined))
    subwords = (form for piece in pieces for form in (piece, f"##{piece}"))
    vocabulary = [*_SPECIAL, *itertools.islice(subwords, size - len(_SPECIAL))]

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    named = {f"{token.strip('[]').lower()}_token": token for token in _SPECIAL}
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512, **named}
    (folder / "special_tokens_map.json").write_text(json.dumps(named) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")

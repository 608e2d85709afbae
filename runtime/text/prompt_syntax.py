r"""Prompt syntax: weights of words, and the start of a new chunk.

The syntax is that of the Stable Diffusion web UI (AUTOMATIC1111, modules/prompt_parser.py), without its editing of
prompts between steps:

    (words:1.3)   1.3 times the weight; spaces around the number are allowed
    (words)       1.1 times, ((words)) 1.21 times: nested weights multiply
    [words]       1 / 1.1 times
    \( \) \[ \]   literal brackets
    BREAK         in capitals, as a separate word: starts a new chunk

An unmatched bracket is text, as in ComfyUI (comfy/sd1_clip.py, `token_weights`): ":)" and a single "(" are literal.
The web UI differs: it weights everything after an unclosed bracket, and drops the bracket. A backslash before any other
character is text, too, so a prompt without this syntax is unchanged.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

MORE = 1.1
"""Factor of the weight in round brackets; in square brackets, the divisor."""

_PIECES = re.compile(
    r"""\\(?P<escaped>[()\[\]])
      | (?P<opening>[(\[])
      | (?P<closing>(?::\s*(?P<weight>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))\s*)?\)|\])
      | \b(?P<new>BREAK)\b
      | [^\\()\[\]:B]+ | .""",
    re.DOTALL | re.VERBOSE,
)
_PARTNERS = {")": "(", "]": "["}


class Fragment(NamedTuple):
    """Text without syntax, and the weight of its tokens."""

    text: str
    weight: float


def parse(prompt: str) -> list[list[Fragment]]:
    """Chunks of a prompt, one or more, each with its fragments in order.

    Adjacent fragments of the same weight are merged. A prompt without syntax is one fragment of weight 1.
    """
    pieces = list(_PIECES.finditer(prompt))
    factors, closings = _pairs(pieces)
    products = {bracket: [1.0] for bracket in _PARTNERS.values()}  # of the factors of open brackets
    chunks: list[list[tuple[list[str], float]]] = [[]]  # of texts, which are joined once, and their weight
    weight = 1.0
    for place, piece in enumerate(pieces):
        if place in factors:
            products[piece[0]].append(products[piece[0]][-1] * factors[place])
            weight = math.prod(each[-1] for each in products.values())
        elif place in closings:
            products[_PARTNERS[piece[0][-1]]].pop()
            weight = math.prod(each[-1] for each in products.values())
        elif piece.lastgroup == "new":
            chunks.append([])
        else:
            if not chunks[-1] or chunks[-1][-1][1] != weight:
                chunks[-1].append(([], weight))
            chunks[-1][-1][0].append(piece["escaped"] or piece[0])
    return [[Fragment("".join(texts), each) for texts, each in chunk] for chunk in chunks]


def _pairs(pieces: Sequence[re.Match[str]]) -> tuple[dict[int, float], set[int]]:
    """Position of each closed bracket -> its factor, and the positions of the closing brackets.

    Round and square brackets are matched independently, as in the web UI: in "(a [b) c]" both weights apply to b.
    """
    factors, closings = {}, set()
    opened: dict[str, list[int]] = {bracket: [] for bracket in _PARTNERS.values()}
    for place, piece in enumerate(pieces):
        if piece.lastgroup == "opening":
            opened[piece[0]].append(place)
        elif piece.lastgroup == "closing" and opened[_PARTNERS[piece[0][-1]]]:
            start = opened[_PARTNERS[piece[0][-1]]].pop()
            factors[start] = 1 / MORE if piece[0] == "]" else float(piece["weight"] or MORE)
            closings.add(place)
    return factors, closings

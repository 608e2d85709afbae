r"""Prompts as people write them: which words count for more or less, and where a new chunk begins.

The syntax is that of the Stable Diffusion web UI (AUTOMATIC1111, modules/prompt_parser.py), without its editing of
prompts between steps:

    (words:1.3)   1.3 times the weight; spaces around the number may be there
    (words)       1.1 times, ((words)) 1.21 times: what is nested multiplies
    [words]       1 / 1.1 times
    \( \) \[ \]   brackets that are meant as such
    BREAK         in capitals, a word of its own: what follows begins a new chunk

What does not close is text, brackets included, as in ComfyUI (comfy/sd1_clip.py, `token_weights`): ":)" and a lone "("
are what they look like. The web UI itself weighs everything after a bracket that stays open, and drops the bracket. A
backslash before anything but a bracket is text, too, so that a prompt without the above stays as it is to the letter.
"""

import math
import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

MORE = 1.1
"""The weight of what is in round brackets; in square ones, what it is divided by."""

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
    """Text without syntax, and how many times its tokens count."""

    text: str
    weight: float


def parse(prompt: str) -> list[list[Fragment]]:
    """The chunks that a prompt asks for, one or more, each with its fragments in order.

    Neighbours of the same weight are one fragment. A prompt without syntax is one of weight 1, the prompt itself.
    """
    pieces = list(_PIECES.finditer(prompt))
    factors, closings = _pairs(pieces)
    products = {bracket: [1.0] for bracket in _PARTNERS.values()}  # of the factors of those that are open
    chunks: list[list[Fragment]] = [[]]
    for place, piece in enumerate(pieces):
        if place in factors:
            products[piece[0]].append(products[piece[0]][-1] * factors[place])
        elif place in closings:
            products[_PARTNERS[piece[0][-1]]].pop()
        elif piece["new"]:
            chunks.append([])
        else:
            weight = math.prod(each[-1] for each in products.values())
            chunks[-1].append(Fragment(piece["escaped"] or piece[0], weight))
    return [_merged(chunk) for chunk in chunks]


def _pairs(pieces: Sequence[re.Match[str]]) -> tuple[dict[int, float], set[int]]:
    """Place of each bracket that is closed -> its factor, and the places of those that close one.

    Round and square ones do not heed each other, as in the web UI: "(a [b) c]" weighs b twice.
    """
    factors, closings = {}, set()
    opened: dict[str, list[int]] = {bracket: [] for bracket in _PARTNERS.values()}
    for place, piece in enumerate(pieces):
        if piece["opening"]:
            opened[piece[0]].append(place)
        elif piece["closing"] and opened[_PARTNERS[piece[0][-1]]]:
            start = opened[_PARTNERS[piece[0][-1]]].pop()
            factors[start] = 1 / MORE if piece[0] == "]" else float(piece["weight"] or MORE)
            closings.add(place)
    return factors, closings


def _merged(fragments: Sequence[Fragment]) -> list[Fragment]:
    runs = groupby(fragments, key=lambda fragment: fragment.weight)
    return [Fragment("".join(fragment.text for fragment in run), weight) for weight, run in runs]

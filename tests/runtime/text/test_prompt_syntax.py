"""Prompt syntax of the web UI; no text of a prompt is lost."""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.runtime.text import prompt_syntax
from triptych.runtime.text.prompt_syntax import parse

PLAIN = st.text(st.characters(exclude_characters="()[]\\:", exclude_categories=["Cs"])).filter(
    lambda text: "BREAK" not in text
)
SPELLED = st.lists(
    st.sampled_from([*"()[]\\:. B", "BREAK", " BREAK ", "fox", ":1.3)", ":-2 )", "\\(", ":)", "1.2.3", "９", "\n"])
).map("".join)
ANYTHING = st.one_of(st.text(), SPELLED)


def read(prompt: str) -> list[list[tuple[str, float]]]:
    return [[(text, round(weight, 9)) for text, weight in chunk] for chunk in parse(prompt)]


@pytest.mark.parametrize(
    ("prompt", "fragments"),
    [
        ("a (red:1.3) fox", [("a ", 1), ("red", 1.3), (" fox", 1)]),
        ("(word)", [("word", 1.1)]),
        ("((word))", [("word", 1.21)]),
        ("[less]", [("less", 1 / 1.1)]),
        ("[[less]]", [("less", 1 / 1.21)]),
        ("(([even]))", [("even", 1.1)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        ("(a:.5)(b:2.)(c:+3)(d:-1)(e:0)", [("a", 0.5), ("b", 2), ("c", 3), ("d", -1), ("e", 0)]),
        ("(far: 1.3 )", [("far", 1.3)]),
        (r"\(literal\] a\b \\(c)", [(r"(literal] a\b \(c)", 1)]),
        (r"(\):2)", [(")", 2)]),
        ("(1:1.5:2)", [("1:1.5", 2)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 1 / 1.1)]),
        # the web UI's own example, its first bracket closed
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))).",
            [
                *(("a ", 1), ("house", 1.573), (" ", 1.1), ("on", 1), (" a ", 1.1), ("hill", 0.55)),
                *((", sun, ", 1.1), ("sky", 1.4641), (".", 1)),
            ],
        ),
    ],
)
def test_weights(prompt: str, fragments: list[tuple[str, float]]) -> None:
    assert read(prompt) == [[(text, round(weight, 9)) for text, weight in fragments]]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        ":)",
        ":(",
        "a lone (",
        "[",
        ")(",
        "a :1.3) b",
        "(a:1.3",
        "[a:1.3)",
        "C:\\fox",
        "1:2",
        "break",
        "BREAKFAST",
        "9",
    ],
)
def test_unmatched_brackets_are_text(prompt: str) -> None:
    assert read(prompt) == [[(prompt, 1)] if prompt else []]


@pytest.mark.parametrize(
    ("prompt", "chunks"),
    [
        ("a BREAK b", [[("a ", 1)], [(" b", 1)]]),
        ("a,BREAK,b", [[("a,", 1)], [(",b", 1)]]),
        ("(a BREAK b:2) c", [[("a ", 2)], [(" b", 2), (" c", 1)]]),
        ("BREAK", [[], []]),
        ("a BREAK BREAK", [[("a ", 1)], [(" ", 1)], []]),
    ],
)
def test_break_begins_a_chunk(prompt: str, chunks: list[list[tuple[str, float]]]) -> None:
    assert read(prompt) == chunks


@given(PLAIN)
def test_plain_text_is_unchanged(text: str) -> None:
    assert parse(text) == [[(text, 1.0)] if text else []]


@given(ANYTHING.map(lambda text: text.replace("BREAK", "break")))
def test_escaped_text_is_unchanged(text: str) -> None:
    assert parse(re.sub(r"[()\[\]]", r"\\\g<0>", text)) == [[(text, 1.0)] if text else []]


@given(ANYTHING)
def test_nothing_is_lost_but_syntax(prompt: str) -> None:
    chunks = parse(prompt)
    left = iter("".join(text for chunk in chunks for text, _ in chunk))
    character = next(left, None)
    lost = ""
    for each in prompt:
        if each == character:
            character = next(left, None)
        else:
            lost += each
    assert character is None, "text that is not in the prompt, or in another order"
    assert set(lost) <= set("()[]\\:+-.0123456789BREAK") | {each for each in lost if each.isspace()}
    assert len(chunks) == len(re.findall(r"\bBREAK\b", prompt)) + 1
    assert all(chunk[i].weight != chunk[i + 1].weight for chunk in chunks for i in range(len(chunk) - 1))


@dataclass
class Group:
    """Bracketed text: its weight, or None without one, and the kind of brackets."""

    inside: list[Any]
    weight: float | None
    square: bool

    def written(self) -> str:
        inside = "".join(part if isinstance(part, str) else part.written() for part in self.inside)
        if self.square:
            return f"[{inside}]"
        return f"({inside})" if self.weight is None else f"({inside}:{self.weight})"

    def meant(self, factor: float = 1.0) -> Iterator[tuple[str, float]]:
        factor *= 1 / 1.1 if self.square else 1.1 if self.weight is None else self.weight
        for part in self.inside:
            yield from [(part, factor)] if isinstance(part, str) else part.meant(factor)


WORDS = st.text("abc ,", min_size=1, max_size=4)
WEIGHT = st.one_of(st.none(), st.floats(0.1, 3).map(lambda value: round(value, 2)))
GROUPS = st.recursive(
    WORDS,
    lambda inner: st.builds(Group, st.lists(inner, min_size=1, max_size=3), WEIGHT, st.booleans()),
    max_leaves=8,
)


@given(st.lists(GROUPS, max_size=4))
def test_nesting_multiplies(parts: list[Any]) -> None:
    prompt = "".join(part if isinstance(part, str) else part.written() for part in parts)
    meant = [pair for part in parts for pair in ([(part, 1.0)] if isinstance(part, str) else part.meant())]
    (chunk,) = parse(prompt)
    found = [(letter, weight) for text, weight in chunk for letter in text]
    expected = [(letter, weight) for text, weight in meant for letter in text]
    assert [letter for letter, _ in found] == [letter for letter, _ in expected]
    assert all(math.isclose(own, other[1]) for (_, own), other in zip(found, expected, strict=True))


def test_deep_nesting_and_long_numbers_are_read_in_no_time() -> None:
    (((text, weight),),) = parse("(" * 5000 + "fox" + ")" * 5000)
    assert text == "fox"
    assert weight > 1e200
    (((text, weight),),) = parse("(fox:" + "9" * 400 + ")")
    assert (text, weight) == ("fox", math.inf)


SIZE = 20_000


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("(" * SIZE, 1),
        ("[" * SIZE, 1),
        (")" * SIZE, 1),
        ("(" * SIZE + "fox" + ")" * SIZE, 1),
        ("[" * SIZE + "fox" + "]" * SIZE, 1),
        ("([" * SIZE + "fox" + "])" * SIZE, 1),
        ("(a:1.1)b" * SIZE, 2 * SIZE),
        ("(a:1.2)" * SIZE, 1),
        ("(a:" + "1" * SIZE, 1),
        (": " * SIZE, 1),
        ("\\" * SIZE, 1),
        ("B" * SIZE, 1),
        ("fox " * SIZE, 1),
    ],
    ids=lambda value: value[:8] if isinstance(value, str) else "",
)
def test_long_and_deep_prompts_are_few_fragments(prompt: str, pieces: int) -> None:
    """Each character is read once: nesting needs no recursion, and equal weights are one text."""
    (fragments,) = parse(prompt)
    assert len(fragments) == pieces
    assert sum(len(fragment.text) for fragment in fragments) <= len(prompt)


def test_every_character_belongs_to_one_piece() -> None:
    prompt = "(a:1.1)[b] BREAK \\( :: B (c" * 100
    ends = [match.span() for match in prompt_syntax._PIECES.finditer(prompt)]
    assert ends[0][0] == 0
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(ends))
    assert ends[-1][1] == len(prompt)

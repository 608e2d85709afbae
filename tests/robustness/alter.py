"""Seeded changes of JSON values and of bytes."""

import json
from random import Random
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7.5, -0.0, 1e-30, 1e30, 1e308, float("nan"), float("inf"), 2**31, 2**63, 10**400,
    "", "x", "7", "../../x", "/etc/passwd", "\ud800", "\0", "x" * 100_000, "é\u202e\u200d", [], {}, [None], [[]],
    [1, 2], [0, -1], ["x"], {"x": 1}, {"": None},
)  # fmt: skip
"""Values of other types and beyond every range."""

DEEP = 100_000


def altered_json(value: Any, random: Random) -> tuple[str, str]:
    """A JSON text with one value replaced, removed or nested without end, and the name of the change."""
    value = json.loads(json.dumps(value))
    path = random.choice(list(_paths(value)))
    name = ".".join(map(str, path))
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    way = random.random()
    if way < 0.15:
        del holder[path[-1]]
        return json.dumps(value), f"{name} removed"
    if way < 0.18:
        holder[path[-1]] = "\1deep\1"
        opened = '{"a":' if random.random() < 0.5 else "["
        closed = "}" if opened != "[" else "]"
        deep = opened * DEEP + "1" + closed * DEEP
        return json.dumps(value).replace(json.dumps("\1deep\1"), deep), f"{name} nested"
    replacement = random.choice(HOSTILE)
    holder[path[-1]] = replacement
    return json.dumps(value), f"{name} = {_short(replacement)}"


def altered_bytes(data: bytes, random: Random) -> tuple[bytes, str]:
    """Bytes with one change: some are flipped, cut off, removed, inserted, repeated or zero."""
    if not data:
        return b"\0", "empty, one zero added"
    place, length = random.randrange(len(data)), random.choice((1, 4, 64, 4096))
    part = data[place : place + length]
    ways = {
        "flipped": data[:place] + bytes(each ^ random.randrange(1, 256) for each in part) + data[place + length :],
        "cut off": data[:place],
        "removed": data[:place] + data[place + length :],
        "inserted": data[:place] + random.randbytes(length) + data[place:],
        "repeated": data[:place] + part * 3 + data[place + length :],
        "zero": data[:place] + bytes(len(part)) + data[place + length :],
        "largest": data[:place] + b"\xff" * len(part) + data[place + length :],
        "empty": b"",
        "with a byte order mark": b"\xef\xbb\xbf" + data,
        "in UTF-16": b"\xff\xfe" + data.decode("latin-1").encode("utf-16-le"),
    }
    name = random.choice(list(ways))
    return ways[name], f"{len(part)} bytes at {place} {name}"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """The place of each value in a JSON value, as keys and indices; that of the whole is left out."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from _paths(each, (*path, key))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 24 else f"{text[:20]}... ({len(text)})"

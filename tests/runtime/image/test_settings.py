"""Settings from PNGs of anybody: wherever text can stand in the file, and whatever it says."""

import dataclasses
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.settings import SETTINGS
from triptych.runtime.errors import ArgumentError
from triptych.runtime.image.pixels import SETTINGS_KEY, read_settings
from triptych.runtime.image.settings import Settings
from triptych.runtime.request import Request

GOOD: dict[str, Any] = json.loads(SETTINGS.to_json())
NAMES = [field.name for field in dataclasses.fields(Settings)]
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**64, 10**400, -(10**400), 1e308])
ATOMS = st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=())) | st.sampled_from(["euler"])
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2))


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png(before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of one pixel, with chunks before and after the pixel."""
    header = chunk(b"IHDR", (1).to_bytes(4) * 2 + b"\x08\x02\0\0\0")
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixel + after + chunk(b"IEND", b"")


KEY = SETTINGS_KEY.encode()
CHUNKS: dict[str, Callable[[str], bytes]] = {
    "tEXt": lambda text: chunk(b"tEXt", KEY + b"\0" + text.encode("latin-1")),
    "zTXt": lambda text: chunk(b"zTXt", KEY + b"\0\0" + zlib.compress(text.encode("latin-1"))),
    "iTXt": lambda text: chunk(b"iTXt", KEY + b"\0\0\0\0\0" + text.encode()),
    "compressed iTXt": lambda text: chunk(b"iTXt", KEY + b"\0\1\0\0\0" + zlib.compress(text.encode())),
}


@pytest.mark.parametrize("kind", CHUNKS)
@pytest.mark.parametrize("place", ["before", "after"])
def test_text_is_read_wherever_png_allows_it(kind: str, place: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, prompt="ein Füchschen")
    (tmp_path / "a.png").write_bytes(png(**{place: CHUNKS[kind](settings.to_json())}))
    assert read_settings(tmp_path / "a.png") == settings


@pytest.mark.parametrize("kind", ["zTXt", "compressed iTXt", "iTXt"])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * (1 << 22), r"(too large|4194304 characters; allowed: 1048576)"),
        ("[" * 100_000 + "]" * 100_000, "no JSON: .*recursion"),
    ],
    ids=["long", "deep"],
)
def test_text_that_is_too_long_or_too_deep_is_one_line(
    kind: str, place: str, text: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png(**{place: CHUNKS[kind](text)}))
    with pytest.raises(ArgumentError, match=rf"^[^\n]*a.png[^\n]*{reason}[^\n]*$"):
        read_settings(tmp_path / "a.png")


@given(changes=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=2))
def test_altered_settings_make_a_request_or_an_argument_error(changes: dict[str, Any]) -> None:
    with suppress(ArgumentError):
        settings = Settings.from_json(json.dumps(GOOD | changes))
        settings.to_parameters().encode()
        arguments = settings.arguments()
        upscale = arguments.pop("upscale", None)
        assert upscale is None or upscale > 1
        Request(**arguments)


@given(value=VALUES, name=st.sampled_from(["model", "width", "prompt", "guidance_scale", "timesteps", "upscale"]))
def test_the_error_of_a_value_is_a_short_line_with_its_name(value: Any, name: str) -> None:
    try:
        Settings.from_json(json.dumps(GOOD | {name: value}))
    except ArgumentError as error:
        line = str(error)
    else:
        return
    assert line.startswith(f"the settings in the image cannot be read: {name}=")
    assert "\n" not in line
    assert len(line) < 300


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "7"}, "seed='7'; allowed: a whole number, or null"),
        ({"seed": 2**64}, "seed=18446744073709551616; allowed: a whole number from 0"),
        ({"width": True}, "width=True; allowed: a whole number"),
        ({"width": 1e308}, "width=1e+308; allowed: a whole number"),
        ({"noise": None}, "noise=None; allowed: a text"),
        ({"prompt": "\ud800"}, "prompt='\\ud800'; allowed: a text"),
        ({"eta": float("nan")}, "eta=nan; allowed: a number"),
        ({"guidance_scale": [1, None]}, "guidance_scale=[1, None]; allowed: a number, or a list of numbers"),
        ({"guidance_scale": float("inf")}, "guidance_scale=inf; allowed: a number"),
        ({"timesteps": {}}, "timesteps={}; allowed: a list of numbers, or a text, or null"),
        ({"upscale": 1}, "upscale=1; allowed: above 1"),
        ({"upscale": float("inf")}, "upscale=inf; allowed: above 1"),
        ({"colour": 3}, "unknown key 'colour'"),
    ],
)
def test_a_wrong_value_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Settings.from_json(json.dumps(GOOD | changes))
    assert str(caught.value).startswith(f"the settings in the image cannot be read: {message}")


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ArgumentError, match="cannot be read: seed is missing"):
        Settings.from_json(json.dumps({name: value for name, value in GOOD.items() if name != "seed"}))


def test_an_interval_without_an_upper_end_is_read() -> None:
    settings = dataclasses.replace(SETTINGS, guidance_interval=[0.5, float("inf")])
    assert Settings.from_json(settings.to_json()) == settings

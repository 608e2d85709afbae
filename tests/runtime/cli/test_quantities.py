"""Durations and sizes as values of options."""

import math
from fractions import Fraction
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command_line import refused
from triptych.runtime.cli.values import DURATION, SIZE, Quantity

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
LARGEST = {DURATION: 365 * 86_400, SIZE: 2**50}

UNITS = st.sampled_from(
    [(DURATION, unit, size) for unit, size in SECONDS.items()] + [(SIZE, unit, size) for unit, size in BYTES.items()]
)


def read(kind: Quantity, text: str) -> int:
    return kind.convert(text, None, None)


@given(UNITS, st.integers(1, 10**6), st.integers(0, 999), st.booleans())
def test_a_number_and_its_unit_are_read_exactly(
    unit: tuple[Quantity, str, int], whole: int, thousandths: int, lower: bool
) -> None:
    kind, name, size = unit
    text = f"{whole}.{thousandths:03}{name.lower() if lower else name}"
    expected = math.ceil(Fraction(whole * 1000 + thousandths, 1000) * size)
    if expected <= LARGEST[kind]:
        assert read(kind, text) == expected
        assert read(kind, f"{whole}{name}") == whole * size
    else:
        with pytest.raises(click.BadParameter):
            read(kind, text)


@given(st.sampled_from([DURATION, SIZE]), st.text(max_size=12))
def test_any_text_is_a_positive_value_or_one_line(kind: Quantity, text: str) -> None:
    try:
        result = f"{read(kind, text)}"
    except click.BadParameter as error:
        result = error.message
    (line,) = result.splitlines()
    assert "allowed: a number above 0 and its unit" in line or 0 < int(line) <= LARGEST[kind]


@pytest.mark.parametrize(
    "text", ["", "0s", "0.0h", "-1m", "nan", "inf", "1e3s", "10", "m", "10x", "366d", "9" * 400 + "s"]
)
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"allowed: .*\(s, m, h, d\), such as 10m, up to 365 d$"):
        read(DURATION, text)


@pytest.mark.parametrize("option", ["--keep", "--idle", "--max-memory", "--keep-images"])
def test_an_option_of_the_service_that_cannot_be_used_is_one_line(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in ("0", "-1", "many", "10 fortnights"):
        line = refused("serve", tmp_path, option, value, capsys=capsys)
        assert option in line


@pytest.mark.parametrize("option", ["--keep", "--idle", "--max-memory", "--keep-images"])
def test_ray_serve_has_no_such_options(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "o such option" in refused("ray-config", tmp_path, option, "1", capsys=capsys)

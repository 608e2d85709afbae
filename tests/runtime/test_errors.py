"""Errors and warnings: what a message offers, and which class each has."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from triptych.runtime import errors
from triptych.runtime.errors import ArgumentError, SamplerError, TriptychError, TriptychWarning, lookup, nearest, shown

REPOSITORY = Path(__file__).parents[2]
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, TriptychError | TriptychWarning)
}


def test_lookup_gives_the_value_or_names_that_are_near() -> None:
    table = {"alpha": 1, "beta": 2}
    assert lookup(table, "beta", "letter") == 2
    with pytest.raises(ArgumentError, match=r"unknown letter 'alhpa'; did you mean alpha\?"):
        lookup(table, "alhpa", "letter")
    with pytest.raises(SamplerError, match="unknown letter 'x'; allowed: alpha, beta"):
        lookup(table, "x", "letter", SamplerError)


def test_nearest_ignores_the_case_and_spells_names_as_they_are() -> None:
    assert nearest("cudaexecutionprovider", ["CUDAExecutionProvider"]) == "did you mean CUDAExecutionProvider?"


class Unwritable:
    def __repr__(self) -> str:
        raise KeyError


@given(st.text() | st.lists(st.text()) | st.binary())
@example(10**5000)  # Python writes no number of so many digits
@example([Unwritable()])
def test_any_value_is_shown_in_one_short_line(value: Any) -> None:
    assert len(shown(value).splitlines()) == 1
    assert len(shown(value)) < 120


def test_every_class_is_drawn_in_the_hierarchy() -> None:
    assert errors.__doc__ is not None
    assert [name for name in CLASSES if name not in errors.__doc__] == []


@pytest.mark.parametrize("package", ["runtime", "export"])
def test_every_warning_has_a_class_of_its_own(package: str) -> None:
    found = [
        (file.name, [ast.unparse(argument) for argument in node.args[1:]])
        for file in (REPOSITORY / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn"
    ]
    assert found or package == "export"
    assert [(name, classes) for name, classes in found if not CLASSES.keys() & classes] == []

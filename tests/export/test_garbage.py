"""Garbage collections of an export: what was there before is left out, and nothing is lost."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from triptych.export.garbage import set_aside


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _only_explicit_collections() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_garbage_made_inside_is_collected_there_and_older_garbage_afterwards() -> None:
    older = weakref.ref(_Cycle())
    with set_aside():
        newer = weakref.ref(_Cycle())
        gc.collect()
        assert newer() is None
        assert older() is not None
    gc.collect()
    assert older() is None


def test_an_error_inside_ends_it() -> None:
    older = weakref.ref(_Cycle())
    with pytest.raises(ValueError, match="inside"), set_aside():
        raise ValueError("inside")
    gc.collect()
    assert older() is None

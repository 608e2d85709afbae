"""Values of numpy, PyTorch and others become plain ones, or raise ValueError and nothing else."""

from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from triptych.runtime import plain


def _name(value: object) -> str:
    """The same name in every process: an object's own has its address."""
    return type(value).__name__ if type(value).__repr__ is object.__repr__ else repr(value)


class Level(IntEnum):
    HIGH = 7


class Tensor:
    """A tensor that numpy cannot read as it is, as one of PyTorch in bfloat16."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("unsupported type")

    def detach(self) -> "Tensor":
        return self

    cpu = detach

    def float(self) -> np.ndarray:
        return np.array(self.values, np.float64)


class Failing:
    """A value of which every property fails."""

    @property
    def ndim(self) -> int:
        return 0

    def __index__(self) -> int:
        raise RuntimeError("on another device")

    __float__ = __index__


@pytest.mark.parametrize("value", [7, np.int64(7), np.uint8(7), np.array(7), Level.HIGH])
def test_whole_numbers(value: Any) -> None:
    assert plain.whole(value) == 7
    assert type(plain.whole(value)) is int
    assert type(plain.real(value)) is int


@pytest.mark.parametrize(
    "value", [0.5, np.float32(0.5), np.float16(0.5), np.array(0.5), Decimal("0.5"), Fraction(1, 2)]
)
def test_real_numbers(value: Any) -> None:
    assert plain.real(value) == 0.5
    assert type(plain.real(value)) is float
    with pytest.raises(ValueError, match="not a"):
        plain.whole(value)


NO_NUMBERS = [
    True,
    np.True_,
    "7",
    b"7",
    np.str_("7"),
    None,
    [7],
    np.array([7]),
    1j,
    np.complex64(1),
    Failing(),
    object(),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=_name)
def test_values_that_are_no_numbers(value: Any) -> None:
    for convert in (plain.whole, plain.real):
        with pytest.raises(ValueError, match="not a"):
            convert(value)


def test_texts_and_lists() -> None:
    assert type(plain.text(np.str_("fox"))) is str
    for value in ([1, 2], (1, 2), range(1, 3), np.array([1, 2])):
        assert plain.listed(value) == [1, 2]
    other: Any
    for other in ("fox", b"fox", {1, 2}, {}, np.zeros((2, 2)), range(10**12), 3):
        assert not plain.is_listed(other)


@pytest.mark.parametrize("value", [Tensor([1, 2]), [1, 2], np.array([1, 2], np.float16), (np.int8(1), 2.0)])
def test_arrays(value: Any) -> None:
    converted = plain.array(value)
    assert converted.dtype == np.float32
    assert converted.tolist() == [1, 2]


@pytest.mark.parametrize("value", ["fox", [True], [1j], [[1], [2, 3]], object(), ["1"]], ids=_name)
def test_values_that_are_no_arrays(value: Any) -> None:
    with pytest.raises(ValueError, match="not a"):
        plain.array(value)


def test_values_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    assert plain.whole(torch.tensor(7)) == 7
    assert plain.real(torch.tensor(0.5)) == 0.5
    assert [plain.whole(each) for each in plain.listed(torch.tensor([1, 2]))] == [1, 2]
    for value in (torch.tensor(7.0), torch.tensor(True), torch.tensor([7]), torch.Generator()):
        with pytest.raises(ValueError, match="not a"):
            plain.whole(value)
    latents = torch.ones(1, 2, requires_grad=True).bfloat16()
    assert plain.array(latents).tolist() == [[1, 1]]


def test_values_of_json() -> None:
    value = {"flag": np.True_, "order": np.int64(3), "name": np.str_("x"), "betas": np.array([0.5]), "none": None}
    assert plain.json_object(value) == {"flag": True, "order": 3, "name": "x", "betas": [0.5], "none": None}
    wrong: Any
    for wrong in ([], {3: 4}, {"a": object()}, {"a": b"b"}):
        with pytest.raises(ValueError, match="not a"):
            plain.json_object(wrong)

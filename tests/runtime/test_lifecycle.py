"""A pipeline from load to close: sessions are freed at once, and a closed one says that it is closed."""

import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.packages import linked
from triptych.runtime import TextToImage
from triptych.runtime.errors import ArgumentError

CLOSED = "is closed; load the package again with TextToImage.load"


def test_leaving_the_block_frees_the_sessions(package: Path) -> None:
    with TextToImage.load(package, device="cpu") as pipe:
        pipe("a fox", num_inference_steps=1, seed=0)
        graphs = [weakref.ref(graph) for graph in pipe._graphs.loaded.values()]
        assert len(graphs) == 3
    assert [graph() for graph in graphs] == [None] * 3
    pipe.close()
    with pytest.raises(ArgumentError, match=CLOSED), pipe:
        pass


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize(
    "use",
    [
        lambda pipe: pipe("a fox"),
        lambda pipe: pipe.stream("a fox"),
        lambda pipe: pipe.encode(["a fox"]),
        lambda pipe: pipe.decode(np.zeros((1, 4, 8, 8), np.float32)),
    ],
    ids=["call", "stream", "encode", "decode"],
)
def test_a_closed_pipeline_says_so(package: Path, memory: str, use: Callable[[TextToImage], object]) -> None:
    pipe = TextToImage.load(package, device="cpu", memory=memory)
    pipe.close()
    with pytest.raises(ArgumentError, match=CLOSED) as error:
        use(pipe)
    assert str(package) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stream_ends_when_its_pipeline_is_closed(package: Path) -> None:
    pipe = TextToImage.load(package, device="cpu")
    stream = pipe.stream("a fox", num_inference_steps=3, seed=0)
    next(stream)
    pipe.close()
    with pytest.raises(ArgumentError, match=CLOSED):
        next(stream)


def test_a_pipeline_is_described_by_its_package_and_where_it_runs(package: Path, tmp_path: Path) -> None:
    pipe = TextToImage.load(package, device="cpu", memory="low")
    described = f"<TextToImage {str(package)!r}: family={pipe.family.name}, device=cpu, memory=low, precision=fp32"
    assert repr(pipe) == f"{described}>"
    pipe.close()
    assert repr(pipe) == f"{described}, closed>"
    other = TextToImage.load(linked(package, tmp_path / "other"), device="cpu")
    assert repr(other).endswith("memory=fast>")

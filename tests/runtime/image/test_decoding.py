"""Decoding in tiles: every pixel is covered, and the image is that of the whole decoder."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.runtime.errors import NumericalError
from triptych.runtime.image.decoding import OVERLAP, TILE, decode, decode_in_tiles, spans
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.session import Graph

SEAMS_DB = 35  # of pixels, tiled against whole
WEIGHTS_TOLERANCE = 1e-6
FACTOR = 8


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Random side, tile, overlap and factor."""
    tile = draw(st.integers(1, 40))
    return draw(st.integers(1, 200)), tile, draw(st.integers(0, tile - 1)), draw(st.integers(1, 8))


@given(layout=layouts())
def test_every_pixel_is_covered_and_its_weights_sum_to_1(layout: tuple[int, int, int, int]) -> None:
    side, tile, overlap, factor = layout
    total, placed = np.zeros(side * factor), spans(side, tile, overlap, factor)
    for start, weights in placed:
        assert len(weights) == min(side, tile) * factor
        assert (weights >= 0).all()
        total[start * factor : start * factor + len(weights)] += weights
    np.testing.assert_allclose(total, 1, atol=WEIGHTS_TOLERANCE)
    starts = [start for start, _ in placed]
    assert starts[0] == 0
    assert starts[-1] + tile >= side
    assert all(before + tile - after >= overlap for before, after in pairwise(starts))


@given(side=st.integers(TILE + 1, 512))
def test_there_are_no_more_tiles_than_the_overlap_needs(side: int) -> None:
    assert len(spans(side, TILE, OVERLAP, 1)) == int(np.ceil((side - OVERLAP) / (TILE - OVERLAP)))


def test_overlaps_are_blended_linearly() -> None:
    (_, first), (start, second) = spans(side=12, tile=8, overlap=4, factor=2)
    assert start == 4
    np.testing.assert_allclose(first, [*[1] * 8, *(np.arange(7.5, 0, -1) / 8)], atol=WEIGHTS_TOLERANCE)
    np.testing.assert_allclose(second, first[::-1], atol=WEIGHTS_TOLERANCE)


@pytest.fixture(scope="module")
def decoder(package: Path) -> Graph:
    return Graph(package / "vae_decoder" / "model.onnx", open_device("cpu"), "vae_decoder")


def psnr(actual: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 pixels, dB."""
    return float(10 * np.log10(255**2 / np.mean((actual.astype(float) - expected) ** 2)))


def latents(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32) / np.float32(0.18215)


@pytest.mark.parametrize(("height", "width"), [(40, 56), (33, 32), (16, 61)])
def test_tiles_give_the_image_of_the_whole(decoder: Graph, height: int, width: int) -> None:
    given_latents = latents(2, 4, height, width)
    whole = decode(decoder, given_latents)
    tiled = decode_in_tiles(decoder, given_latents, FACTOR, tile=32, overlap=8)
    assert tiled.shape == whole.shape == (2, height * FACTOR, width * FACTOR, 3)
    assert not np.array_equal(tiled, whole), "nothing was divided"
    assert psnr(tiled, whole) >= SEAMS_DB


def test_an_image_no_larger_than_a_tile_is_the_same_to_the_bit(decoder: Graph) -> None:
    small = latents(2, 4, 16, 24)
    np.testing.assert_array_equal(decode_in_tiles(decoder, small, FACTOR, tile=24, overlap=8), decode(decoder, small))


def test_a_graph_of_fixed_shapes_is_its_own_tile(static_package: Path) -> None:
    graph = Graph(static_package / "vae_decoder" / "model.onnx", open_device("cpu"), "vae_decoder")
    _, _, height, width = graph.inputs["latent_sample"].shape
    assert (height, width) == (18, 14)
    assert decode_in_tiles(graph, latents(1, 4, 30, 14), FACTOR, overlap=4).shape == (1, 240, 112, 3)


class Constant:
    """A decoder that gives the same pixel everywhere, and counts the shapes that it is called with."""

    name = "vae_decoder"

    def __init__(self, value: float) -> None:
        self.value, self.seen = value, set[tuple[int, ...]]()
        self.inputs: Any = {"latent_sample": type("Input", (), {"shape": ("n", 4, "h", "w")})}

    def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        n, _, height, width = arrays["latent_sample"].shape
        self.seen.add((height, width))
        return {"sample": np.full((n, 3, height * FACTOR, width * FACTOR), self.value, np.float32)}


def test_all_tiles_have_one_size_and_leave_no_trace() -> None:
    flat: Any = Constant(0.25)
    pixels = decode_in_tiles(flat, latents(1, 4, 100, 131), FACTOR)
    assert flat.seen == {(TILE, TILE)}
    assert np.unique(pixels).tolist() == [round(255 * (0.25 / 2 + 0.5))]


@pytest.mark.parametrize("how", [lambda d, z: decode(d, z), lambda d, z: decode_in_tiles(d, z, FACTOR)])
def test_nan_is_named(how: Any) -> None:
    with pytest.raises(NumericalError, match="vae_decoder gave NaN or infinity"):
        how(Constant(np.nan), latents(1, 4, 80, 16))

"""The streams equal PyTorch's: on CPU compared with it, on CUDA with values that others' GPUs have printed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.runtime.errors import ArgumentError
from triptych.runtime.noise import TorchCUDA, noise_source, philox4x32_10

TOLERANCE = 5e-7  # absolute; a float32 between 4 and 8 has steps of 4.8e-7
IN_FLOAT64 = 1e-6  # absolute, of values computed in float64 where cuRAND rounds its uniforms and angles to float32
PRINTED = 6e-5  # of values that were printed with four decimals
KINDS = ("torch", "torch_cuda", "numpy")

seeds = st.integers(-(2**63), 2**64 - 1)
shapes = st.one_of(
    st.integers(0, 70).map(lambda size: (size,)),
    st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 13), st.integers(1, 13)),
)


def torch_generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


@settings(max_examples=200, deadline=None)
@given(seed=seeds, draws=st.lists(shapes, min_size=1, max_size=6))
def test_draws_in_a_row_equal_those_of_torch(seed: int, draws: list[tuple[int, ...]]) -> None:
    generator, source = torch_generator(seed), noise_source("torch", seed)
    for shape in draws:
        ours = source.randn(shape)
        assert ours.shape == shape
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, torch.randn(shape, generator=generator).numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", [0, -1, 2**32, 2**63, 2**64 - 1, -(2**63)])
def test_the_first_and_last_seeds_equal_torch(seed: int) -> None:
    for size in (3, 35, 4 * 64 * 64):
        expected = torch.randn(size, generator=torch_generator(seed)).numpy()
        np.testing.assert_allclose(noise_source("torch", seed).randn((size,)), expected, rtol=0, atol=TOLERANCE)


def test_the_spare_normal_of_a_small_draw_outlives_large_and_empty_ones() -> None:
    """PyTorch keeps the second normal of a pair through draws that have no use for it."""
    generator, source = torch_generator(5), noise_source("torch", 5)
    for size in (3, 0, 40, 1, 2, 16, 0, 15):
        expected = torch.randn(size, generator=generator).numpy()
        np.testing.assert_allclose(source.randn((size,)), expected, rtol=0, atol=TOLERANCE)


def test_the_far_tails_equal_torch() -> None:
    size = 2_000_003
    expected = torch.randn(size, generator=torch_generator(8)).numpy()
    assert np.abs(expected).max() > 5
    np.testing.assert_allclose(noise_source("torch", 8).randn((size,)), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_float16_is_the_float32_draw_rounded(kind: str) -> None:
    for shape in ((5,), (1, 4, 5, 7), (2, 4, 8, 8)):
        half = noise_source(kind, 9).randn(shape, np.float16)
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half, noise_source(kind, 9).randn(shape).astype(np.float16))


@pytest.mark.parametrize("shape", [(7,), (1, 4, 24, 40)])
def test_float16_equals_diffusers_on_cpu(shape: tuple[int, ...]) -> None:
    """For fewer than 16 values and multiples of 16; PyTorch's float16 tail differs from its own float32 tail."""
    from diffusers.utils.torch_utils import randn_tensor

    theirs = randn_tensor(shape, torch_generator(11), torch.device("cpu"), torch.float16).numpy()
    ours = noise_source("torch", 11).randn(shape, np.float16)
    steps = np.abs(ours.view(np.int16).astype(int) - theirs.view(np.int16).astype(int))
    assert steps.max() <= 1  # where 1e-7 falls across a rounding boundary
    assert (steps == 0).mean() > 0.99


# Random123 1.14.0, tests/kat_vectors: counter, key, result
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_answers(counter: list[int], key: list[int], expected: list[int]) -> None:
    words = philox4x32_10(tuple(np.array([word], np.uint64) for word in counter), (key[0], key[1]))
    assert [int(word[0]) for word in words] == expected


def test_cuda_equals_the_values_that_other_reimplementations_pin() -> None:
    """torch.manual_seed(0); torch.randn(3, 4, device="cuda"), as in stable-diffusion-webui's rng_philox."""
    expected = [
        [-0.92466259, -0.42534415, -2.6438457, 0.14518388],
        [-0.12086647, -0.57972564, -0.62285122, -0.32838709],
        [-1.07454231, -0.36314407, -1.67105067, 2.26550497],
    ]
    np.testing.assert_allclose(noise_source("torch_cuda", 0).randn((3, 4)), expected, rtol=0, atol=IN_FLOAT64)


def test_cuda_draws_in_a_row_equal_those_of_a_gpu() -> None:
    """torch.manual_seed(42), then six times torch.randn(4, device="cuda"): the offset moves on by four each time."""
    expected = [
        [0.1940, 2.1614, -0.1721, 0.8491],
        [0.1391, -0.1082, -0.7174, 0.7566],
        [-0.5187, 1.2268, 0.6255, -0.9117],
        [-0.6974, -1.8688, -0.8832, -1.6627],
        [-1.2682, -0.0383, -0.1029, 1.4400],
        [1.4640, -0.3238, 0.7740, 1.5892],
    ]
    source = noise_source("torch_cuda", 42)
    ours = [source.randn((4,)) for _ in expected]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=PRINTED)


@pytest.mark.parametrize(
    ("threads", "last"),
    [(132 * 2048, [-0.6970, -0.7780, 0.3267]), (108 * 2048, [0.1549, -0.6797, -0.1656])],
    ids=["H100", "A100"],
)
def test_cuda_beyond_one_wave_equals_two_gpus(threads: int, last: list[float]) -> None:
    """Seed 1, torch.randn(1, 49 * 12 * 112 * 144, device="cuda"), from PyTorch's issue 143086."""
    values = TorchCUDA(1, threads).randn((1, 49 * 12 * 112 * 144))[0]
    np.testing.assert_allclose(values[:3], [-0.2963, 2.6764, -0.1408], rtol=0, atol=PRINTED)
    np.testing.assert_allclose(values[-3:], last, rtol=0, atol=PRINTED)


def test_cuda_beyond_one_wave_equals_a_small_gpu() -> None:
    """Seed 42, torch.randn([1, 64, 2048], device="cuda"), from PyTorch's issue 158398; the device has 28 x 1536."""
    values = TorchCUDA(42, 28 * 1536).randn((1, 64, 2048))[0]
    expected = {
        0: [0.1940, 2.1614, -0.1721, 1.4540, -2.7733, -0.8932],
        1: [-0.4574, 0.8063, 0.1580, 0.1124, 0.2769, -1.2535],
        -3: [-0.4861, 0.3358, 1.0578, -0.7282, 0.5087, 0.1318],
        -1: [-1.2356, -0.4083, -0.4695, -0.4841, 1.2850, -0.0282],
    }
    for row, six in expected.items():
        np.testing.assert_allclose(np.r_[values[row, :3], values[row, -3:]], six, rtol=0, atol=PRINTED)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, first=st.integers(0, 3000), second=st.integers(1, 3000))
def test_a_cuda_draw_uses_up_whole_blocks_of_every_thread(seed: int, first: int, second: int) -> None:
    """On a device of 256 threads, 1024 values a block: the second draw starts at a multiple of 1024 of the stream."""
    source = TorchCUDA(seed, 256)
    stream = TorchCUDA(seed, 256).randn((1024 * 6,))
    np.testing.assert_array_equal(source.randn((first,)), stream[:first])
    start = -(-first // 1024) * 1024
    np.testing.assert_array_equal(source.randn((second,)), stream[start : start + second])


def test_numpy_is_numpys_own() -> None:
    expected = np.random.Generator(np.random.PCG64(3)).standard_normal((2, 5), dtype=np.float32)
    np.testing.assert_array_equal(noise_source("numpy", 3).randn((2, 5)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_negative_seed_is_its_64_bits(kind: str) -> None:
    np.testing.assert_array_equal(noise_source(kind, -7).randn((20,)), noise_source(kind, 2**64 - 7).randn((20,)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_beyond_64_bits_is_refused(kind: str, seed: int) -> None:
    with pytest.raises(ArgumentError, match=r"64 bits; allowed: -2\*\*63 to 2\*\*64 - 1"):
        noise_source(kind, seed)


def test_what_is_not_supported_is_refused_by_name() -> None:
    with pytest.raises(ArgumentError, match="'tourch'; did you mean torch"):
        noise_source("tourch", 0)
    with pytest.raises(ArgumentError, match="float64 is not supported; allowed: float32, float16"):
        noise_source("torch", 0).randn((2,), np.float64)
    with pytest.raises(ArgumentError, match="threads is 100; it must be a positive multiple of 256"):
        TorchCUDA(0, 100)

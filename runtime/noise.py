"""Random streams of PyTorch, reproduced in numpy up to the last digits of a float32.

Each source is one generator: draws in a row continue its stream as they do in PyTorch, so the shapes of the
draws are part of the result. All draw in float32 and round once at the end for float16. That is what
`torch.randn(..., dtype=torch.float16)` gives on CUDA, and on CPU for fewer than 16 values and for multiples of 16, as
latents of even sizes are. For other sizes PyTorch's CPU generator (2.13) skips uniforms in float16 that it draws in
float32, and its tail differs; here a seed means the same image in both precisions.

Sources: Matsumoto and Nishimura 1998 (MT19937); Box and Muller 1958; Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3" (Philox4x32-10); the cuRAND guide for how a state maps to counter and key.
"""

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import ArgumentError, lookup

if TYPE_CHECKING:
    from numpy.typing import DTypeLike  # slow to import

_BLOCK = 256  # threads in a block of PyTorch's random kernels
_H200_THREADS = 132 * 2048  # multiprocessors, threads each keeps resident
_WORD = np.uint64(0xFFFFFFFF)
_PARALLEL = 1e-6  # angle in radians below which linear interpolation is used


class NoiseSource(Protocol):
    """A generator of unit Gaussian noise."""

    def randn(self, shape: tuple[int, ...], dtype: "DTypeLike" = np.float32) -> np.ndarray:
        """The next values of the stream; `dtype` is float32 or float16."""


class TorchCPU:
    """The stream of `torch.Generator("cpu").manual_seed(seed)`, equal within 5e-7."""

    _GROUP = 16  # from this many values on, PyTorch works in whole groups and in single precision

    def __init__(self, seed: int) -> None:
        # numpy's legacy seeding is the reference MT19937, as PyTorch's is; PyTorch uses the low 32 bits alone
        self._engine = np.random.RandomState(_unsigned(seed) & 0xFFFFFFFF)
        self._spare: float | None = None

    def randn(self, shape: tuple[int, ...], dtype: "DTypeLike" = np.float32) -> np.ndarray:
        """The next values of `torch.randn(shape, generator=generator)`; `dtype` is float32 or float16."""
        dtype = _checked(dtype)
        size = math.prod(shape)
        values = self._few(size) if size < self._GROUP else self._many(size)
        return values.astype(dtype).reshape(shape)

    def _words(self, count: int) -> np.ndarray:
        """The next `count` outputs of the engine, uint32."""
        return self._engine.randint(0, 1 << 32, size=count, dtype=np.uint32)

    def _few(self, size: int) -> np.ndarray:
        """Pairs in double precision; a value too many is kept for the next small draw."""
        kept = [] if self._spare is None or size == 0 else [self._spare]
        pairs = (size - len(kept) + 1) // 2
        high, low = self._words(4 * pairs).astype(np.uint64).reshape(-1, 2).T
        uniform = ((high << np.uint64(32) | low) & np.uint64((1 << 53) - 1)) * 2.0**-53
        angle, radius = 2 * np.pi * uniform[0::2], np.sqrt(-2 * np.log1p(-uniform[1::2]))
        drawn = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
        values = np.concatenate([kept, drawn])
        if size:
            self._spare = float(values[size]) if len(values) > size else None
        return values[:size]

    def _many(self, size: int) -> np.ndarray:
        """Groups of 16 uniforms: 8 radii, 8 angles. If 16 does not divide the size, the last 16 are drawn again."""
        uniform = self._uniform(size)
        tail = size % self._GROUP
        values = np.empty(size, np.float32)
        values[: size - tail] = self._box_muller(uniform[: size - tail])
        if tail:
            values[-self._GROUP :] = self._box_muller(self._uniform(self._GROUP))
        return values

    def _uniform(self, count: int) -> np.ndarray:
        """Float32 in [0, 1), 24 bits each: what a float32 holds exactly."""
        return (self._words(count) & np.uint32((1 << 24) - 1)).astype(np.float32) * np.float32(2.0**-24)

    def _box_muller(self, uniform: np.ndarray) -> np.ndarray:
        groups = uniform.reshape(-1, 2, self._GROUP // 2)
        # 1 - u is in (0, 1]: its logarithm is finite
        return np.stack(_polar(np.float32(1) - groups[:, 0], np.float32(2 * np.pi) * groups[:, 1]), axis=1).ravel()


class TorchCUDA:
    """The stream of `torch.Generator("cuda").manual_seed(seed)`: Philox4x32-10, one subsequence per GPU thread.

    Equal within 1e-5, which no GPU has confirmed yet: cuRAND takes sine and cosine from the GPU's fast instruction
    (`__sincosf`), whose absolute error is up to 2**-21.2 for angles up to pi and larger beyond (CUDA C++ Programming
    Guide, intrinsic functions), and multiplies them with a radius of up to 6.8. Here both are exact.

    Up to `threads` values, each thread gives one, and all devices agree. Beyond, each thread gives several and the
    layout is that of a device with this many resident threads: its multiprocessors times the threads that each holds,
    108 x 2048 for an A100, 128 x 1536 for an RTX 4090, 132 x 2048 (the default) for an H100 SXM or H200.
    """

    def __init__(self, seed: int, threads: int = _H200_THREADS) -> None:
        if threads <= 0 or threads % _BLOCK:
            raise ArgumentError(f"threads is {threads}; it must be a positive multiple of {_BLOCK}")
        self._seed = _unsigned(seed)
        self._threads = threads
        self._block = 0  # blocks of four words that every subsequence has given so far

    def randn(self, shape: tuple[int, ...], dtype: "DTypeLike" = np.float32) -> np.ndarray:
        """The next values of `torch.randn(shape, device="cuda", generator=generator)`; float32 or float16."""
        dtype = _checked(dtype)
        size = math.prod(shape)
        if size == 0:
            return np.empty(shape, dtype)
        threads = min(self._threads, -(-size // _BLOCK) * _BLOCK)
        rounds = -(-size // (4 * threads))
        # value = 4 * threads * round + threads * lane + thread; threads and lanes that give none are not computed
        values = np.concatenate(
            [self._round(index, min(threads, size), min(4, -(-size // threads))) for index in range(rounds)]
        )
        self._block += rounds
        return values[:size].astype(dtype).reshape(shape)

    def _round(self, index: int, threads: int, lanes: int) -> np.ndarray:
        """Float32 [lanes * threads]: one block of every thread, lane by lane."""
        block, thread = self._block + index, np.arange(threads, dtype=np.uint64)
        zero = np.zeros_like(thread)
        counter = (zero + np.uint64(block & 0xFFFFFFFF), zero + np.uint64(block >> 32), thread, zero)
        words = philox4x32_10(counter, (self._seed & 0xFFFFFFFF, self._seed >> 32))
        pairs = (words[:2], words[2:])[: -(-lanes // 2)]
        normals = [normal for pair in pairs for normal in _curand_box_muller(*pair)]
        return np.concatenate(normals[:lanes])


class NumPy:
    """The stream of `numpy.random.Generator(numpy.random.PCG64(seed)).standard_normal(dtype=float32)`."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(_unsigned(seed)))

    def randn(self, shape: tuple[int, ...], dtype: "DTypeLike" = np.float32) -> np.ndarray:
        """The next values; `dtype` is float32 or float16."""
        dtype = _checked(dtype)
        return self._generator.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)


SOURCES: dict[str, type[TorchCPU] | type[TorchCUDA] | type[NumPy]] = {
    "torch": TorchCPU,
    "torch_cuda": TorchCUDA,
    "numpy": NumPy,
}


def noise_source(kind: str, seed: int) -> NoiseSource:
    """A new generator: `kind` is torch (PyTorch's on CPU), torch_cuda (PyTorch's on CUDA) or numpy.

    `seed` is what PyTorch takes: 64 bits, and a negative one stands for itself plus 2**64.

    Raises:
        ArgumentError: an unknown kind, or a seed of more than 64 bits.
    """
    return lookup(SOURCES, kind, "noise source")(seed)


def slerp(first: np.ndarray, second: np.ndarray, share: float, axes: tuple[int, ...]) -> np.ndarray:
    """Spherical interpolation (Shoemake 1985): along the arc between two vectors, or arrays of vectors.

    The result for Gaussian noise has the norm of Gaussian noise; linear interpolation gives a smaller norm.

    Args:
        first: the result for `share` 0.
        second: the result for `share` 1, of the same shape.
        share: position between the two.
        axes: axes of one vector.
    """
    one, other = first.astype(np.float64), second.astype(np.float64)
    lengths = [np.sqrt((each**2).sum(axes, keepdims=True)) for each in (one, other)]
    product = np.maximum(lengths[0] * lengths[1], np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip((one * other).sum(axes, keepdims=True) / product, -1, 1))
    sine = np.where(angle < _PARALLEL, 1, np.sin(angle))
    of_first = np.where(angle < _PARALLEL, 1 - share, np.sin((1 - share) * angle) / sine)
    of_second = np.where(angle < _PARALLEL, share, np.sin(share * angle) / sine)
    return (of_first * one + of_second * other).astype(np.float32)


def philox4x32_10(counter: tuple[np.ndarray, ...], key: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Ten rounds of Philox (Salmon et al. 2011, section 4.3) on many counters at once.

    Args:
        counter: four uint64 arrays of one shape that hold 32-bit words, least significant word first.
        key: two 32-bit words.

    Returns:
        Four uint64 arrays of 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        even, odd = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = odd >> np.uint64(32) ^ c1 ^ np.uint64(k0), odd & _WORD
        c2, c3 = even >> np.uint64(32) ^ c3 ^ np.uint64(k1), even & _WORD
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def _curand_box_muller(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cuRAND's two float32 normals of two words: sine first; uniforms at the middle of their steps, never zero."""
    # float32 operands, float64 arithmetic, one rounding: the GPU's fused multiply-add
    step, turn = np.float64(2.0**-32), np.float64(np.float32(2.0**-32 * 2 * np.pi))
    uniform = (first.astype(np.float32) * step + step / 2).astype(np.float32)
    angle = (second.astype(np.float32) * turn + turn / 2).astype(np.float32)
    cosine, sine = _polar(uniform, angle)
    return sine, cosine


def _polar(uniform: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box and Muller's normals, float32, with cosine and with sine, of float32 uniforms in (0, 1] and angles.

    The arguments are rounded as PyTorch rounds them. The functions of them are not: in float64 only PyTorch's own
    rounding is left between its values and these, and numpy gives the same ones on every machine.
    """
    radius, angle = np.sqrt(-2 * np.log(uniform.astype(np.float64))), angle.astype(np.float64)
    return (radius * np.cos(angle)).astype(np.float32), (radius * np.sin(angle)).astype(np.float32)


def _unsigned(seed: int) -> int:
    """The seed's 64 bits as PyTorch reads them."""
    if not -(1 << 63) <= seed < 1 << 64:
        raise ArgumentError(f"seed {seed} has more than 64 bits; allowed: -2**63 to 2**64 - 1")
    return seed % (1 << 64)


def _checked(dtype: "DTypeLike") -> np.dtype[Any]:
    if np.dtype(dtype) not in (np.float32, np.float16):
        raise ArgumentError(f"noise of type {np.dtype(dtype)} is not supported; allowed: float32, float16")
    return np.dtype(dtype)

"""Memory that calls and packages need at least, and the memory there is: what cannot fit is refused before it is tried.

All figures are careful: what is counted is there at once in every run, and all that this process could be given
counts as memory. A call that is not refused may still fail.
"""

import ctypes
import gc
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .errors import ArgumentError
from .image.decoding import TILE
from .package.graphs import DECODER
from .package.model import Model
from .plan import Plan

_FLOAT, _HALF = 4, 2  # bytes
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_UNKNOWN = 1 << 40  # bytes, where the system does not report it


def check_footprint(plan: Plan, *, on_host: bool, tiled: bool) -> None:
    """Refuse a call that cannot fit into the memory of this machine.

    Args:
        plan: of the call.
        on_host: the graphs run in the host's memory.
        tiled: the decoder runs tile by tile.

    Raises:
        ArgumentError: states the size, the estimate and the memory.
    """
    needed, available = bytes_needed(plan, on_host=on_host, tiled=tiled), bytes_available()
    if needed > available:
        count, (height, width) = plan.shape[0], plan.size
        raise ArgumentError(
            f"{count} image{'s' if count > 1 else ''} of {width}x{height} pixels need{'' if count > 1 else 's'} "
            f"{needed / 2**30:,.1f} GiB of memory or more; allowed: sizes that fit into {available / 2**30:,.1f} GiB"
        )


def bytes_needed(plan: Plan, *, on_host: bool, tiled: bool) -> int:
    """Lower bound of the peak: latents and pixels of all images, and two activations of the first layer of one.

    Args:
        plan, on_host, tiled: see `check_footprint`.
    """
    return _working(plan.model, plan.shape, on_host=on_host, tiled=tiled)


def bytes_loaded(model: Model, *, on_host: bool, memory: str) -> int:
    """Estimate of a loaded package: its weights, and the working memory of one image of its own size.

    Args:
        model: the package.
        on_host: see `check_footprint`.
        memory: policy of its graphs, see `Components`; with `low`, only the largest graph counts.
    """
    package, fast = model.package, memory == "fast"
    # The CPU computes float16 in float32; with `low` each weight is widened before its use, and freed after it
    widened = _FLOAT // _HALF if on_host and fast and package.manifest.precision == "fp16" else 1
    weights = [package.bytes_of(component) for component in package.components]
    working = _working(
        model, (1, model.latents.channels, *model.latent_size_for(None, None)), on_host=on_host, tiled=not fast
    )
    return widened * (sum if fast else max)(weights) + working


def give_back() -> None:
    """Give freed memory back to the system; what only errors of past calls hold is freed before."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # only the GNU C library keeps freed memory and has this
        ctypes.CDLL(None).malloc_trim(0)


def bytes_available() -> int:
    """Memory that this process could be given at most: free, reclaimable, swap, and its own."""
    with suppress(OSError, ValueError, KeyError):
        entries = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        free = {name.rstrip(":"): int(kib) * 1024 for name, kib, *_ in entries}
        own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return min(free["MemAvailable"] + free["SwapFree"] + own, _limit())
    with suppress(AttributeError, OSError, ValueError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN


def _working(model: Model, shape: tuple[int, int, int, int], *, on_host: bool, tiled: bool) -> int:
    """See `bytes_needed`; the shape is that of the latents, [n, C, h, w]."""
    count, channels, height, width = shape
    factor, package = model.latents.factor, model.package
    kept = 2 * _FLOAT * count * channels * height * width + 3 * count * height * width * factor**2
    if not on_host:
        return kept
    item = _HALF if package.manifest.precision == "fp16" else _FLOAT
    unet = _channels(package.config(model.family.denoiser)) * height * width
    sides = [min(side, TILE) if tiled else side for side in (height, width)]
    decoder = _channels(package.config(DECODER)) * sides[0] * sides[1] * factor**2
    return kept + 2 * item * max(unet, decoder)


def _limit() -> int:
    """The limit of a container; what it has counts, used or not."""
    with suppress(OSError, ValueError):
        return int(_CGROUP.read_text())
    return _UNKNOWN


def _channels(config: Mapping[str, object]) -> int:
    """Channels of the first layer by a component's config.json, 1 where it does not state them."""
    blocks = config.get("block_out_channels")
    return int(blocks[0]) if isinstance(blocks, list) and blocks and isinstance(blocks[0], int) else 1

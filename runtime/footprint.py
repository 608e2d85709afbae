"""Memory that a call needs at least, and the memory there is: sizes that cannot fit are refused before they are tried.

Both figures are careful: what is counted is there at once in every run, and all that this process could be given
counts as memory. A call that is not refused may still fail.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .errors import ArgumentError
from .image.decoding import TILE
from .package.graphs import DECODER
from .plan import Plan

_FLOAT, _HALF = 4, 2  # bytes
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_UNKNOWN = 1 << 40  # bytes, where the system tells nothing


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
    count, channels, height, width = plan.shape
    factor, package = plan.model.latents.factor, plan.model.package
    kept = 2 * _FLOAT * count * channels * height * width + 3 * count * height * width * factor**2
    if not on_host:
        return kept
    item = _HALF if package.manifest.precision == "fp16" else _FLOAT
    unet = _channels(package.config(plan.model.family.denoiser)) * height * width
    sides = [min(side, TILE) if tiled else side for side in (height, width)]
    decoder = _channels(package.config(DECODER)) * sides[0] * sides[1] * factor**2
    return kept + 2 * item * max(unet, decoder)


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


def _limit() -> int:
    """The limit of a container; what it has counts, used or not."""
    with suppress(OSError, ValueError):
        return int(_CGROUP.read_text())
    return _UNKNOWN


def _channels(config: Mapping[str, object]) -> int:
    """Channels of the first layer by a component's config.json, 1 where it does not tell."""
    blocks = config.get("block_out_channels")
    return int(blocks[0]) if isinstance(blocks, list) and blocks and isinstance(blocks[0], int) else 1

"""Limits of a request, and of the packages that are loaded."""

from collections.abc import Collection
from dataclasses import dataclass

MAX_CHUNKS = 8
"""Chunks of a prompt at most: each makes every step slower, and each BREAK starts a new one."""

JSON_BYTES = 1 << 20
"""Size limit of a body that is not a form; such a body holds only texts and numbers."""

KEPT_BYTES = 256 << 20
"""Size limit of all images that are kept at a URL; the help of `--keep-images` states it."""


@dataclass(frozen=True)
class Limits:
    """Largest values that the service accepts.

    Attributes:
        pixels: of an image.
        steps: of an image.
        pictures: images of a request; Ray Serve's configuration has this name.
        prompt: characters of each text.
        body: bytes of a form.
        upload_pixels: of an uploaded image, after decoding.
        timeout: seconds to read the request, and again to answer it.
    """

    pixels: int
    steps: int
    pictures: int
    prompt: int
    body: int
    upload_pixels: int
    timeout: float


@dataclass(frozen=True)
class PoolLimits:
    """Limits of the loaded packages; None means no limit.

    Attributes:
        keep: packages that are loaded at a time.
        memory: bytes of the loaded packages, by the estimate of `bytes_loaded`.
        idle: seconds after its last image until a package is unloaded.
    """

    keep: int | None = None
    memory: int | None = None
    idle: float | None = None

    def allow(self, sizes: Collection[int]) -> bool:
        """Whether packages of these sizes in bytes may be loaded at the same time."""
        return (self.keep is None or len(sizes) <= self.keep) and (self.memory is None or sum(sizes) <= self.memory)

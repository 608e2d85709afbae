"""Limits of a request."""

from dataclasses import dataclass

MAX_CHUNKS = 8
"""Chunks of a prompt at most: each makes every step slower, and each BREAK starts a new one."""

JSON_BYTES = 1 << 20
"""Size limit of a body that is not a form; such a body holds only texts and numbers."""


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

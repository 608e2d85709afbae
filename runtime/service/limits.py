"""How much one request may ask for."""

from dataclasses import dataclass

MOST_CHUNKS = 8
"""Of a prompt: a step costs more with each, and a prompt may begin one with every BREAK."""

JSON_BYTES = 1 << 20
"""Of a body that is no form; such a body holds texts and numbers alone."""


@dataclass(frozen=True)
class Limits:
    """What is allowed.

    Attributes:
        pixels: of a picture.
        steps: of a picture.
        pictures: of a request.
        prompt: characters of each text.
        body: bytes of a form.
        upload_pixels: of a picture that is sent, as it unpacks.
        timeout: seconds until the request is read, and again until it is answered.
    """

    pixels: int
    steps: int
    pictures: int
    prompt: int
    body: int
    upload_pixels: int
    timeout: float

"""Options of a service."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..errors import ArgumentError
from .limits import Limits


@dataclass(frozen=True)
class Options:
    """Options that apply both to a single process and to Ray Serve.

    Attributes:
        packages: folders of ONNX graphs; the first is the default model.
        load: arguments of `TextToImage.load`.
        limits: of each request.
        batch: maximum number of images per call; None chooses by device.
        wait: seconds that an image may wait for others, to share a call (batching).
        queue: maximum number of images in the queue of each package.
        local: without a key, accept requests from this machine only.
        without_api_key: if not local, accept requests from other machines without a key.
        api_key: key that clients must send; None if none is required.
        log_prompts: whether prompts are written to the log.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # for options that are read from a file

    packages: tuple[Path, ...]
    load: Mapping[str, Any]
    limits: Limits
    batch: int | None
    wait: float
    queue: int
    local: bool
    without_api_key: bool = False
    api_key: str | None = None
    log_prompts: bool = False

    def check_access(self) -> None:
        """Check that access from other machines is restricted or explicitly allowed.

        Raises:
            ArgumentError: the key is empty or cannot be sent, or other machines have access without a key.
        """
        if self.api_key == "":
            raise ArgumentError("the API key is empty; set a key or omit it")
        if self.api_key is not None and not (self.api_key.isprintable() and self.api_key == self.api_key.strip()):
            raise ArgumentError(
                "the API key cannot be sent in a header; allowed: printable characters, no space at its ends"
            )
        if self.api_key is None and not self.local and not self.without_api_key:
            raise ArgumentError(
                "the service would be open to other machines: set a key (--api-key or TRIPTYCH_API_KEY), or pass "
                "--without-api-key"
            )


def is_local(host: str) -> bool:
    """Check whether a host name or address is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""What a service is told when it starts."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..errors import ArgumentError
from .limits import Limits


@dataclass(frozen=True)
class Options:
    """All that holds wherever the service runs.

    Attributes:
        packages: folders of ONNX graphs; the first is for requests that name none.
        load: arguments of `TextToImage.load`.
        limits: of each request.
        batch: pictures of a call at most; None is what suits the device.
        wait: seconds that a picture may wait for company.
        queue: pictures that may wait, of each package.
        local: whether only this machine may call, where there is no key.
        without_api_key: whether, where it is not local, everybody may call.
        api_key: that callers must have, None if they need none.
        log_prompts: whether prompts may be in the log.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where they are read from a file

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
        """Whether somebody said who may call.

        Raises:
            ArgumentError: other machines could, without a key.
        """
        if self.api_key == "":
            raise ArgumentError("the API key is empty; give a key, or leave it out")
        if self.api_key is None and not self.local and not self.without_api_key:
            raise ArgumentError(
                "the service would be open to other machines: give it a key (--api-key or TRIPTYCH_API_KEY), or say "
                "--without-api-key"
            )


def is_local(host: str) -> bool:
    """Whether a name or address is this machine's own, which no other machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

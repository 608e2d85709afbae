"""PSNR of images of Triptych and its peers in other precisions against exact images.

It means something on a model with real weights only: with random weights, small errors change the whole image.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from triptych.runtime.errors import TriptychError

from ..files import write_whole
from ..machine import cpu_model
from .catalogue import Peer
from .client import Client
from .driver import SCHEDULER, Plan, image_psnr
from .figures import Report
from .work import COMPONENTS, ImageRequest, Size

ALIKE_DB = 30.0
"""PSNR below which the eye sees that it is another image."""


@dataclass(frozen=True)
class Drawing:
    """The images to compare: each prompt with seeds 0 to `seeds` - 1."""

    prompts: Sequence[str]
    seeds: int
    steps: int
    guidance_scale: float

    def requests(self, size: Size, folder: Path) -> Iterator[ImageRequest]:
        """Requests to a peer, in order; their files are in the folder."""
        for number, prompt in enumerate(self.prompts):
            for seed in range(self.seeds):
                file = str(folder / f"{number}-{seed}.npy")
                yield ImageRequest(size, self.steps, prompt, seed, self.guidance_scale, SCHEDULER, file)


def compare(plan: Plan, peers: Sequence[Peer], size: Size, drawing: Drawing, threads: int, report: Report) -> Any:
    """Compare all images of each peer with those of the first one, by PSNR in dB.

    Returns:
        {"date", "cpu", "package", "pictures", "steps", "guidance_scale", "against",
         "peers": {name: {"psnr_db": {"mean", "median", "worst"}, "below_30_db"} or {"failed": reason}}}
    """
    setting = replace(plan.setting(threads), prompts=drawing.prompts, guidance_scale=drawing.guidance_scale)
    first, *others = peers
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folders = {peer.name: Path(temporary, peer.name) for peer in peers}

        def draw(peer: Peer) -> None:
            folders[peer.name].mkdir()
            if peer.prepares:
                with Client(peer, setting, plan.timeout) as client:
                    client.ask("prepare", size=asdict(size))
            with Client(peer, setting, plan.timeout) as client:
                client.ask("load", components=COMPONENTS, size=asdict(size))
                for request in drawing.requests(size, folders[peer.name]):
                    client.ask("picture", picture=asdict(request))

        draw(first)
        for peer in others:
            try:
                draw(peer)
            except TriptychError as error:
                figures[peer.name] = {"failed": str(error)}
                report(f"{peer.name} failed: {error}")
                continue
            exact = sorted(folders[first.name].iterdir())
            decibels = [image_psnr(file, folders[peer.name] / file.name) for file in exact]
            figures[peer.name] = _summary(decibels)
            report(f"{peer.name:28} {figures[peer.name]['psnr_db']['median']:6.1f} dB")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "package": Path(plan.package).name,
        "pictures": len(drawing.prompts) * drawing.seeds,
        "steps": drawing.steps,
        "guidance_scale": drawing.guidance_scale,
        "against": first.name,
        "peers": figures,
    }


def write(path: Path, result: Any) -> None:
    """Write the result of `compare` as JSON, as a whole or not at all."""
    write_whole(path, (json.dumps(result, indent=2) + "\n").encode())


def _summary(decibels: Sequence[float]) -> dict[str, Any]:
    figures = {"mean": statistics.mean(decibels), "median": statistics.median(decibels), "worst": min(decibels)}
    return {
        "psnr_db": {name: round(value, 2) for name, value in figures.items()},
        "below_30_db": sum(value < ALIKE_DB for value in decibels),
    }

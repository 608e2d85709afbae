"""Alternating measurements: every round calls each peer once, so that a busy machine slows all alike.

Peers whose weights do not fit in memory together are measured in heats; the first peer, which is Triptych, is in every
heat, and figures are compared within a heat only.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from triptych.runtime.errors import TriptychError

from .bounds import macs_of
from .catalogue import Peer
from .client import Client, PeerError
from .environments import home
from .figures import Case, Figure, Negative, Report, Results
from .work import COMPONENTS, ImageRequest, Setting

PROMPT, SEED, GUIDANCE_SCALE = "a red fox in the snow", 7, 7.5
SCHEDULER = "euler"
WARM_UP_STEPS = 1
EQUAL_DB = 99.0  # recorded for images that are bit-identical


@dataclass(frozen=True)
class Plan:
    """Plan of a measurement.

    Attributes:
        checkpoint: folder in diffusers' layout.
        package: the same weights as plain ONNX graphs, in fp32 and of open shapes.
        rounds: number of warm calls of each peer.
        together: number of peers in memory at the same time, with the first one.
        timeout: time limit of one request in seconds.
        out: file that is rewritten with each figure; None keeps figures in memory.
    """

    checkpoint: str
    package: str
    rounds: int = 5
    together: int = 4
    timeout: float = 1800
    out: Path | None = None

    def setting(self, threads: int) -> Setting:
        """The setting of a worker with this many threads."""
        cache = home() / "cache" / Path(self.package).resolve().name
        return Setting(str(Path(self.checkpoint).resolve()), str(Path(self.package).resolve()), threads, str(cache))


def measure(plan: Plan, peers: Sequence[Peer], cases: Sequence[Case], results: Results, report: Report) -> None:
    """Measure the cases that `results` lacks, and write each figure as it comes.

    In each case, the peers without a figure are measured together with the first peer. A peer that fails in a case
    gives a negative result; the others continue.
    """
    first, *others = peers
    for case in cases:
        able = [peer for peer in others if case.what == "picture" or not peer.whole]
        missing = [peer for peer in able if not _done(results, peer, case, plan.rounds)]
        if missing or not _done(results, first, case, plan.rounds):
            for heat in _heats(first, missing, plan.together):
                report(f"{case.title}: {', '.join(peer.name for peer in heat)}")
                _measure_heat(plan, heat, case, results, report)


def _done(results: Results, peer: Peer, case: Case, rounds: int) -> bool:
    figure = results.find(peer.name, case)
    return results.failed(peer.name, case) or (figure is not None and len(figure.seconds) >= rounds)


def _heats(first: Peer, others: Sequence[Peer], together: int) -> Iterator[list[Peer]]:
    others_at_once = max(1, together - 1)
    for start in range(0, max(1, len(others)), others_at_once):
        yield [first, *others[start : start + others_at_once]]


def _measure_heat(plan: Plan, heat: Sequence[Peer], case: Case, results: Results, report: Report) -> None:
    run = datetime.now(UTC).isoformat(timespec="seconds")
    macs = macs_of(case, plan.checkpoint)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        turns: list[_Turn] = []
        for peer in heat:
            turn = _Turn(plan, peer, case, folder / f"{peer.name}.npy")
            stack.callback(turn.close)
            turns.append(turn)

        def each(do: str) -> None:
            """Call a method of every turn; a peer that fails leaves this heat."""
            for turn in list(turns):
                try:
                    getattr(turn, do)()
                except PeerError as error:
                    turns.remove(turn)
                    turn.close()
                    results.fail(Negative(turn.peer.name, str(case), str(error)))
                    report(f"{turn.peer.name} failed: {error}")

        for do in ("prepare", "load", "warm_up"):
            each(do)
        for _ in range(plan.rounds):
            each("call")
            compared = case.what == "picture" and turns and turns[0].peer == heat[0]
            reference = turns[0].file if compared else None
            for turn in turns:
                rate = results.rates.get(f"{'float32' if turn.peer.exact else 'bfloat16'}/{case.threads}")
                bound = None if macs is None or rate is None else 2 * macs / rate
                psnr = None if reference is None or turn is turns[0] else image_psnr(reference, turn.file)
                results.add(replace(turn.figure(run), macs=macs, bound_seconds=bound, psnr_db=psnr))
            if plan.out is not None:
                results.write(plan.out)
        for turn in turns:
            report(f"{turn.peer.name:28} {turn.figure(run).median:9.3f} s")
    if plan.out is not None:
        results.write(plan.out)


class _Turn:
    """One peer in one case: its process and its figures."""

    def __init__(self, plan: Plan, peer: Peer, case: Case, file: Path) -> None:
        self.plan, self.peer, self.case, self.file = plan, peer, case, file
        self.client: Client | None = None
        self.seconds: list[float] = []

    def prepare(self) -> None:
        """Let the peer prepare in a process that ends with it, so that nothing of it stays in memory."""
        self.prepare_seconds = 0.0
        if self.peer.prepares:
            self.client = self._start()
            self.prepare_seconds = self.client.ask("prepare", size=asdict(self.case.size))["seconds"]
            self.close()

    def load(self) -> None:
        """Start the process and load the components."""
        components = COMPONENTS if self.case.what == "picture" else (self.case.what,)
        self.client = self._start()
        size = asdict(self.case.size)
        self.load_seconds = self.client.ask("load", components=components, size=size)["seconds"]

    def warm_up(self) -> None:
        """Make the first call; an image is generated in a single step."""
        self.first_seconds = self._ask(WARM_UP_STEPS)

    def call(self) -> None:
        """Make a warm call."""
        self.seconds.append(self._ask(self.case.steps))
        self.peak_bytes = self._client.ask("memory")["peak_bytes"]

    def figure(self, run: str) -> Figure:
        """The figure of the calls made so far."""
        return Figure(
            peer=self.peer.name,
            case=self.case,
            run=run,
            exact=self.peer.exact,
            load_seconds=self.load_seconds,
            prepare_seconds=self.prepare_seconds,
            first_seconds=self.first_seconds,
            seconds=list(self.seconds),
            peak_bytes=self.peak_bytes,
        )

    def close(self) -> None:
        """End the process."""
        if self.client is not None:
            self.client.close()
            self.client = None

    def _start(self) -> Client:
        return Client(self.peer, self.plan.setting(self.case.threads), self.plan.timeout)

    @property
    def _client(self) -> Client:
        assert self.client is not None
        return self.client

    def _ask(self, steps: int | None) -> float:
        if self.case.what != "picture":
            size = asdict(self.case.size)
            return float(self._client.ask("call", component=self.case.what, size=size)["seconds"])
        assert steps is not None
        request = ImageRequest(self.case.size, steps, PROMPT, SEED, GUIDANCE_SCALE, SCHEDULER, str(self.file))
        return float(self._client.ask("picture", picture=asdict(request))["seconds"])


def image_psnr(reference: Path, file: Path) -> float:
    """Peak signal-to-noise ratio of two 8-bit images, in dB."""
    expected, found = (np.load(path).astype(np.float64) for path in (reference, file))
    error = float(np.mean((expected - found) ** 2))
    return EQUAL_DB if error == 0 else float(10 * np.log10(255**2 / error))


def bfloat16_rate(plan: Plan, peer: Peer, threads: int, report: Report) -> float | None:
    """FLOP/s of a large bfloat16 matrix product through a peer with PyTorch; None if it fails."""
    size = 2048
    try:
        with Client(peer, plan.setting(threads), plan.timeout) as client:
            answer: dict[str, Any] = client.ask("product", size=size, dtype="bfloat16")
    except TriptychError as error:
        report(f"no rate of bfloat16: {error}")
        return None
    return 2 * size**3 / float(answer["seconds"])

"""Order of the calls of peers, and peers that fail."""

from typing import Any, ClassVar

import numpy as np
import pytest

from triptych.benchmarks.peers import driver
from triptych.benchmarks.peers.catalogue import Peer
from triptych.benchmarks.peers.client import PeerError
from triptych.benchmarks.peers.driver import Plan, measure
from triptych.benchmarks.peers.environments import HERE
from triptych.benchmarks.peers.figures import Case, Negative, Results
from triptych.benchmarks.peers.table import as_text
from triptych.benchmarks.peers.work import Setting, Size


class FakeClient:
    """In place of a process: answers at once, and writes down who was asked for what."""

    asked: ClassVar[list[tuple[str, str]]] = []
    broken: ClassVar[tuple[str, str] | None] = None
    alive: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __init__(self, peer: Peer, setting: Setting, timeout: float) -> None:
        self.peer = peer
        FakeClient.alive += 1
        FakeClient.most = max(FakeClient.most, FakeClient.alive)

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        if (self.peer.name, do) == FakeClient.broken:
            raise PeerError("out of memory")
        FakeClient.asked.append((self.peer.name, do))
        if do == "picture":
            np.save(given["picture"]["file"], np.zeros((1, 8, 8, 3), np.uint8))
        return {"peak_bytes": 1} if do == "memory" else {"seconds": 0.5}

    def close(self) -> None:
        FakeClient.alive -= 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    FakeClient.asked, FakeClient.broken, FakeClient.alive, FakeClient.most = [], None, 0, 0
    monkeypatch.setattr(driver, "Client", FakeClient)
    monkeypatch.setattr(driver, "macs_of", lambda case, checkpoint: None)
    return FakeClient


def measured(names: str, fake: type[FakeClient], together: int, what: str = "unet") -> Results:
    peers = [Peer(name, HERE, "own", True, "") for name in names]
    results = Results(machine={}, model={})
    case = Case(what, Size(1, 64, 64), 1, 3 if what == "picture" else None)
    measure(Plan("c", "p", rounds=3, together=together), peers, [case], results, lambda _: None)
    return results


def test_the_peers_alternate_round_by_round(fake: type[FakeClient]) -> None:
    measured("abc", fake, together=3)
    calls = [name for name, do in fake.asked if do == "call"]
    assert calls == list("abc") * 4  # the first round warms up


def test_no_more_peers_are_in_memory_than_may_be(fake: type[FakeClient]) -> None:
    results = measured("abcde", fake, together=3)
    assert fake.most == 3
    calls = [name for name, do in fake.asked if do == "call"]
    assert calls == list("abc") * 4 + list("ade") * 4
    assert {figure.peer for figure in results.figures} == set("abcde")


@pytest.mark.parametrize("do", ["load", "picture", "memory"])
def test_a_peer_that_fails_is_written_down_and_the_others_go_on(fake: type[FakeClient], do: str) -> None:
    fake.broken = ("b", do)
    results = measured("abc", fake, together=3, what="picture")
    assert [figure.peer for figure in results.figures] == ["a", "c"]
    assert results.negatives == [Negative("b", "picture of 3 steps, 64x64, batch 1, 1 threads", "out of memory")]
    assert fake.alive == 0
    assert "out of memory" in as_text(results)


def test_without_the_first_peer_nothing_is_compared(fake: type[FakeClient]) -> None:
    fake.broken = ("a", "load")
    results = measured("abc", fake, together=3, what="picture")
    assert [(figure.peer, figure.psnr_db) for figure in results.figures] == [("b", None), ("c", None)]

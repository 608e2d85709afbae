"""Page of peers from invented figures."""

from pathlib import Path

import pytest

from triptych.benchmarks.peers.catalogue import PEERS
from triptych.benchmarks.peers.environments import HERE
from triptych.benchmarks.peers.figures import Figure, Negative, Results
from triptych.benchmarks.peers.stages import STAGES, cases_of
from triptych.benchmarks.peers.work import Size
from triptych.benchmarks.recorded import peers_page


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Invented figures of all stages."""
    results = Results(
        {"cpu": "a processor", "cores": 2, "memory_bytes": 2**34, "date": "2026-01-01"},
        {},
        {"float32/2": 2e11, "bfloat16/2": 8e11},
        {"openvino": {"megabytes": 300.0}, HERE: {"megabytes": None}},
    )
    for case in cases_of(STAGES, Size(1, 512, 512), 20, 2):
        for number, name in enumerate(["triptych", *PEERS]):
            base = (1 + number) * (case.steps or 1) * case.size.width / 512
            known = PEERS.get(name)
            exact = known is None or known.exact
            results.add(
                Figure(name, case, "1", exact, 1.0, 0.0, base, [base, base * 1.1, base * 1.2], 10**9, 50.0, 10**11)
            )
    results.fail(Negative("sd-cpp", "unet", "no call | of a component"))
    return results


def test_the_page_holds_every_peer_and_every_negative(
    drawn: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_page, "RESULTS", tmp_path)
    drawn.write(tmp_path / "peers-a.json")
    page = peers_page.page()
    assert all(name in page for name in PEERS)
    assert "no call \\| of a component" in page
    assert "300 MB" in page
    assert any(line.startswith("| **Triptych, triptych** | 1.10 s (1.00) | ") for line in peers_page.summary(drawn))
    lines = [line for line in page.splitlines() if line.startswith("| **triptych**")]
    assert len(lines) == len(cases_of(STAGES, Size(1, 512, 512), 20, 2))
    assert "| 1.10 s | ±9.1% | 1.00 |" in lines[0]


def test_the_plots_are_pngs(drawn: Results) -> None:
    images = peers_page.plots_of(drawn)
    assert images.keys() == {"components", "image", "scaling", "roofline"}
    assert all(image.startswith(b"\x89PNG") for image in images.values())

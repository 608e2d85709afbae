"""Names of peers, environments and stages; what cannot be compared is refused first."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import here
from triptych.benchmarks.peers import environments
from triptych.benchmarks.peers.against import compare
from triptych.benchmarks.peers.catalogue import PEERS, peers_named
from triptych.benchmarks.peers.environments import install
from triptych.benchmarks.peers.figures import read
from triptych.benchmarks.peers.stages import STAGES, cases_of
from triptych.benchmarks.peers.work import Size
from triptych.runtime.errors import ArgumentError


def test_what_cannot_be_compared_is_refused_first(
    package: Path, static_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "diffusers", here("diffusers"))
    monkeypatch.setitem(PEERS, "onnxruntime", here("onnxruntime"))
    known: dict[str, Any] = {"options": {}, "steps": 1, "json_file": None, "report": lambda _: None}
    with pytest.raises(ArgumentError, match="unknown peer 'difusers'; did you mean diffusers"):
        compare(package, ["difusers"], checkpoint=None, **known)
    with pytest.raises(ArgumentError, match="give it: --checkpoint FOLDER"):
        compare(package, ["diffusers"], checkpoint=None, **known)
    with pytest.raises(ArgumentError, match="onnxruntime runs plain graphs"):
        compare(static_package, ["onnxruntime"], checkpoint=None, **known)


def test_names_that_there_are_not() -> None:
    with pytest.raises(ArgumentError, match="did you mean openvino"):
        peers_named(["openvin"])
    with pytest.raises(ArgumentError, match="no environment torch"):
        install("torch")
    with pytest.raises(ArgumentError, match="unknown stage 'size'; did you mean sizes"):
        cases_of(["size"], Size(1, 64, 64), 1, 1)


def test_every_peer_has_an_adapter_and_an_environment() -> None:
    adapters = {path.stem for path in (Path(environments.__file__).parent / "adapters").glob("*.py")}
    assert {peer.adapter for peer in PEERS.values()} < adapters
    assert {peer.environment for peer in PEERS.values()} <= set(environments.NAMES)
    for path in environments.REQUIREMENTS.glob("*.txt"):
        assert all("==" in line for line in path.read_text().split())


def test_sweeps_share_the_case_that_they_have_in_common() -> None:
    cases = cases_of(STAGES, Size(1, 512, 512), 20, 2)
    assert len(cases) == len(set(cases)) == 3 + 1 + 4 + 3 + 1 + 2
    assert {case.size.width for case in cases} == {256, 384, 512, 768, 1024}
    assert {case.steps for case in cases} == {None, 5, 10, 20}


def test_figures_of_another_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for content in ("", "[]", "{}", '{"format": 9}'):
        file.write_text(content)
        with pytest.raises(ArgumentError, match=r"a\.json"):
            read(file)

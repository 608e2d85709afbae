"""Measurements of a tiny model, with the peers that this environment can be; no speed is asserted."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.peers import here
from triptych.benchmarks.peers.bounds import macs_of
from triptych.benchmarks.peers.catalogue import Peer, own
from triptych.benchmarks.peers.driver import Plan, measure
from triptych.benchmarks.peers.figures import Case, Results, read
from triptych.benchmarks.peers.stages import cases_of, default_size
from triptych.benchmarks.peers.table import rows

SCHEMA = Path(__file__).parents[3] / "docs" / "peers-schema.md"
SAME_IMAGE_DB = 60  # of 8-bit images: a few pixels are one off
STEPS, ROUNDS = 2, 2


@pytest.fixture(scope="module")
def plan(checkpoint: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    out = tmp_path_factory.mktemp("figures") / "peers.json"
    return Plan(str(checkpoint), str(package), ROUNDS, together=4, timeout=300, out=out)


@pytest.fixture(scope="module")
def peers(package: Path) -> list[Peer]:
    return [own("triptych", str(package)), here("diffusers"), here("onnxruntime")]


@pytest.fixture(scope="module")
def cases(package: Path) -> list[Case]:
    unet, image = cases_of(("threads", "picture"), default_size(package), STEPS, threads=1)
    return [unet, image]


@pytest.fixture(scope="module")
def results(plan: Plan, peers: list[Peer], cases: list[Case]) -> Results:
    """One run of two cases, and the order in which the peers were called."""
    results = Results(machine={"cpu": "?", "cores": 1, "memory_bytes": 1, "date": "2026"}, model={"name": "tiny"})
    results.rates["float32/1"] = 1e9
    measure(plan, peers, cases, results, report=lambda _: None)
    return results


def test_every_peer_has_all_rounds_of_every_case(results: Results, peers: list[Peer], cases: list[Case]) -> None:
    assert results.negatives == []
    assert len(results.figures) == len(peers) * len(cases)
    for figure in results.figures:
        assert len(figure.seconds) == ROUNDS
        assert min(figure.seconds) > 0
        assert figure.peak_bytes is not None
        assert figure.peak_bytes > 10e6
        assert figure.macs is not None
        assert figure.bound_seconds == pytest.approx(2 * figure.macs / 1e9)
    assert len({figure.run for figure in results.figures if figure.case == cases[0]}) == 1


def test_the_peers_draw_the_same_image(results: Results, cases: list[Case]) -> None:
    by_peer = {figure.peer: figure.psnr_db for figure in results.figures if figure.case == cases[1]}
    assert by_peer.pop("triptych") is None
    assert by_peer.keys() == {"diffusers", "onnxruntime"}
    assert all(db is not None and db > SAME_IMAGE_DB for db in by_peer.values())


def test_the_arithmetic_is_that_of_the_manifest(package: Path, checkpoint: Path) -> None:
    facts = json.loads((package / "triptych.json").read_text())["components"]
    cases = cases_of(("components", "batches"), default_size(package), STEPS, threads=1)
    for case in cases:
        rows = case.size.batch * (2 if case.what == "unet" else 1)
        assert macs_of(case, str(checkpoint)) == rows * facts[case.what]["macs"]
    image = macs_of(Case("picture", default_size(package), 1, steps=3), str(checkpoint))
    text, unet, decoder = (facts[name]["macs"] for name in ("text_encoder", "unet", "vae_decoder"))
    assert image == 2 * text + 3 * 2 * unet + decoder


def test_what_is_written_is_what_was_measured(results: Results, plan: Plan) -> None:
    assert plan.out is not None
    assert read(plan.out) == results
    content = json.loads(plan.out.read_text())
    described = set(re.findall(r"^\| `([^`]+)`", SCHEMA.read_text(), re.MULTILINE))
    found = {key for key in content if key not in ("figures", "negatives")}
    found |= {f"figures[].{key}" for figure in content["figures"] for key in figure if key != "case"}
    found |= {f"figures[].case.{key}" for figure in content["figures"] for key in figure["case"]}
    found |= {f"negatives[].{key}" for key in ("peer", "tried", "outcome")}
    assert found == described


def test_what_is_there_is_not_measured_again(
    results: Results, plan: Plan, peers: list[Peer], cases: list[Case]
) -> None:
    assert plan.out is not None
    known = read(plan.out)
    said: list[str] = []
    measure(replace(plan, out=None), peers, cases, known, said.append)
    assert said == []
    assert known == results

    known.figures = [figure for figure in known.figures if (figure.peer, figure.case) != ("onnxruntime", cases[0])]
    measure(replace(plan, out=None), peers, cases, known, said.append)
    newest = next(known.runs(cases[0]))
    assert [figure.peer for figure in newest] == ["triptych", "onnxruntime"]  # the lacking one, beside the first
    assert said[0].endswith("triptych, onnxruntime")
    assert len(rows(known, cases[0])) == len(peers)

"""The peers' harness on a tiny model, with the peers that this environment can be; no speed is asserted."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from triptych.benchmarks.checkpoints.original_layout import unet_name, vae_name
from triptych.benchmarks.peers import driver, environments, likeness
from triptych.benchmarks.peers.against import compare
from triptych.benchmarks.peers.bounds import macs_of
from triptych.benchmarks.peers.catalogue import PEERS, Peer, own, peers_named
from triptych.benchmarks.peers.client import Client, PeerError
from triptych.benchmarks.peers.driver import Plan, measure
from triptych.benchmarks.peers.environments import HERE, install, python_of
from triptych.benchmarks.peers.figures import Case, Figure, Negative, Results, read
from triptych.benchmarks.peers.stages import STAGES, cases_of, default_size
from triptych.benchmarks.peers.table import as_text, rows
from triptych.benchmarks.peers.work import Setting, Size
from triptych.benchmarks.recorded import peers_page
from triptych.runtime.errors import ArgumentError, TriptychError

SCHEMA = Path(__file__).parents[2] / "docs" / "peers-schema.md"
SAME_IMAGE_DB = 60  # of 8-bit images: a few pixels are one off
STEPS, ROUNDS = 2, 2


def here(name: str) -> Peer:
    """A peer of the catalogue in the environment of the tests."""
    return replace(PEERS[name], environment=HERE)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """No environment is made, and none that this machine may have is seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPTYCH_PEERS", str(tmp_path_factory.mktemp("peers")))
        yield


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


def test_a_worker_says_why_and_lives_on(package: Path, checkpoint: Path) -> None:
    setting = Setting(str(checkpoint), str(package), 1, "")
    size = {"batch": 1, "height": 128, "width": 128}
    with Client(here("onnxruntime"), setting, timeout=60) as client:
        with pytest.raises(PeerError, match="KeyError: 'unet'"):
            client.ask("call", component="unet", size=size)
        client.ask("load", components=["text_encoder"], size=size)
        assert client.ask("call", component="text_encoder", size=size)["seconds"] > 0
        state = Path(f"/proc/{client._process.pid}/stat").read_text().split()[2]
        assert state in ("T", "R", "S")  # on its way to being stopped
        client.timeout = 1e-4
        with pytest.raises(PeerError, match="no answer in 0 s"):
            client.ask("load", components=["unet"], size=size)


def test_a_worker_that_cannot_start_says_why(package: Path) -> None:
    setting = Setting("", str(package / "none"), 1, "")
    with pytest.raises(PeerError, match=r"ended with status 1: .*PackageError.*not a folder"):
        Client(here("onnxruntime"), setting, timeout=60)


def test_a_missing_environment_says_how_it_is_made(package: Path, checkpoint: Path) -> None:
    with pytest.raises(TriptychError, match=r"no environment openvino in .*peers install openvino") as caught:
        python_of("openvino")
    assert "\n" not in str(caught.value)
    command: list[str | Path] = [Path(sys.executable).with_name("triptych"), "bench", package, "--against", "optimum"]
    done = subprocess.run([*command, "--checkpoint", checkpoint], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no environment optimum in ")
    assert done.stderr.count("\n") == 1


def test_what_cannot_be_compared_is_refused_first(
    package: Path, static_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "diffusers", here("diffusers"))
    monkeypatch.setitem(PEERS, "onnxruntime", here("onnxruntime"))
    known: dict[str, Any] = {"options": {}, "steps": 1, "json_file": None, "report": lambda _: None}
    with pytest.raises(ArgumentError, match="no peer difusers; did you mean diffusers"):
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
    with pytest.raises(ArgumentError, match="no stage size; did you mean sizes"):
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


def test_the_images_are_images(drawn: Results) -> None:
    images = peers_page.plots_of(drawn)
    assert images.keys() == {"components", "scaling", "roofline"}
    assert all(image.startswith(b"\x89PNG") for image in images.values())


def test_names_in_the_original_layout_are_those_that_diffusers_reads(checkpoint: Path) -> None:
    """The SD 1.5 architecture's own names, there and back through diffusers' reader of single files."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    from triptych.benchmarks.checkpoints.architectures import FULL

    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**FULL["unet"]), AutoencoderKL(**FULL["vae"])
    for module, name, prefix, back in (
        (unet, unet_name, "model.diffusion_model.", convert_ldm_unet_checkpoint),
        (vae, vae_name, "first_stage_model.", convert_ldm_vae_checkpoint),
    ):
        state = module.state_dict()
        original = {prefix + name(key): tensor for key, tensor in state.items()}
        assert len(original) == len(state)
        read_back = back(original, dict(module.config))
        assert {key: tuple(tensor.shape) for key, tensor in read_back.items()} == {
            key: tuple(tensor.shape) for key, tensor in state.items()
        }


def test_figures_of_another_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for content in ("", "[]", "{}", '{"format": 9}'):
        file.write_text(content)
        with pytest.raises(ArgumentError, match=r"a\.json"):
            read(file)


def test_likeness_is_taken_image_by_image_against_the_first(
    package: Path, portable_package: Path, tmp_path: Path
) -> None:
    """By real processes: the same weights with other operators, and latents taken for others'."""
    changed = tmp_path / "changed"
    shutil.copytree(portable_package, changed, ignore=shutil.ignore_patterns("triptych.json"))
    config = json.loads((changed / "vae_decoder" / "config.json").read_text())
    (changed / "vae_decoder" / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.5}))
    gone = own("gone", str(portable_package))
    peers = [
        own("exact", str(portable_package)),
        own("same", str(package)),
        own("other", str(changed)),
        replace(gone, options={**gone.options, "package": str(tmp_path / "nowhere")}),
    ]
    drawing = likeness.Drawing(["a fox", "an owl"], seeds=2, steps=2, guidance_scale=2.5)
    plan = Plan("c", str(portable_package))
    result = likeness.compare(plan, peers, Size(1, 128, 128), drawing, 1, lambda _: None)
    assert (result["pictures"], result["against"]) == (4, "exact")
    assert result["peers"]["same"]["psnr_db"]["worst"] > 45
    assert result["peers"]["same"]["below_30_db"] == 0
    assert result["peers"]["other"]["psnr_db"]["worst"] < 30
    assert result["peers"]["other"]["below_30_db"] > 0
    assert "nowhere" in result["peers"]["gone"]["failed"]
    assert "| **same** |" in "\n".join(peers_page._likeness(result))

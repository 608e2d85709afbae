"""`triptych bench PACKAGE --against NAME,...`: a package beside the peers whose environments are made here."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.runtime.errors import ArgumentError
from triptych.runtime.package.package import Package, open_package

from ..files import check_writable
from .bounds import product_rate
from .catalogue import ON_GRAPHS, Peer, own, peers_named
from .driver import Plan, measure
from .environments import python_of
from .figures import Results
from .here import new_results, usable_threads
from .stages import cases_of, own_size
from .table import as_text

ROUNDS = 3


def compare(
    package: Path,
    names: Sequence[str],
    options: Mapping[str, Any],
    *,
    checkpoint: Path | None,
    steps: int,
    json_file: Path | None,
    report: Callable[[str], None],
) -> Results:
    """Measure components and a whole picture of each in turns, and print tables to stdout.

    Args:
        package: the folder that Triptych runs.
        names: of peers.
        options: of `TextToImage.load`; only the device is used, auto being the CPU.
        checkpoint: the diffusers folder that the package was exported from; None is the manifest's source.
        steps: of the picture.
        json_file: where to write the figures as they come.
        report: called with a line of text as things begin.

    Raises:
        ArgumentError: a peer that there is not, a package that peers cannot run, or no checkpoint; told before anything
            is measured.
        TriptychError: a peer whose environment has not been made.
    """
    peers = peers_named(names)
    opened = open_package(package)
    for peer in peers:
        python_of(peer.environment)
        _check_graphs(opened, peer)
    plan = Plan(str(_checkpoint(opened, checkpoint)), str(package), ROUNDS, out=json_file)
    if json_file is not None:
        check_writable(json_file)
    device = options.get("device", "auto")
    first = own("triptych", str(package), "cpu" if device == "auto" else device)
    threads, results = usable_threads(), new_results(package)
    results.rates[f"float32/{threads}"] = product_rate(threads)
    measure(
        plan, [first, *peers], cases_of(("components", "picture"), own_size(package), steps, threads), results, report
    )
    print(as_text(results))
    return results


def _check_graphs(package: Package, peer: Peer) -> None:
    manifest = package.manifest or {}
    kind = manifest.get("precision", "fp32"), manifest.get("dialect", "portable")
    if peer.adapter in ON_GRAPHS and (kind != ("fp32", "portable") or manifest.get("static")):
        raise ArgumentError(
            f"peer {peer.name} runs plain graphs in fp32 of open shapes, and {package.path} is no such package; "
            "`python -m triptych.benchmarks.peers run` takes two packages of one checkpoint"
        )


def _checkpoint(package: Package, given: Path | None) -> Path:
    source = (package.manifest or {}).get("source", {}).get("name") if given is None else given
    if source is None or not (Path(source) / "model_index.json").is_file():
        raise ArgumentError(
            f"peers need the checkpoint that {package.path} came from, and {source} is no folder of one here; "
            "give it: --checkpoint FOLDER"
        )
    return Path(source)

"""`triptych bench PACKAGE --against NAME,...`: a package compared with peers whose environments have been made."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.runtime.errors import ArgumentError
from triptych.runtime.package.package import Package, open_package

from ..bench import steps_of
from ..files import check_writable
from .bounds import product_rate
from .catalogue import ON_GRAPHS, Peer, own, peers_named
from .driver import Plan, measure
from .environments import python_of
from .figures import Results
from .here import new_results, usable_threads
from .stages import cases_of, default_size
from .table import as_text

ROUNDS = 3


def compare(
    package: Path,
    names: Sequence[str],
    options: Mapping[str, Any],
    *,
    checkpoint: Path | None,
    steps: int | None,
    json_file: Path | None,
    report: Callable[[str], None],
) -> Results:
    """Measure components and a whole image of each, alternating, and print tables to stdout.

    Args:
        package: the folder that Triptych runs.
        names: names of peers.
        options: arguments of `TextToImage.load`; only the device is used, and auto is the CPU.
        checkpoint: the diffusers folder that the package was exported from; None is the manifest's source.
        steps: denoising steps of the whole image; None is the package's default, or 20 where it states none.
        json_file: file for the figures, rewritten with each of them.
        report: called with a line of text as each measurement begins.

    Raises:
        ArgumentError: an unknown peer, a package that a peer cannot run, or no checkpoint; raised before anything is
            measured.
        TriptychError: the environment of a peer has not been made.
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
        plan,
        [first, *peers],
        cases_of(("components", "picture"), default_size(package), steps_of(opened.manifest.defaults, steps), threads),
        results,
        report,
    )
    print(as_text(results))
    return results


def _check_graphs(package: Package, peer: Peer) -> None:
    manifest = package.manifest
    kind = manifest.precision or "fp32", manifest.dialect or "portable"
    if peer.adapter in ON_GRAPHS and (kind != ("fp32", "portable") or manifest.static):
        raise ArgumentError(
            f"peer {peer.name} runs plain graphs in fp32 with open shapes, which {package.path} does not have; "
            "`python -m triptych.benchmarks.peers run` takes two packages of one checkpoint"
        )


def _checkpoint(package: Package, folder: Path | None) -> Path:
    source = package.manifest.source if folder is None else folder
    if source is None or not (Path(source) / "model_index.json").is_file():
        raise ArgumentError(
            f"peers need the checkpoint that {package.path} was exported from; {source} is not its folder; "
            "give it: --checkpoint FOLDER"
        )
    return Path(source)

"""Triptych and its peers, alternating, with the same weights, prompt, steps and seed.

    python -m triptych.benchmarks.peers list
    python -m triptych.benchmarks.peers install NAME...          # environments, or all; in the folder TRIPTYCH_PEERS
    python -m triptych.benchmarks.peers run PACKAGE CHECKPOINT OUT.json [--own NAME=PACKAGE[,device=D][,precision=P]]
                                            [--peers NAME,...] [--only STAGE,...] [--rounds N] [--steps N] ...
    python -m triptych.benchmarks.peers likeness PACKAGE CHECKPOINT OUT.json --prompts FILE [--seeds N] [--guidance X]
                                            [--own ...] [--peers ...] [--steps N]
    python -m triptych.benchmarks.peers show OUT.json

PACKAGE holds CHECKPOINT's weights as plain graphs in fp32 with open shapes; the ONNX peers run it. `--own` names the
packages that Triptych runs, PACKAGE by default; all figures are compared with those of the first one. A run that was
cut off is resumed; with --retry, cases that failed are tried again. `likeness` compares images with those of the first
package, which should be exact, on a model with real weights.
"""

import argparse
import sys
from pathlib import Path

from triptych.runtime.errors import ArgumentError, TriptychError
from triptych.runtime.parsing import lines_of

from ..files import check_writable
from .bounds import product_rate
from .catalogue import PEERS, Peer, own, peers_named
from .driver import Plan, bfloat16_rate, measure
from .environments import NAMES, home, install, megabytes, python_of
from .figures import Results, read
from .here import new_results, usable_threads
from .likeness import Drawing, compare, write
from .stages import STAGES, cases_of, default_size
from .table import as_text


def main() -> None:
    """Run one of the commands; errors of the user are one line."""
    arguments = _parser().parse_args()
    try:
        arguments.command(arguments)
    except TriptychError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m triptych.benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)
    commands.add_parser("list").set_defaults(command=_list)
    install_command = commands.add_parser("install")
    install_command.add_argument("names", nargs="+", metavar="NAME", help=f"all, or some of {', '.join(NAMES)}")
    install_command.set_defaults(command=_install)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("package")
    common.add_argument("checkpoint")
    common.add_argument("out", type=Path)
    common.add_argument("--own", action="append", default=[], metavar="NAME=PACKAGE[,device=D][,precision=P]")
    common.add_argument("--peers", default=",".join(PEERS))
    common.add_argument("--steps", type=int, default=20)
    common.add_argument("--threads", type=int, default=usable_threads())
    common.add_argument("--timeout", type=float, default=1800, help="time limit of one call in seconds")
    run = commands.add_parser("run", parents=[common])
    run.add_argument("--only", default="components,picture", help=f"some of {', '.join(STAGES)}")
    run.add_argument("--rounds", type=int, default=5)
    run.add_argument("--together", type=int, default=4, help="peers in memory at the same time, with Triptych")
    run.add_argument("--retry", action="store_true", help="also try cases that failed before")
    run.set_defaults(command=_run)
    like = commands.add_parser("likeness", parents=[common])
    like.add_argument("--prompts", type=Path, required=True, help="one a line")
    like.add_argument("--seeds", type=int, default=4, help="of each prompt")
    like.add_argument("--guidance", type=float, default=7.5)
    like.set_defaults(command=_likeness)
    shown = commands.add_parser("show")
    shown.add_argument("out", type=Path)
    shown.set_defaults(command=lambda arguments: print(as_text(read(arguments.out))))
    return parser


def _list(_: argparse.Namespace) -> None:
    print(f"environments in {home()}")
    for peer in PEERS.values():
        try:
            python_of(peer.environment)
            state = "ready"
        except TriptychError:
            state = "not made"
        print(f"{peer.name:30} {peer.environment:22} {state:9} {peer.about}")


def _install(arguments: argparse.Namespace) -> None:
    for name in NAMES if arguments.names == ["all"] else arguments.names:
        print(install(name), flush=True)


def _peers(arguments: argparse.Namespace) -> list[Peer]:
    """The requested peers, Triptych's packages first; raises a TriptychError if an environment has not been made."""
    check_writable(arguments.out)
    peers = [*_own_peers(arguments), *peers_named([name for name in arguments.peers.split(",") if name])]
    for environment in {peer.environment for peer in peers}:
        python_of(environment)
    return peers


def _likeness(arguments: argparse.Namespace) -> None:
    plan = Plan(arguments.checkpoint, arguments.package, timeout=arguments.timeout)
    drawing = Drawing(lines_of(arguments.prompts), arguments.seeds, arguments.steps, arguments.guidance)
    size = default_size(arguments.package)
    write(arguments.out, compare(plan, _peers(arguments), size, drawing, arguments.threads, report=_say))


def _run(arguments: argparse.Namespace) -> None:
    peers = _peers(arguments)
    plan = Plan(
        arguments.checkpoint,
        arguments.package,
        arguments.rounds,
        arguments.together,
        arguments.timeout,
        arguments.out,
    )
    cases = cases_of(arguments.only.split(","), default_size(arguments.package), arguments.steps, arguments.threads)
    results = read(arguments.out) if arguments.out.exists() else new_results(arguments.package)
    if arguments.retry:
        results.negatives.clear()
    for peer in peers:
        if peer.environment not in results.environments:
            results.environments[peer.environment] = {"megabytes": megabytes(peer.environment)}
    for threads in sorted({case.threads for case in cases}):
        _rate(plan, threads, results)
    measure(plan, peers, cases, results, report=_say)
    print(as_text(results))


def _own_peers(arguments: argparse.Namespace) -> list[Peer]:
    peers = []
    for text in arguments.own or [f"triptych={arguments.package}"]:
        name, equals, rest = text.partition("=")
        package, *options = rest.split(",")
        pairs = dict(option.partition("=")[::2] for option in options)
        if not (name and equals and package) or not pairs.keys() <= {"device", "precision"}:
            raise ArgumentError(f"--own {text}: give NAME=PACKAGE, optionally followed by ,device=D and ,precision=P")
        peers.append(own(name, package, **pairs))
    return peers


def _rate(plan: Plan, threads: int, results: Results) -> None:
    """Add the rate of a matrix product on this many threads, unless it is known."""
    if f"float32/{threads}" not in results.rates:
        results.rates[f"float32/{threads}"] = product_rate(threads)
        rate = bfloat16_rate(plan, PEERS["diffusers"], threads, _say)
        if rate is not None:
            results.rates[f"bfloat16/{threads}"] = rate


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

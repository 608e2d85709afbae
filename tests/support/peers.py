"""Peers in the environment of the tests."""

from dataclasses import replace

from triptych.benchmarks.peers.catalogue import PEERS, Peer
from triptych.benchmarks.peers.environments import HERE


def here(name: str) -> Peer:
    """A peer of the catalogue in the environment of the tests."""
    return replace(PEERS[name], environment=HERE)

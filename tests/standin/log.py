"""The log of a process on the stand-in: what it asked of CUDA, in order."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FORBIDDEN = "FORBIDDEN"


@dataclass(frozen=True)
class Event:
    """One call, see `library/standin.h`.

    Attributes:
        kind: kernel, copy, memset, wait, malloc, free, create, replay, mark, FORBIDDEN, ...
        thread: that made it.
        captured: it became a node of a graph.
        values: by name, as text.
    """

    kind: str
    thread: int
    captured: bool
    values: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(f'{key}={value}' for key, value in self.values.items())} [{self.thread}]"


@dataclass(frozen=True)
class Capture:
    """A capture of a graph: the thread that captured, its nodes in order, and whether it ended well."""

    thread: int
    nodes: "Log"
    valid: bool


@dataclass(frozen=True)
class Log:
    """Events in order."""

    events: tuple[Event, ...] = field(repr=False)

    def of(self, *kinds: str) -> "Log":
        """The events of these kinds."""
        return Log(tuple(event for event in self.events if event.kind in kinds))

    def between(self, start: str, end: str) -> "Log":
        """The events from the first mark of one name to the next one of another.

        Raises:
            ValueError: there is no such mark.
        """
        marks = [event.values["name"] if event.kind == "mark" else None for event in self.events]
        first = marks.index(start)
        return Log(self.events[first + 1 : marks.index(end, first + 1)])

    @property
    def kernels(self) -> Counter[str]:
        """Launches by the kernel's name, without its parameters."""
        names = [event.values["name"] for event in self.events if event.kind == "kernel"]
        readable = _demangled(frozenset(names))
        return Counter(readable[name] for name in names)

    @property
    def copies(self) -> Counter[str]:
        """Copies by their way: HtoD, DtoD, DtoH."""
        return Counter(event.values["way"] for event in self.events if event.kind == "copy")

    @property
    def memsets(self) -> int:
        """Number of memsets."""
        return len(self.of("memset").events)

    @property
    def waits(self) -> list[str]:
        """Calls that return only when the device has done something."""
        return [str(event) for event in self.events if event.kind == "wait" or event.values.get("waits") == "1"]

    @property
    def forbidden(self) -> list[str]:
        """Calls that CUDA refuses or punishes, and nodes that came into the capture of another thread."""
        return [str(event) for event in self.events if event.kind == FORBIDDEN]

    @property
    def threads(self) -> set[int]:
        """Threads that made calls."""
        return {event.thread for event in self.events if event.kind != "mark"}

    @property
    def captures(self) -> list[Capture]:
        """Captures, in order."""
        return list(_captures(self.events))


def read(path: Path) -> Log:
    """The log in a file."""
    return Log(tuple(_event(line) for line in path.read_text().splitlines()))


def _event(line: str) -> Event:
    kind, thread, captured, values = line.split("\t", 3)
    # the name of a mark has spaces, and others have none
    pairs = [values] if kind == "mark" else values.split()
    return Event(kind, int(thread), captured == "1", dict(pair.split("=", 1) for pair in pairs))


def _captures(events: tuple[Event, ...]) -> Iterator[Capture]:
    thread, nodes = 0, list[Event]()
    for event in events:
        if event.kind == "begin-capture":
            thread, nodes = event.thread, []
        elif event.kind == "end-capture":
            yield Capture(thread, Log(tuple(nodes)), event.values["valid"] == "1")
        elif event.captured and event.kind != FORBIDDEN:
            nodes.append(event)


@cache
def _demangled(names: frozenset[str]) -> dict[str, str]:
    mangled = sorted(names)
    result = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True)
    return dict(zip(mangled, map(_short, result.stdout.splitlines()), strict=True))


def _short(name: str) -> str:
    """The name of a function without its return type, namespaces and parameters."""
    name = re.sub(r"\(anonymous namespace\)|onnxruntime::|contrib::|cuda::|^void ", "", name)
    return name.partition("(")[0]

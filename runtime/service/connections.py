"""Limits of connections: their number, how long one may send nothing or little, and leave its answer unread.

The HTTP parser is h11, which uvicorn always brings, also where httptools is installed: it bounds the header section, so
that the service behaves the same everywhere.
"""

import asyncio
import json
import logging
import resource
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .errors import ServiceError, unavailable

HEADER_BYTES = 1 << 14
"""Size limit of the header section, and of what is given to the parser at once."""

_MOST_CONNECTIONS = 1000
_OWN_HANDLES = 64  # for the event loop, packages while they load, and connections that are accepted and then closed
_HANDLES_EACH = 4  # the connection, and temporary files of a form: see `bodies.MOST_FILES`
_MOST_ACCEPTED = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections.

    Attributes:
        total: open connections.
        per_address: open connections of one address.
        accepted: connections that are accepted before those of the last turn are read: so few that none of them loses
            its place to later ones before its request is read.
        idle: seconds without a request, after the connection opens or after an answer.
        headers: seconds until the headers are complete, from their first byte.
        rate: bytes of a body per second, on average, after `grace`.
        grace: seconds.
        refused: connections that may wait for their refusal at once.
        linger: seconds that a client may keep sending after its answer, or has for the request that is refused.
        stall: seconds in which a client reads nothing of its answer.
        interval: seconds between checks.
    """

    total: int
    per_address: int
    accepted: int = _MOST_ACCEPTED
    refused: int = 16
    idle: float = 15.0
    headers: float = 10.0
    rate: float = 1024.0
    grace: float = 10.0
    linger: float = 2.0
    stall: float = 30.0
    interval: float = 0.5


def limits_of_process() -> ConnectionLimits:
    """Limits below the number of file handles of this process, whose soft limit is raised as far as they need."""
    soft, hard = (_handles(each) for each in resource.getrlimit(resource.RLIMIT_NOFILE))
    needed = _OWN_HANDLES + _HANDLES_EACH * _MOST_CONNECTIONS
    if soft < min(needed, hard):
        soft = min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    total = min(_MOST_CONNECTIONS, max(4, (soft - _OWN_HANDLES) // _HANDLES_EACH))
    per_address = total // 2
    return ConnectionLimits(total, per_address, accepted=min(_MOST_ACCEPTED, max(1, per_address // 4)))


def _handles(limit: int) -> int:
    return 1 << 30 if limit == resource.RLIM_INFINITY else limit


class Phase(Enum):
    """State of a connection."""

    IDLE = "no request"
    HEADERS = "the headers are incomplete"
    BODY = "the body is incomplete"
    ANSWER = "the request is complete, and has no answer yet"
    REST = "the answer is complete before the body"
    REFUSED = "there is no room for the connection"


class Connections(ServerState):
    """All connections of a server.

    Args:
        limits: of the connections.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        super().__init__()
        self.limits = limits

    def admit(self, new: "Connection") -> bool:
        """Check that there is room for a connection, which the one that is idle for the longest time may have to make.

        A header section that is incomplete counts as idle, after those of which nothing has arrived.
        """
        others = [each for each in self._open() if each is not new and each.phase != Phase.REFUSED]
        same = [each for each in others if each.address == new.address]
        if len(same) >= self.limits.per_address:
            crowd = same
        elif len(others) >= self.limits.total:
            crowd = others
        else:
            return True
        idle = [each for each in crowd if each.is_idle()]
        if idle:
            min(idle, key=lambda each: (each.phase == Phase.HEADERS, each.since)).drop()
        return bool(idle)

    def has_room_to_refuse(self) -> bool:
        """Check that few connections wait for their refusal."""
        return sum(each.phase == Phase.REFUSED for each in self._open()) <= self.limits.refused

    async def watch(self) -> None:
        """Close connections that exceed a time limit, until cancelled."""
        while True:
            await asyncio.sleep(self.limits.interval)
            for connection in self._open():
                connection.check()

    def _open(self) -> "list[Connection]":
        return cast("list[Connection]", list(self.connections))


class Connection(H11Protocol):
    """Connection of uvicorn that keeps the limits; see `H11Protocol`.

    Attributes:
        phase: the state, and `since` the time of the event loop at which it began.
        address: of the client, "" if it has gone.
    """

    server_state: Connections

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = server_state.limits
        self.phase, self.since, self.address = Phase.IDLE, self.loop.time(), ""
        self._received = 0  # bytes in this phase
        self._unsent, self._read_at = 0, self.since  # bytes, and when the client last read some

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        if not self.server_state.admit(self):
            self.phase = Phase.REFUSED
            _log.warning("connections are refused: no room, and none is idle")
            if not self.server_state.has_room_to_refuse():
                self.drop()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.phase == Phase.REFUSED:  # closed only now: a client that still sends would lose the answer
            self._refuse(unavailable("too many connections", "too_many_connections"))
            return
        for start in range(0, len(data), HEADER_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[start : start + HEADER_BYTES])
        self._received += len(data)
        self._follow()

    def on_response_complete(self) -> None:
        """See `H11Protocol`."""
        super().on_response_complete()
        self._follow()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that is not HTTP; see `H11Protocol`."""
        self._refuse(ServiceError(400, "the request is not valid HTTP/1.1", code="invalid_http"))

    def _should_upgrade(self) -> bool:
        return False  # as HTTP allows; H11Protocol logs two warnings for each such request

    def is_idle(self) -> bool:
        """Check that no request is complete, and no answer on its way."""
        return self.phase in (Phase.IDLE, Phase.HEADERS) and not self.transport.get_write_buffer_size()

    def drop(self) -> None:
        """Close the connection at once."""
        self.connections.discard(self)
        self.transport.abort()

    def check(self) -> None:
        """Close the connection if it exceeds a time limit."""
        now, limits = self.loop.time(), self._limits
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent:
            self._read_at = now
        self._unsent = unsent
        if now - self._read_at > limits.stall:
            _log.info("a connection is closed: its answer is not read")
            reset = struct.pack("ii", 1, 0)  # SO_LINGER: else the system keeps trying to deliver what is unread
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            self.drop()
        if self.transport.is_closing():
            return
        self._follow()
        seconds = now - self.since
        if self.phase == Phase.IDLE and seconds > limits.idle:
            self.transport.close()
        elif self.phase == Phase.HEADERS and seconds > limits.headers:
            self._refuse(_too_slow(f"the headers took longer than {limits.headers:g} s"))
        elif self.phase == Phase.BODY and self._received < limits.rate * (seconds - limits.grace):
            self._refuse(_too_slow(f"the body has fewer than {limits.rate:g} bytes per second"))
        elif self.phase in (Phase.REST, Phase.REFUSED) and seconds > limits.linger:
            self.drop()

    def _follow(self) -> None:
        """Note the phase, and when it began; a body begins again after the service has not read for a while."""
        phase = self._current()
        if phase != self.phase or (phase == Phase.BODY and self.flow.read_paused):
            self.phase, self.since, self._received = phase, self.loop.time(), 0

    def _current(self) -> Phase:
        if self.phase == Phase.REFUSED:
            return self.phase
        if self.conn.their_state is h11.IDLE:
            return Phase.HEADERS if self.conn.trailing_data[0] else Phase.IDLE
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.REST if self.cycle.response_complete else Phase.BODY
        return Phase.ANSWER

    def _refuse(self, error: ServiceError) -> None:
        """Answer with an error, unless an answer has begun, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(error.body).encode()
            headers = {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Connection": "close",
                **error.headers,
            }
            response = h11.Response(status_code=error.status, headers=list(headers.items()))
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what the application still sends is discarded
            self.cycle.message_event.set()
        self.transport.close()


def _too_slow(message: str) -> ServiceError:
    return ServiceError(408, message, code="too_slow")

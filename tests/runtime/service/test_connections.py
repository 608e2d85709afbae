"""Connections over raw sockets: limits of time and number, and bytes that are no request."""

import contextlib
import json
import logging
import os
import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from triptych.runtime.service.connections import ConnectionLimits, limits_of_process
from triptych.runtime.service.server import Server

from .serving import EDITS, GENERATIONS, LONG, Service, process

LIMITS = ConnectionLimits(
    total=6,
    per_address=4,
    accepted=1,
    refused=2,
    idle=0.6,
    headers=0.6,
    rate=1000,
    grace=0.4,
    linger=0.4,
    stall=0.6,
    interval=0.05,
)
PATIENT = ConnectionLimits(total=200, per_address=200)
"""Limits that no request of these tests reaches."""

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
SECONDS = 10.0  # until a test gives up


@contextlib.contextmanager
def listening(package: Path, limits: ConnectionLimits, **options: object) -> Iterator[tuple[Service, tuple[str, int]]]:
    """Service of this process with limits, and its address."""
    service = Service(package, load=False, **options)  # type: ignore[arg-type]
    server = Server(service.app, service.models, {"device": "cpu"}, limits)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that little is enough to fill it
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: service.models.state == "ready", 60)
            yield service, address
        finally:
            server.should_exit = True
            service.models.abandon()
            thread.join(SECONDS)
            assert not thread.is_alive()
            service.close()


@pytest.fixture(scope="module")
def strict(slow_package: Path) -> Iterator[tuple[Service, tuple[str, int]]]:
    with listening(slow_package, LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def patient(slow_package: Path) -> Iterator[tuple[str, int]]:
    with listening(slow_package, PATIENT) as (_, address):
        yield address


@pytest.fixture
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail where an error was logged."""
    with caplog.at_level(logging.INFO):
        yield
        errors = [each for each in caplog.get_records("call") if each.levelno >= logging.ERROR or each.exc_info]
        assert not errors, errors


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def connect(address: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(address, timeout=SECONDS, source_address=(source, 0))


def rest(connection: socket.socket) -> bytes:
    """Everything until the service closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def sent(address: tuple[str, int], data: bytes) -> bytes:
    """Answer to bytes after which the client sends no more."""
    with connect(address) as connection:
        with contextlib.suppress(OSError):  # it has closed the connection
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        return rest(connection)


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(each.lower().startswith(("content-length", "transfer")) for each in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def healthy(address: tuple[str, int], source: str = "127.0.0.1") -> bool:
    with connect(address, source) as connection:
        connection.sendall(HEALTH)
        return connection.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nX: ", b"408"),
        (HEALTH, b"200"),
        (HEALTH + b"GET / HTT", b"200"),
        (post(GENERATIONS, b'{"prompt"', "Content-Length: 900000"), b"408"),
        (post("/nowhere", b"x", "Content-Length: 900000"), b"404"),
    ],
    ids=["nothing", "half a header", "kept alive", "kept alive, half a header", "half a body", "answered, half a body"],
)
def test_a_client_that_sends_no_more_is_closed(
    strict: tuple[Service, tuple[str, int]], begun: bytes, status: bytes
) -> None:
    with connect(strict[1]) as connection:
        connection.sendall(begun)
        answer = rest(connection)
        assert answer[9:12] == status
        if status == b"408":
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_slow"


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n", post(GENERATIONS, b"", "Content-Length: 900000")])
def test_a_client_that_sends_byte_by_byte_is_closed(strict: tuple[Service, tuple[str, int]], head: bytes) -> None:
    with connect(strict[1]) as connection:
        connection.sendall(head)
        start = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < start + SECONDS:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < start + SECONDS


def test_a_wait_for_an_image_is_not_idle(strict: tuple[Service, tuple[str, int]]) -> None:
    """Neither in the queue nor in a stream without previews."""
    start = time.monotonic()
    with connect(strict[1]) as whole, connect(strict[1]) as streamed:
        whole.sendall(post(GENERATIONS, json.dumps(LONG).encode(), "Connection: close"))
        streamed.sendall(post(GENERATIONS, json.dumps(LONG | {"stream": True}).encode(), "Connection: close"))
        assert b"b64_json" in rest(whole)
        assert b"image_generation.completed" in rest(streamed)
    assert time.monotonic() - start > LIMITS.idle, "the images were too fast for this test"


def test_newcomers_take_the_place_of_idle_connections(strict: tuple[Service, tuple[str, int]]) -> None:
    address = strict[1]
    with contextlib.ExitStack() as stack:
        for number in range(40):
            connection = stack.enter_context(connect(address))
            if number % 2:
                connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        start = time.monotonic()
        assert healthy(address)
        assert healthy(address, "127.0.0.2")
        assert time.monotonic() - start < LIMITS.idle, "they were not closed for being idle"


@pytest.mark.usefixtures("no_traceback")
def test_where_nothing_is_idle_newcomers_get_503(slow_package: Path, caplog: pytest.LogCaptureFixture) -> None:
    limits = ConnectionLimits(total=6, per_address=4, refused=2)
    with listening(slow_package, limits) as (_, address), contextlib.ExitStack() as stack:

        def busy(source: str) -> None:
            connection = stack.enter_context(connect(address, source))
            connection.sendall(post(GENERATIONS, b"{", "Content-Length: 900", "Expect: 100-continue"))
            assert connection.recv(100).startswith(b"HTTP/1.1 100")  # the body is awaited

        for _ in range(4):
            busy("127.0.0.1")
        refused = sent_and_read(address, "127.0.0.1")
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in refused
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "too_many_connections"
        assert healthy(address, "127.0.0.2"), "the limit of an address leaves room for others"
        for _ in range(2):
            busy("127.0.0.2")
        assert sent_and_read(address, "127.0.0.3").startswith(b"HTTP/1.1 503")
        waiting = [stack.enter_context(connect(address, "127.0.0.3")) for _ in range(8)]
        closed = [rest(each) for each in waiting[limits.refused :]]
        assert closed == [b""] * len(closed), "few wait for their 503"
    assert any("connections are refused" in each.message for each in caplog.records)


def sent_and_read(address: tuple[str, int], source: str) -> bytes:
    with connect(address, source) as connection:
        connection.sendall(HEALTH)
        return rest(connection)


def test_a_client_that_does_not_read_is_closed_and_cancels_its_images(slow_package: Path) -> None:
    limits = ConnectionLimits(total=20, per_address=20, stall=0.5, interval=0.05)
    with listening(slow_package, limits, steps=1000) as (service, address), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(address)
        body = LONG | {"stream": True, "partial_images": 3, "num_inference_steps": 900, "n": 3}
        connection.sendall(post(GENERATIONS, json.dumps(body).encode()))
        until(lambda: service.figure("triptych_cancelled_total", model=slow_package.name) == 3, 60)
        assert service.figure("triptych_pictures_total", model=slow_package.name) == 0
        assert healthy(address)


FORM = b"multipart/form-data; boundary=x"
HOST = b"Host: localhost\r\n"
NO_REQUESTS = {
    "empty lines": b"\r\n" * 100,
    "zeros": b"\0" * 5000,
    "random bytes": bytes(os.urandom(5000)),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "long request line": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "long method": b"G" * 100_000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "path of bytes": b"GET /\xff\xfe\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute URL": b"GET http://169.254.169.254/latest HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "long header": b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n" + HOST + b"\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + HOST + b"a:\r\n" * 50_000 + b"\r\n",
    "folded headers": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" + b" b\r\n" * 20_000 + b"\r\n",
    "header without name": b"GET / HTTP/1.1\r\n: x\r\n" + HOST + b"\r\n",
    "header of control characters": b"GET / HTTP/1.1\r\nX: \x01\x1b[31m\r\n" + HOST + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n",
    "two lengths": post(GENERATIONS, b"{}", "Content-Length: 2", "Content-Length: 3"),
    "negative length": post(GENERATIONS, b"{}", "Content-Length: -2"),
    "huge length": post(GENERATIONS, b"{}", f"Content-Length: {'9' * 400}"),
    "length and chunks": post(GENERATIONS, b"2\r\n{}\r\n0\r\n\r\n", "Content-Length: 2", "Transfer-Encoding: chunked"),
    "unknown encoding": post(GENERATIONS, b"{}", "Transfer-Encoding: gzip, chunked"),
    "chunk extensions": post(GENERATIONS, b"2;" + b"x" * 30_000 + b"\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "chunk of words": post(GENERATIONS, b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "huge chunk": post(GENERATIONS, b"f" * 20 + b"\r\n{}", "Transfer-Encoding: chunked"),
    "negative chunk": post(GENERATIONS, b"-2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "long trailers": post(GENERATIONS, b"2\r\n{}\r\n0\r\n" + b"a: b\r\n" * 20_000, "Transfer-Encoding: chunked"),
    "broken chunk after the answer": post("/nowhere", b"2\r\n{}\r\nzz", "Transfer-Encoding: chunked"),
    "request within a body": post("/nowhere", b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"),
    "compressed body": post(GENERATIONS, b"\x1f\x8b\x08", "Content-Encoding: gzip"),
    "range of paths": b"GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + HOST + b"\r\n",
    "half a JSON": post(GENERATIONS, b'{"prompt": "fox', "Content-Length: 99"),
    "half a form": post(EDITS, b"", "Content-Length: 99").replace(
        b"application/json", b"multipart/form-data; boundary=x"
    ),
}


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.parametrize("name", NO_REQUESTS)
def test_bytes_that_are_no_request_get_4xx_or_a_close(patient: tuple[str, int], name: str) -> None:
    answer = sent(patient, NO_REQUESTS[name])
    statuses = re.findall(rb"^HTTP/1.1 (\d)\d\d ", answer, re.MULTILINE)
    assert set(statuses) <= {b"4"}, answer[:200]
    assert healthy(patient)


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        b"GET /healthz?" + b"a" * 10_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    ids=["HTTP/1.0", "websocket", "h2c", "long query"],
)
def test_odd_requests_are_answered(patient: tuple[str, int], request_line: bytes) -> None:
    with connect(patient) as connection:
        connection.sendall(request_line)
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 " + (b"403" if b"1.0" in request_line else b"200"))


@pytest.mark.usefixtures("no_traceback")
def test_pipelined_requests_are_answered_in_order(patient: tuple[str, int]) -> None:
    with connect(patient) as connection:
        connection.sendall(HEALTH * 50 + HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert rest(connection).count(b"HTTP/1.1 200") == 51


@pytest.mark.parametrize(("soft", "hard"), [(128, 128), (256, 1024), (1024, 1 << 20), (1 << 20, 1 << 20)])
def test_connections_stay_below_the_limit_of_file_handles(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int
) -> None:
    changed: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: changed.append(limit))
    limits = limits_of_process()
    handles = changed[0][0] if changed else soft
    assert soft <= handles <= hard
    assert 4 * limits.total + 4 * limits.accepted < handles
    assert 4 <= limits.per_address < limits.total <= 1000


def test_200_idle_connections_at_128_file_handles(package: Path, tmp_path: Path) -> None:
    """Those that send nothing and those that send half a header, then 300 at once; /healthz answers within a second."""
    with process(tmp_path / "log", package, handles=128) as running, contextlib.ExitStack() as stack:
        host, port = running.address
        for number in range(200):
            connection = stack.enter_context(connect((host, port)))
            if number % 5 == 0:
                connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(300):  # at once
            connection = stack.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex((host, port))
        start = time.monotonic()
        assert healthy((host, port))
        assert time.monotonic() - start < 1
    log = (tmp_path / "log").read_text()
    assert "Too many open files" not in log
    assert "out of system resource" not in log
    assert len(log.splitlines()) < 30

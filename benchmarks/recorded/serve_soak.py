"""Memory, threads and file handles of the service under a long mixed load.

    python benchmarks/recorded/serve_soak.py PACKAGE [--device cpu] [--seconds S] [--warm-up S] [--json FILE]

`triptych serve` runs as a process of its own. At the same time, clients request images of several sizes, whole,
streamed, and from images; pages stream progress and previews, and are left amid them; clients disconnect at any moment,
never read their answers, or send nothing; others send invalid requests: broken bodies, huge sizes, huge images. After
WARM_UP seconds, and again after S more, the clients pause until the process is idle, and threads and handles are
counted; memory is the median of the minute before. `--seconds 60 --warm-up 20` is a short form.

    {"date", "package", "versions", "machine", "device", "seconds", "answers": {kind: {status: count}}, "wrong",
     "before": STATE, "after": STATE, "resident_growth", "resident_mb": [for each minute, with WARM_UP]}

STATE is {"resident_mb", "threads", "handles"}; `wrong` counts responses with a status that the request must not get.
Needs `triptych[bench,serve]` and httpx2.
"""

import argparse
import asyncio
import contextlib
import io
import json
import random
import socket
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image

from triptych.benchmarks.recorded.serve_load import circumstances, service

WARM_UP, REST, MOST_SILENT = 300.0, 3.0, 90.0  # seconds
_MINUTE = 60
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
SIZES = ("64x64", "128x64", "64x128", "128x128")
_ESTABLISHED = 1  # state of a TCP connection
GONE = 0
"""In place of a status: the client did not wait for a response."""

Ask = Callable[[httpx2.AsyncClient], Awaitable[int]]


def _body(**others: Any) -> dict[str, Any]:
    size, steps = random.choice(SIZES), random.randint(1, 6)
    return {"prompt": f"fox {random.random()}", "size": size, "num_inference_steps": steps, **others}


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, format="PNG")
    return file.getvalue()


_IMAGE, _BOMB = _png(100, 80), _png(8000, 8000)


async def _whole(client: httpx2.AsyncClient) -> int:
    return (await client.post(GENERATIONS, json=_body(n=random.randint(1, 2)))).status_code


async def _streamed(client: httpx2.AsyncClient) -> int:
    return (await client.post(GENERATIONS, json=_body(stream=True, partial_images=2))).status_code


def _page_body() -> dict[str, Any]:
    return _body(stream=True, partial_images=4, progress=True)


async def _paged(client: httpx2.AsyncClient) -> int:
    return (await client.post(GENERATIONS, json=_page_body())).status_code


async def _left(client: httpx2.AsyncClient) -> int:
    """A page that is left after a few events."""
    async with client.stream("POST", GENERATIONS, json=_page_body() | {"num_inference_steps": 50, "n": 2}) as answer:
        left = random.randint(0, 20)
        async for _ in answer.aiter_lines():
            left -= 1
            if left < 0:
                break
    return answer.status_code


async def _silent(client: httpx2.AsyncClient, sent: bytes) -> int:
    """A client that reads nothing, until the service closes the connection or the client has waited for long."""
    loop = asyncio.get_running_loop()
    end = time.monotonic() + random.uniform(0, MOST_SILENT)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        with contextlib.suppress(ConnectionError):  # closed, as it must be
            await loop.sock_connect(connection, (client.base_url.host, client.base_url.port))
            await loop.sock_sendall(connection, sent)
            while time.monotonic() < end:
                await asyncio.sleep(1)
                await loop.sock_sendall(connection, b"x" if sent.endswith(b": ") else b"")
                if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
                    break
    return GONE


async def _unread(client: httpx2.AsyncClient) -> int:
    """A page whose stream is not read, or enough answers to fill all buffers."""
    if random.random() < 0.5:
        return await _silent(client, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 60)
    body = json.dumps(_page_body())
    head = f"POST {GENERATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return await _silent(client, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())


async def _idle(client: httpx2.AsyncClient) -> int:
    """A connection that sends nothing, half a header, or a header byte by byte."""
    return await _silent(client, random.choice((b"", b"GET / HTT", b"GET / HTTP/1.1\r\nX: ")))


async def _edited(client: httpx2.AsyncClient) -> int:
    body = _body(num_inference_steps=random.randint(2, 6))  # of a single step, strength leaves none
    form = {name: str(value) for name, value in body.items() if name != "size"}
    return (await client.post(EDITS, data=form, files={"image": ("a.png", _IMAGE)})).status_code


async def _vanishing(client: httpx2.AsyncClient) -> int:
    body = _body(stream=random.random() < 0.5, partial_images=2, n=2) | {"num_inference_steps": 50}
    try:
        return (await client.post(GENERATIONS, json=body, timeout=random.uniform(0.005, 1.0))).status_code
    except httpx2.TimeoutException:
        return GONE


async def _vanishing_in_the_body(client: httpx2.AsyncClient) -> int:
    url = client.base_url
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"POST {EDITS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\nhalf".encode())
    await writer.drain()
    await asyncio.sleep(random.uniform(0, 0.2))
    writer.close()
    return GONE


async def _wrong(client: httpx2.AsyncClient) -> int:
    request: dict[str, Any] = random.choice(
        (
            {"content": b'{"prompt": "a', "headers": {"content-type": "application/json"}},
            {"content": b"\xff" * 1000, "headers": {"content-type": "application/json"}},
            {"json": {"prompt": ["a"]}},
            {"json": _body(size="100000x100000")},
            {"json": _body(size=f"{'9' * 3000}x64")},
            {"json": _body(n=10**9)},
            {"json": _body(num_inference_steps=10**9)},
            {"json": _body(prompt="fox " * 50_000)},
            {"json": _body(scheduler="../../etc/passwd")},
            {"json": _body(guidance_scale="nan")},
        )
    )
    return (await client.post(GENERATIONS, **request)).status_code


async def _too_large(client: httpx2.AsyncClient) -> int:
    return (await client.post(GENERATIONS, json=_body(prompt="x" * (1 << 21)))).status_code


async def _bomb(client: httpx2.AsyncClient) -> int:
    return (await client.post(EDITS, data={"prompt": "fox"}, files={"image": ("a.png", _BOMB)})).status_code


KINDS: dict[str, tuple[Ask, int, float, set[int]]] = {
    "whole": (_whole, 3, 0.0, {200, 429}),
    "streamed": (_streamed, 2, 0.0, {200, 429}),
    "paged": (_paged, 2, 0.0, {200, 429}),
    "page that is left": (_left, 2, 0.0, {200, 429}),
    "unread": (_unread, 4, 0.1, {GONE}),
    "idle": (_idle, 20, 0.0, {GONE}),
    "edited": (_edited, 1, 0.0, {200, 429}),
    "vanishing": (_vanishing, 3, 0.0, {GONE, 200, 429}),
    "vanishing in the body": (_vanishing_in_the_body, 1, 0.1, {GONE}),
    "wrong": (_wrong, 1, 0.05, {400}),
    "too large": (_too_large, 1, 0.5, {413}),
    "decompression bomb": (_bomb, 1, 0.5, {400}),
}
"""Kind -> request, number of clients, seconds of their pause, and allowed statuses."""

SILENT = ("unread", "idle")
"""Kinds that last until the service closes the connection, and are ended with the load."""


async def _load(url: str, seconds: float, answers: dict[str, Counter], look: Callable[[], None]) -> None:
    end = time.monotonic() + seconds

    async def loop(kind: str) -> None:
        ask, _, pause, _ = KINDS[kind]
        async with httpx2.AsyncClient(base_url=url, timeout=120) as client:
            while time.monotonic() < end:
                status = GONE
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(end if kind in SILENT else None):
                        status = await ask(client)
                answers[kind][status] += 1
                await asyncio.sleep(pause)

    async def watch() -> None:
        while time.monotonic() < end:
            look()
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *(loop(kind) for kind, (_, clients, _, _) in KINDS.items() for _ in range(clients)))
    await asyncio.sleep(REST)


def measure(package: Path, device: str, seconds: float, warm_up: float = WARM_UP) -> dict[str, Any]:
    """All figures; see the top of the file."""
    answers: dict[str, Counter] = {kind: Counter() for kind in KINDS}
    resident: list[float] = []  # MB, each second
    states = []
    with service(package, device) as (url, process, _):
        for lasting in (warm_up, seconds):
            asyncio.run(_load(url, lasting, answers, lambda: resident.append(process.memory_info().rss / 1e6)))
            states.append(
                {
                    "resident_mb": round(statistics.median(resident[-_MINUTE:]), 1),
                    "threads": process.num_threads(),
                    "handles": process.num_fds(),
                }
            )
    before, after = states
    allowed = {kind: statuses for kind, (_, _, _, statuses) in KINDS.items()}
    return {
        **circumstances(package, device),
        "seconds": seconds,
        "answers": {kind: {str(key): count for key, count in sorted(of.items())} for kind, of in answers.items()},
        "wrong": sum(count for kind, of in answers.items() for key, count in of.items() if key not in allowed[kind]),
        "before": before,
        "after": after,
        "resident_growth": round(after["resident_mb"] / before["resident_mb"] - 1, 4),
        "resident_mb": [
            round(statistics.median(resident[start : start + _MINUTE]), 1) for start in range(0, len(resident), _MINUTE)
        ],
    }


def main() -> None:
    """Measure, print, and write to the file given by --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--warm-up", type=float, default=WARM_UP)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = measure(arguments.package, arguments.device, arguments.seconds, arguments.warm_up)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

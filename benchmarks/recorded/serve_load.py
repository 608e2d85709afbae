"""Throughput, latency and refusals of the service under load.

    python benchmarks/recorded/serve_load.py PACKAGE [--device cpu] [--steps N] [--seconds S] [--json FILE]

`triptych serve` runs as a process of its own, over loopback. First, CLIENTS clients send requests in a closed loop,
each its next one when the last is answered, alternating with `triptych batch`, which generates the same images with the
same batch. Then one client runs alone; then requests come at OVERLOAD times the measured throughput, whether or not
others are answered. The latency bound is that of a full queue: the queue, the call before it, and the
request's own call.

    {"date", "package", "versions", "machine", "device", "steps", "batch", "seconds", "startup_seconds", "idle_mb",
     "batch_per_second", "closed": {"clients", "pictures", "per_second", "of_batch", "latency"},
     "alone": {"latency"}, "open": {"offered_per_second", "asked", "accepted", "refused", "refused_share", "other",
     "latency", "bound_seconds", "most_of_bound"}, "made_beside_answered"}

The last is 0 if no image is lost and none is generated twice. Latencies are {"median", "p95", "most"} in seconds. The
rate of `triptych batch` is counted from its first image, so that it is without loading.
Needs `triptych[bench,serve]` and httpx2.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2
import psutil

from triptych.benchmarks.machine import describe_machine, versions
from triptych.runtime.ort.device import open_device
from triptych.runtime.service.queue.batcher import BATCH

CLIENTS, OVERLOAD, QUEUE, TURNS = 32, 3, 32, 4
ROWS = 100_000  # more than the time allows
TRIPTYCH = Path(sys.executable).with_name("triptych")
PATH = "/v1/images/generations"
PROMPT = "a red heart"

Answers = list[tuple[int, float]]
"""Status and seconds of each response."""


@contextlib.contextmanager
def service(package: Path, device: str) -> Iterator[tuple[str, psutil.Process, float]]:
    """Run the service: its address and process when it is ready, and the seconds until then."""
    command = [str(TRIPTYCH), "serve", str(package), "--device", device, "--port", "0"]
    command += ["--queue", str(QUEUE), "--batch", str(BATCH)]
    with tempfile.NamedTemporaryFile("r") as log:
        start = time.monotonic()
        with Path(log.name).open("w") as file, subprocess.Popen(command, stderr=file, stdout=file) as started:
            try:
                while (found := re.search(r"listening at (\S+)", Path(log.name).read_text())) is None:
                    if started.poll() is not None:
                        raise SystemExit(Path(log.name).read_text())
                    time.sleep(0.01)
                while httpx2.get(f"{found[1]}/readyz").status_code != 200:
                    time.sleep(0.01)
                yield found[1], psutil.Process(started.pid), time.monotonic() - start
            finally:
                started.terminate()


async def ask(client: httpx2.AsyncClient, seed: int, steps: int) -> tuple[int, float]:
    """Request one image: status and seconds."""
    start = time.monotonic()
    body = {"prompt": PROMPT, "seed": seed, "num_inference_steps": steps}
    return (await client.post(PATH, json=body)).status_code, time.monotonic() - start


async def closed_loop(url: str, clients: int, seconds: float, steps: int) -> tuple[Answers, float]:
    """Responses to clients that each wait for theirs, and the seconds until the last."""
    answers: Answers = []
    start = time.monotonic()
    async with httpx2.AsyncClient(base_url=url, timeout=None, limits=httpx2.Limits(max_connections=None)) as client:

        async def loop(number: int) -> None:
            while time.monotonic() - start < seconds:
                answers.append(await ask(client, number, steps))

        await asyncio.gather(*(loop(number) for number in range(clients)))
    return answers, time.monotonic() - start


async def open_loop(url: str, per_second: float, seconds: float, steps: int) -> Answers:
    """Responses to requests at even intervals, independent of earlier responses."""
    async with httpx2.AsyncClient(base_url=url, timeout=None, limits=httpx2.Limits(max_connections=None)) as client:
        tasks = []
        for number in range(int(per_second * seconds)):
            tasks.append(asyncio.create_task(ask(client, number, steps)))
            await asyncio.sleep(1 / per_second)
        return await asyncio.gather(*tasks)


def batch_rate(package: Path, device: str, seconds: float, steps: int) -> float:
    """Images per second of `triptych batch`, which is stopped when time is up."""
    with tempfile.TemporaryDirectory() as folder:
        jobs, out = Path(folder, "jobs.jsonl"), Path(folder, "out")
        rows = ({"id": str(row), "prompt": PROMPT, "seed": row, "num_inference_steps": steps} for row in range(ROWS))
        jobs.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [str(TRIPTYCH), "batch", str(package), str(jobs), str(out), "--device", device]
        command += ["--batch", str(BATCH)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not list(out.glob("*.png")):
                time.sleep(0.01)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.terminate()
        written = sorted(file.stat().st_mtime for file in out.glob("*.png"))
    if len(written) < 2:
        raise SystemExit(f"triptych batch generated {len(written)} images in {seconds:g} s; use more --seconds")
    return (len(written) - 1) / (written[-1] - written[0])


def generated(url: str) -> int:
    """Number of images that the service has generated."""
    text = httpx2.get(f"{url}/metrics").text
    return int(sum(float(value) for value in re.findall(r"^triptych_pictures_total\{.*\} (\S+)$", text, re.MULTILINE)))


def latency(answers: Answers) -> dict[str, float]:
    """Latencies of the responses with an image."""
    seconds = sorted(each for status, each in answers if status == 200)
    return {
        "median": round(statistics.median(seconds), 4),
        "p95": round(seconds[int(0.95 * (len(seconds) - 1))], 4),
        "most": round(seconds[-1], 4),
    }


def circumstances(package: Path, device: str) -> dict[str, Any]:
    """Date, package, versions, machine and device of a measurement."""
    ran_on = open_device(device)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "package": package.resolve().name,
        "versions": versions(),
        "machine": asdict(describe_machine(ran_on)),
        "device": ran_on.name,
    }


def measure(package: Path, device: str, seconds: float, steps: int, clients: int = CLIENTS) -> dict[str, Any]:
    """All figures; see the top of the file."""
    rates: list[float] = []
    closed: Answers = []
    took = 0.0
    with service(package, device) as (url, process, startup):
        idle = process.memory_info().rss
        warm, _ = asyncio.run(closed_loop(url, 2, 1.0, steps))
        for _ in range(TURNS):
            rates.append(batch_rate(package, device, seconds / TURNS, steps))
            answers, lasted = asyncio.run(closed_loop(url, clients, seconds / TURNS, steps))
            closed, took = closed + answers, took + lasted
        alone, _ = asyncio.run(closed_loop(url, 1, seconds / 4, steps))
        rate = len(closed) / took
        flooded = asyncio.run(open_loop(url, OVERLOAD * rate, seconds, steps))
        of_all = Counter(status for status, _ in (*warm, *closed, *alone, *flooded))
        balance = generated(url) - of_all[200]
    could = statistics.mean(rates)
    statuses = Counter(status for status, _ in flooded)
    bound = (QUEUE + 2 * BATCH) / rate
    of_open = latency(flooded)
    return {
        **circumstances(package, device),
        "steps": steps,
        "batch": BATCH,
        "seconds": seconds,
        "startup_seconds": round(startup, 2),
        "idle_mb": round(idle / 1e6, 1),
        "batch_per_second": round(could, 3),
        "closed": {
            "clients": clients,
            "pictures": len(closed),
            "per_second": round(rate, 3),
            "of_batch": round(rate / could, 3),
            "latency": latency(closed),
        },
        "alone": {"latency": latency(alone)},
        "open": {
            "offered_per_second": round(OVERLOAD * rate, 3),
            "asked": len(flooded),
            "accepted": statuses[200],
            "refused": statuses[429],
            "refused_share": round(statuses[429] / len(flooded), 3),
            "other": len(flooded) - statuses[200] - statuses[429],
            "latency": of_open,
            "bound_seconds": round(bound, 3),
            "most_of_bound": round(of_open["most"] / bound, 3),
        },
        "made_beside_answered": balance,
    }


def main() -> None:
    """Measure, print, and write to the file given by --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(measure(arguments.package, arguments.device, arguments.seconds, arguments.steps), indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

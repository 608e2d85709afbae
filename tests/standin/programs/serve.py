"""Serve a package and send requests from clients at once: python -m tests.standin.programs.serve PACKAGE CLIENTS

Prints the status codes as JSON. The log is that of the service, which is a process of its own.
"""

import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import URLError
from urllib.request import Request, urlopen

SECONDS = 120
TRIPTYCH = ("-c", "from triptych.runtime.cli import main; main()")


def main() -> None:
    """Read the command line, serve and print."""
    package, clients = sys.argv[1], int(sys.argv[2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = (*TRIPTYCH, "serve", package, "--device", "cuda", "--port", str(port))
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) as service:
        try:
            _wait_for(f"{address}/healthz")
            with ThreadPoolExecutor(clients) as threads:
                statuses = list(threads.map(lambda seed: _generate(address, seed), range(2 * clients)))
        finally:
            service.terminate()
    print(json.dumps(statuses))


def _generate(address: str, seed: int) -> int:
    body = {"prompt": f"red heart {seed}", "num_inference_steps": 3 + seed % 2, "seed": seed}
    headers = {"Content-Type": "application/json"}
    request = Request(f"{address}/v1/images/generations", json.dumps(body).encode(), headers)
    with urlopen(request, timeout=SECONDS) as answer:
        return int(answer.status)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):
                return
        except URLError:
            time.sleep(0.1)
    raise SystemExit("the service did not start")


if __name__ == "__main__":
    main()

"""A client of `triptych serve` in Python's standard library: progress while it waits, then the image.

    triptych serve models/emoji-package          # in another terminal
    python examples/http_client.py [URL]

Writes out/http_client.png. The service has OpenAI's Images API, so that OpenAI's client works too; this shows what is
sent.
"""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

TARGET = Path("out/http_client.png")
BODY = {"prompt": "red heart", "seed": 7, "num_inference_steps": 30, "stream": True, "progress": True}


def events(url: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Server-sent events of a request: a line `data: {...}` for each."""
    headers = {"Content-Type": "application/json"}
    request = Request(f"{url}/v1/images/generations", json.dumps(body).encode(), headers)
    with urlopen(request) as answer:
        for line in answer:
            if line.startswith(b"data: {"):
                yield json.loads(line.removeprefix(b"data: "))


def main(url: str = "http://127.0.0.1:8000") -> None:
    """Request an image, report its progress, and save it."""
    for event in events(url, BODY):
        match event["type"]:
            case "image_generation.progress":
                print(f"{event['state']}: step {event['step']} of {event['steps']}")
            case "image_generation.completed":
                TARGET.parent.mkdir(exist_ok=True)
                TARGET.write_bytes(base64.b64decode(event["b64_json"]))
                print(TARGET)
            case "error":
                sys.exit(str(event))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Altered settings in the PNG that --from-image reads."""

import json
import struct
import zlib
from pathlib import Path
from random import Random

from PIL import Image

from ..alter import HOSTILE, altered_bytes, altered_json
from ..attempt import Case
from ..inputs import Inputs, pixels_of, succeed

_KEY = "triptych"


def case(inputs: Inputs, random: Random) -> Case:
    """The PNG of an image with one of its settings replaced, or settings in another place."""
    with Image.open(inputs.image) as image:
        recorded = json.loads(image.info[_KEY])
    way, expected = random.random(), None
    if way < 0.7:
        text, name = altered_json(recorded, random)
        data = _png(random, text.encode("utf-8", "surrogatepass"))
    elif way < 0.8:
        name, value = f"new key {random.random()}", random.choice(HOSTILE)
        data = _png(random, json.dumps({**recorded, name: value}).encode())
    elif way < 0.9:
        name, expected = "as recorded", inputs.pixels
        data = _png(random, json.dumps(recorded).encode())
    else:
        data, name = altered_bytes(inputs.image.read_bytes(), random)

    def run() -> bytes:
        Path("x.png").write_bytes(data)
        succeed("generate", inputs.package, "--from-image", "x.png", "--out", "out.png", "--device", "cpu")
        return pixels_of(Path("out.png"))

    return Case(name, run, expected)


def _png(random: Random, text: bytes) -> bytes:
    """A PNG of one pixel with a text chunk of any kind, before or after the pixels."""
    key = _KEY.encode() + b"\0"
    try:
        latin = text.decode("utf-8").encode("latin-1")
    except UnicodeError:
        latin = None
    chunks = [_chunk(b"iTXt", key + bytes(4) + text), _chunk(b"iTXt", key + b"\1" + bytes(3) + zlib.compress(text))]
    if latin is not None:
        chunks += [_chunk(b"tEXt", key + latin), _chunk(b"zTXt", key + b"\0" + zlib.compress(latin))]
    chunk = random.choice(chunks)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixels, end = _chunk(b"IDAT", zlib.compress(bytes(4))), _chunk(b"IEND", b"")
    parts = [header, chunk, pixels, end] if random.random() < 0.5 else [header, pixels, chunk, end]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

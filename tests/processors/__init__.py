"""ONNX Runtime as on an x86 processor with fewer instructions, at full speed: a copy of it that sees fewer.

ONNX Runtime chooses its kernels by the CPUID instruction. In the copy each CPUID is replaced by UD2, an instruction of
the same length that is illegal; `cpuid.c` handles the signal and answers with the features of the emulated processor.
"""

import os
import platform
import re
import shutil
import struct
import subprocess
from pathlib import Path

import onnxruntime
import pytest

from tests.conftest import once

PROCESSORS = {"avx2": "avx2", "avx512": "avx512f"}
"""Name of a processor without VNNI -> the feature, as Linux names it, of hosts that can stand in for it."""
CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
_SOURCE = Path(__file__).with_name("cpuid.c")


def host_flags() -> frozenset[str]:
    """Features of this machine's processor, as Linux names them."""
    found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def environment_of(processor: str, factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables for a Python process whose ONNX Runtime runs as on that processor, a name of PROCESSORS.

    The test is skipped where the host cannot stand in for it, or has no compiler to make the copy with.
    """
    if platform.machine() != "x86_64" or PROCESSORS[processor] not in host_flags():
        pytest.skip(f"this processor cannot stand in for one with {processor} alone")
    missing = [tool for tool in ("gcc", "objdump") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} are needed to run ONNX Runtime as on another processor")
    return environment(processor, once(factory, "processors/copy", make))


def environment(processor: str, folder: Path) -> dict[str, str]:
    """This process's environment variables, with what `make` wrote to `folder` in use."""
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "LD_PRELOAD": str(folder / "cpuid.so"), "PROCESSOR": processor}


def make(folder: Path) -> Path:
    """Write the onnxruntime package with each CPUID replaced, and the library that handles what takes its place."""
    original = Path(onnxruntime.__file__).parent
    package = folder / "onnxruntime"
    shutil.copytree(original, package, ignore=shutil.ignore_patterns("libonnxruntime.so*", "tools", "transformers"))
    (library,) = package.glob("capi/onnxruntime_pybind11_state*.so")
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", library], check=True, capture_output=True, text=True
    ).stdout
    content = bytearray(library.read_bytes())
    segments = _segments(bytes(content))
    for address in re.findall(r"^\s*([0-9a-f]+):\s+cpuid\s*$", listing, re.MULTILINE):
        place = int(address, 16)
        (offset,) = (offset + place - start for start, offset, size in segments if start <= place < start + size)
        assert content[offset : offset + 2] == CPUID
        content[offset : offset + 2] = UD2
    library.write_bytes(content)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", folder / "cpuid.so", _SOURCE], check=True)
    return folder


def _segments(elf: bytes) -> list[tuple[int, int, int]]:
    """Address, offset in the file and size of each loaded segment of a 64-bit ELF file."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + index * size) for index in range(count)]
    return [(address, offset, length) for kind, _, offset, address, _, length in headers if kind == 1]

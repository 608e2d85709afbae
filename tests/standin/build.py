"""Compile the stand-in libraries with gcc, against CUDA's headers and the needs of a wheel of ONNX Runtime."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

SOURCES = Path(__file__).with_name("library")
COMPILERS = ("gcc", "g++", "nm")
SHARED = "libstandin.so"
_FLAGS = ("-O1", "-fPIC", "-Wall", "-Wno-unused-parameter")


@dataclass(frozen=True)
class Library:
    """A library that the wheel links to or opens.

    Attributes:
        name: file name, by which the loader finds it.
        sources: its files below `library/`.
        versioned: symbols have the version that the wheel asks for, which is the library's name.
        refusal: status with which it refuses the calls that the sources leave out; 0 if they leave out none.
    """

    name: str
    sources: tuple[str, ...] = ()
    versioned: bool = False
    refusal: int = 0


LIBRARIES = (
    Library(SHARED, ("standin.c",)),
    Library("libcudart.so.13", tuple(f"cudart/{part}.cc" for part in ("device", "memory", "streams", "kernels")), True),
    Library("libcublas.so.13", ("cublas.c",), True, 15),
    Library("libcublasLt.so.13", ("cublaslt.c",), True, 15),
    Library("libcudnn.so.9", ("cudnn.cc",), False, 3000),
    Library("libcuda.so.1", ("cuda.c",)),
    Library("libcurand.so.10"),
    Library("libcufft.so.12"),
)
"""`libstandin.so` first: the others link to it."""


def build(out: Path, *, provider: Path, headers: Path) -> None:
    """Write the libraries to a folder.

    Args:
        out: the folder; new.
        provider: the wheel's `libonnxruntime_providers_cuda.so`, whose needs are met.
        headers: the folder that holds CUDA's `driver_types.h`.
    """
    out.mkdir(parents=True)
    needed = _needed(provider)
    with TemporaryDirectory() as temporary:
        for library in LIBRARIES:
            _build(library, needed.get(library.name, set()), out, Path(temporary), headers)


def _build(library: Library, needed: set[str], out: Path, objects: Path, headers: Path) -> None:
    compiled = [_compile(SOURCES / source, objects, headers) for source in library.sources]
    missing = needed - _defined(compiled)
    if missing and not library.refusal:
        raise RuntimeError(f"{library.name} lacks {', '.join(sorted(missing))}")
    stubs = objects / f"{library.name}.stubs.c"
    stubs.write_text(_stubs(missing, library.refusal))
    _link(library, [*compiled, _compile(stubs, objects, headers)], out, objects)


def _compile(source: Path, objects: Path, headers: Path) -> Path:
    language = ("g++", "-std=c++17") if source.suffix == ".cc" else ("gcc",)
    target = objects / f"{source.name}.o"
    _run(*language, *_FLAGS, "-I", headers, "-I", SOURCES, "-c", source, "-o", target)
    return target


def _link(library: Library, compiled: list[Path], out: Path, objects: Path) -> None:
    options: list[str | Path] = [f"-Wl,-soname,{library.name}"]
    if library.name != SHARED:
        options.append(out / SHARED)
    if library.versioned:
        version = objects / f"{library.name}.map"
        version.write_text(f"{library.name} {{ global: *; }};\n")
        options.append(f"-Wl,--version-script={version}")
    _run("g++", "-shared", *compiled, *options, "-o", out / library.name)


def _needed(provider: Path) -> dict[str, set[str]]:
    """Library -> names that the provider needs of it; cuDNN's are looked up at run time by names in the file."""
    undefined = _run("nm", "-D", "--undefined-only", provider).split()
    needed: dict[str, set[str]] = {}
    for name, _, library in (symbol.partition("@") for symbol in undefined if "@lib" in symbol):
        needed.setdefault(library, set()).add(name)
    cudnn = re.findall(rb"\0(cudnn[A-Z]\w*)(?=\0)", provider.read_bytes())
    return needed | {"libcudnn.so.9": {name.decode() for name in cudnn}}


def _defined(objects: list[Path]) -> set[str]:
    return {line.split()[-1] for file in objects for line in _run("nm", "--defined-only", "-g", file).splitlines()}


def _stubs(names: set[str], refusal: int) -> str:
    """Functions that refuse to work, and say so in the log: the project does not use them."""
    functions = [
        f'int {name}(void)\n{{\n    standin_log("refused", "name={name}");\n    return {refusal};\n}}\n'
        for name in sorted(names)
    ]
    return "\n".join(['#include "standin.h"\n', *functions])


def _run(*command: str | Path) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{command[0]} failed: {result.stderr}")
    return result.stdout

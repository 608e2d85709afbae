"""Imports go down the layers of ARCHITECTURE.md and never up, and some libraries have one home each."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("runtime", "export", "benchmarks")

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "environment", "plain"),
    ("ort", "sampling", "noise", "request", "parsing", "reading", "foreign", "extras"),
    ("families",),
    ("package", "denoising"),
    ("text", "image", "hub"),
    ("output",),
    ("pipeline", "phases", "stream", "conditioning", "init_latents", "plan", "footprint"),
    ("tasks",),
    ("service", "batch"),
    ("cli",),
)
"""Folders and modules of `runtime`, the lowest layer first; an import goes to a lower layer or stays in its folder."""

EXPORT_LAYERS: tuple[tuple[str, ...], ...] = (
    ("files", "garbage", "hooks", "precision", "publish", "quiet", "scratch", "sources"),
    ("defaults",),
    ("arguments",),
    ("checkpoint",),
    ("components",),
    ("dialects",),
    ("quantization",),
    ("graph",),
    ("options",),
    ("verification",),
    ("manifest", "card"),
    ("exporter",),
)
"""The same of `export`, in the order in which a checkpoint becomes a package."""

TABLES = {"runtime": (LAYERS, "pipeline"), "export": (EXPORT_LAYERS, "exporter")}
"""Package -> its layers, and the part that its `__init__` stands for."""

BESIDE = {
    ("pipeline", "init_latents"),
    ("pipeline", "plan"),
    ("pipeline", "stream"),
    ("pipeline", "conditioning"),
    ("pipeline", "phases"),
    ("phases", "conditioning"),
    ("phases", "init_latents"),
    ("phases", "plan"),
    ("phases", "stream"),
    ("conditioning", "plan"),
    ("pipeline", "footprint"),
    ("init_latents", "plan"),
    ("footprint", "plan"),
}
"""Imports between two modules of one layer."""

HOMES: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("ort.library",),
    "click": ("cli",),
    "fastapi": ("service",),
    "uvicorn": ("service",),
    "ray": ("service.ray", "batch"),
    "huggingface_hub": ("hub",),
}
"""Library -> the parts of `runtime` that may import it."""

FORBIDDEN = ("torch", "diffusers", "transformers", "onnx")
"""Libraries that `runtime` lives without."""

FOREIGN = "triptych.benchmarks.peers.adapters."
"""Modules that run in the environments of other runtimes, which `benchmarks/peers/client.py` sets variables for."""

CONVERTERS = ("triptych.export", "triptych.benchmarks")
"""What `runtime` imports in `cli` alone, when a command needs it."""

MOST_SIDE_BY_SIDE = 20
"""Modules in a folder of `runtime`."""

LONGEST_FUNCTION = 60
"""Lines of the body of a function of `runtime` and `export`, docstring aside."""

MOST_PARAMETERS = 8
PUBLIC_SIGNATURES = {
    "triptych.runtime.pipeline": {"__call__", "denoise"},
    "triptych.runtime.sampling.sampler": {"from_config"},
    "triptych.export.exporter": {"export"},
}
"""Signatures of public calls, which may have more parameters; so may commands, whose options are theirs."""

NO_FIRST_WORDS = ("What", "How", "Those", "Likewise", "The same", "Where", "Which", "Whose", "Of")
"""Beginnings of first lines that do not stand alone."""


@cache
def modules() -> dict[str, Path]:
    """Import name -> file of every module of the three packages."""
    found = {}
    for package in PACKAGES:
        for file in (REPOSITORY / package).rglob("*.py"):
            parts = file.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(("triptych", *parts)).removesuffix(".__init__")] = file
    return found


def imports_in(name: str, file: Path, text: str) -> Iterator[str]:
    """Import names of what a module imports anywhere in it, but for types alone: modules where they are ours."""
    tree = ast.parse(text)
    ignored = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield whole if whole in modules() else source


@cache
def imports() -> dict[str, frozenset[str]]:
    """Import name of a module -> what it imports."""
    return {name: frozenset(imports_in(name, file, file.read_text())) - {name} for name, file in modules().items()}


def place(name: str) -> str:
    """A module's place in `runtime`, "sampling.solvers.ddim"; "" for `triptych.runtime` itself and for others."""
    return name.removeprefix("triptych.runtime").removeprefix(".") if name.startswith("triptych.runtime") else ""


def part_of(name: str) -> str:
    """The part of its package that a module is in: "sampling" of triptych.runtime.sampling.solvers.ddim."""
    return "".join(name.split(".")[2:3])


def layer_of(name: str) -> int:
    """The number of a module's layer in its package."""
    layers, entry = TABLES[name.split(".")[1]]
    return next(number for number, parts in enumerate(layers) if (part_of(name) or entry) in parts)


def against_the_grain(name: str, imported: str) -> bool:
    """Whether an import within a package goes up, or across to another part of its own layer."""
    ours, theirs = part_of(name), part_of(imported)
    if ours == theirs or ours == "":  # `__init__` gathers what the package exports
        return False
    return layer_of(imported) >= layer_of(name) and (ours, theirs) not in BESIDE


def runtime_imports() -> Iterator[tuple[str, str]]:
    for name, imported in imports().items():
        if name.startswith("triptych.runtime"):
            yield from ((name, each) for each in imported)


@pytest.mark.parametrize("package", TABLES)
def test_every_part_has_a_layer(package: str) -> None:
    parts = {part_of(name) for name in modules() if name.startswith(f"triptych.{package}.")}
    assert parts == {part for parts in TABLES[package][0] for part in parts}


@pytest.mark.parametrize("package", TABLES)
def test_imports_go_down(package: str) -> None:
    prefix = f"triptych.{package}"
    wrong = [
        (name, each)
        for name, found in imports().items()
        for each in found
        if name.startswith(prefix) and each.startswith(prefix) and against_the_grain(name, each)
    ]
    assert wrong == []


def test_an_import_against_the_grain_is_found() -> None:
    name = "triptych.runtime.sampling.table"
    found = list(imports_in(name, modules()[name], "def f():\n    from ..pipeline import TextToImage\n"))
    assert found == ["triptych.runtime.pipeline"]
    assert against_the_grain(name, found[0])
    assert against_the_grain("triptych.runtime.denoising.host", "triptych.runtime.package.graphs")
    assert not against_the_grain("triptych.runtime.pipeline", "triptych.runtime.plan")
    assert against_the_grain("triptych.runtime.plan", "triptych.runtime.pipeline")
    assert against_the_grain("triptych.export.components.unet", "triptych.export.graph.capture")


@pytest.mark.parametrize("library", HOMES)
def test_libraries_are_imported_where_they_belong(library: str) -> None:
    users = {name for name, each in runtime_imports() if each.partition(".")[0] == library}
    assert users
    assert [name for name in users if not place(name).startswith(HOMES[library])] == []


def test_onnxruntime_is_imported_in_one_place_which_turns_its_telemetry_off() -> None:
    users = {name for name, found in imports().items() if any(each.split(".")[0] == "onnxruntime" for each in found)}
    assert {name for name in users if not name.startswith(FOREIGN)} == {"triptych.runtime.ort.library"}


def test_the_runtime_lives_without_pytorch_and_its_kin() -> None:
    assert [pair for pair in runtime_imports() if pair[1].partition(".")[0] in FORBIDDEN] == []


def test_the_runtime_imports_converters_in_commands_alone() -> None:
    users = {name for name, each in runtime_imports() if each.startswith(CONVERTERS)}
    assert [name for name in users if not place(name).startswith("cli.")] == []


def test_export_needs_no_benchmarks() -> None:
    benchmarks = "triptych.benchmarks"
    users = {name for name, found in imports().items() if any(each.startswith(benchmarks) for each in found)}
    assert users
    assert [name for name in users if name.startswith("triptych.export")] == []


def test_sampling_needs_numpy_alone() -> None:
    allowed = ("triptych.runtime.sampling", "triptych.runtime.errors")
    for name, each in runtime_imports():
        if place(name).startswith("sampling"):
            assert each.startswith(allowed) or each.partition(".")[0] in {"numpy", *sys.stdlib_module_names}, (
                name,
                each,
            )


def test_no_module_imports_itself_in_a_circle() -> None:
    ours = {name: {each for each in found if each in modules()} for name, found in imports().items()}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for each in ours[name]:
                walk(each, (*path, name))
            done.add(name)

    for name in ours:
        walk(name, ())


def test_no_folder_is_crowded() -> None:
    crowded = {
        folder: count
        for folder in {file.parent for file in (REPOSITORY / "runtime").rglob("*.py")}
        if (count := len(list(folder.glob("*.py")))) > MOST_SIDE_BY_SIDE
    }
    assert crowded == {}


def test_the_places_that_the_documentation_names_exist() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    named = {path for path in re.findall(r"`([\w./-]+/[\w.-]*)`", text) if "." in path or path.endswith("/")}
    roots = ("", "runtime", "export", "benchmarks")
    missing = [path for path in named if not any((REPOSITORY / root / path).exists() for root in roots)]
    assert len(named) > 30
    assert missing == []


Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def definitions() -> tuple[tuple[str, Function | ast.ClassDef | ast.Module], ...]:
    """Name of a module of `runtime` or `export`, and each module, class and function in it."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    return tuple(
        (name, node)
        for name, file in modules().items()
        if not name.startswith("triptych.benchmarks")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, kinds)
    )


def functions() -> Iterator[tuple[str, Function]]:
    for name, node in definitions():
        if isinstance(node, Function):
            yield name, node


def test_functions_are_short() -> None:
    long = []
    for name, node in functions():
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        if lines > LONGEST_FUNCTION:
            long.append((name, node.name, lines))
    assert long == []


def test_signatures_are_short() -> None:
    long = []
    for name, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        count = len([each for each in arguments if each.arg not in ("self", "cls")])
        public = node.name in PUBLIC_SIGNATURES.get(name, ()) or name.startswith("triptych.runtime.cli.")
        if count > MOST_PARAMETERS and not public:
            long.append((name, node.name, count))
    assert long == []


def test_first_lines_of_docstrings_stand_alone() -> None:
    wrong = []
    for name, node in definitions():
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        if first.startswith(tuple(f"{word} " for word in NO_FIRST_WORDS)):
            wrong.append((name, getattr(node, "name", ""), first))
    assert wrong == []

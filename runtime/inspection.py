"""What a package holds, from its manifest, or from its graphs where there is none."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .device import open_device
from .package import Package
from .session import Graph, Tensor

_UNKNOWN = "-"


def describe(package: Package) -> dict[str, Any]:
    """A JSON object about the package: the manifest's facts, and each component's bytes on disk.

    Without a manifest, inputs and outputs are read by loading the graphs; what nobody recorded is left out.
    """
    manifest = package.manifest or {}
    facts = {key: manifest[key] for key in ("source", "precision", "dialect", "static", "versions") if key in manifest}
    return {
        "package": str(package.path),
        "class": package.model_index.get("_class_name"),
        **facts,
        "components": {name: _component(package, name) for name in package.components},
    }


def show(description: Mapping[str, Any], console: Console) -> None:
    """Print the description as tables."""
    source = description.get("source", {})
    console.print(f"[bold]{escape(description['package'])}[/]  {description['class']}", highlight=False)
    static = description.get("static")
    facts = {
        "source": source.get("name"),
        "revision": source.get("revision"),
        "precision": description.get("precision"),
        "dialect": description.get("dialect"),
        "shapes": "dynamic" if static is None else ", ".join(f"{axis} {size}" for axis, size in static.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in description.get("versions", {}).items()),
    }
    if "precision" in description:
        lines = [f"{name}: {value}" for name, value in facts.items() if value]
        console.print(escape("\n".join(lines)), highlight=False)

    table = Table("component", *(f"{head}" for head in ("MB", "parameters", "GMAC", "parity dB", "max error")))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, facts in description["components"].items():
        parity = facts.get("parity", {})
        table.add_row(
            name,
            f"{facts['bytes'] / 1e6:,.1f}",
            _number(facts.get("parameters"), "{:,}"),
            _number(facts.get("macs"), "{:,.2f}", 1e-9),
            _number(parity.get("db"), "{:.1f}"),
            _number(parity.get("max_abs_error"), "{:.1e}"),
        )
    console.print(table)
    for name, facts in description["components"].items():
        console.print(f"[bold]{name}[/]", highlight=False)
        for way in ("inputs", "outputs"):
            for tensor in facts[way]:
                shape = ", ".join(str(axis) for axis in tensor["shape"])
                console.print(f"  {way[:-1]:<7}{tensor['name']}  {tensor['dtype']} \\[{shape}]", highlight=False)
        for way in ("said", "operators"):
            if facts.get(way):
                counts = sorted(facts[way].items(), key=lambda item: -item[1])
                console.print(f"  {way}: " + ", ".join(f"{op} {n}" for op, n in counts), highlight=False)


def _component(package: Package, name: str) -> dict[str, Any]:
    recorded = (package.manifest or {}).get("components", {}).get(name)
    if recorded is None:
        graph = Graph(package.graph(name), open_device("cpu"), name)
        recorded = {"inputs": _tensors(graph.inputs.values()), "outputs": _tensors(graph.outputs.values())}
    return {**recorded, "bytes": package.bytes_of(name)}


def _tensors(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    return [{"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape)} for t in tensors]


def _number(value: float | None, form: str, scale: float = 1) -> str:
    return _UNKNOWN if value is None else form.format(value * scale if scale != 1 else value)

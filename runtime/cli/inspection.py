"""Contents of a package, from its manifest, or from its graphs if it has no manifest."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..ort.device import open_device
from ..ort.session import Graph, Tensor
from ..package.package import Package
from .columns import columns

_UNKNOWN = "-"
_WIDTH = 100  # characters a line


def describe(package: Package) -> dict[str, Any]:
    """A JSON object about the package: the manifest's facts, and each component's bytes on disk.

    Without a manifest, inputs and outputs are read by loading the graphs; other facts are left out.
    """
    manifest = package.manifest.recorded
    recorded = ("source", "precision", "quality", "dialect", "channels_block", "integers", "static", "versions")
    facts = {key: manifest[key] for key in recorded if key in manifest}
    return {
        "package": str(package.path),
        "class": package.model_index.get("_class_name"),
        **facts,
        "components": {name: _component(package, name) for name in package.components},
    }


def as_text(description: Mapping[str, Any]) -> str:
    """The description as text."""
    lines = [f"{description['package']}  {description['class']}"]
    if "precision" in description:
        lines += [f"{name}: {value}" for name, value in _facts(description).items() if value]
    head = ["component", "MB", "parameters", "GMAC", "parity dB", "max error"]
    lines += ["", *columns([head, *(_row(*item) for item in description["components"].items())], right=True)]
    for name, facts in description["components"].items():
        tensors = [
            [f"  {way[:-1]}", tensor["name"], tensor["dtype"], f"[{', '.join(str(axis) for axis in tensor['shape'])}]"]
            for way in ("inputs", "outputs")
            for tensor in facts[way]
        ]
        lines += ["", name, *columns(tensors)]
        if "kept_in_fp32" in facts:
            lines.append(f"  kept in fp32: {facts['kept_in_fp32']}")
        for key, label in (("said", "declared operators"), ("operators", "operators")):
            if facts.get(key):
                counts = sorted(facts[key].items(), key=lambda item: -item[1])
                listed = f"{label}: " + ", ".join(f"{operator} {count}" for operator, count in counts)
                lines += textwrap.wrap(listed, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _facts(description: Mapping[str, Any]) -> dict[str, str | None]:
    source, static, quality = description["source"], description["static"], description.get("quality", {})
    return {
        "source": source["name"],
        "revision": source["revision"],
        "variant": source.get("variant"),
        "configuration": source.get("configuration"),
        "vae": source.get("vae", {}).get("name"),
        "loras": ", ".join(f"{lora['name']} at {lora['weight']:g}" for lora in source.get("loras", ())),
        "learned words": ", ".join(source.get("embeddings", ())),
        "clip skip": str(source.get("clip_skip", "")),
        "precision": description["precision"],
        "quality": _quality(quality.get("pictures")),
        "semantic score": _score(quality.get("semantic")),
        "dialect": description["dialect"],
        "channels in blocks of": _text(description.get("channels_block")),
        "integers": _integers(description.get("integers")),
        "shapes": "dynamic" if static is None else ", ".join(f"{axis} {size}" for axis, size in static.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
    }


def _row(name: str, facts: Mapping[str, Any]) -> list[str]:
    parity = facts.get("parity", {})
    return [
        name,
        f"{facts['bytes'] / 1e6:,.1f}",
        _number(facts.get("parameters"), "{:,}"),
        _number(facts.get("macs"), "{:,.2f}", 1e-9),
        _number(parity.get("db"), "{:.1f}"),
        _number(parity.get("max_abs_error"), "{:.1e}"),
    ]


def _quality(images: Mapping[str, Any] | None) -> str | None:
    """Difference between the images of a lower precision and of the reference."""
    if images is None:
        return None
    return (
        f"PSNR {images['psnr_db']} dB (worst {images['psnr_db_worst']}), SSIM {images['ssim']} "
        f"over {images['pictures']} images, {images.get('undecided', 0)} undecided, against {images['against']}"
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _integers(ranges: Mapping[str, Sequence[int]] | None) -> str | None:
    """Ranges of the integers that are multiplied, "activations 0..255, weights -64..64"."""
    if ranges is None:
        return None
    return ", ".join(f"{kind} {low}..{high}" for kind, (low, high) in ranges.items())


def _score(sets: Mapping[str, Any] | None) -> str | None:
    """Share of images in which a classifier recognises the prompt."""
    if sets is None:
        return None
    return ", ".join(
        f"{name.replace('_', ' ')} {facts['right']:.1%} of {facts['pictures']}" for name, facts in sets.items()
    )


def _component(package: Package, name: str) -> dict[str, Any]:
    recorded = package.manifest.recorded.get("components", {}).get(name)
    if recorded is None:
        graph = Graph(package.graph(name), open_device("cpu"), name)
        recorded = {"inputs": _tensors(graph.inputs.values()), "outputs": _tensors(graph.outputs.values())}
    return {**recorded, "bytes": package.bytes_of(name)}


def _tensors(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    return [{"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape)} for t in tensors]


def _number(value: float | None, form: str, scale: float = 1) -> str:
    return _UNKNOWN if value is None else form.format(value * scale if scale != 1 else value)

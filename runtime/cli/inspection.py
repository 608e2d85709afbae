"""Contents of a package, from its manifest, or from its graphs if it has no manifest."""

import json
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..families.parts import graphs_in
from ..ort.device import Device, open_device
from ..ort.placement import placement_of, recording
from ..ort.session import Graph, Tensor
from ..package.defaults import read_defaults
from ..package.graphs import load_graph
from ..package.json_file import JsonObject, spelled
from ..package.manifest import MANIFEST
from ..package.package import Package
from .columns import columns

_UNKNOWN = "-"
_WIDTH = 100  # characters a line


def describe(package: Package, device: Device | None = None) -> dict[str, Any]:
    """A JSON object about the package: the manifest's facts, and each component's bytes on disk.

    Without a manifest, inputs and outputs are read by loading the graphs; other facts are left out. With a device, each
    graph is loaded there, one after the other, and `placement` says where its nodes run.

    Raises:
        PackageError: a graph cannot be loaded, or a folder cannot be read.
        ProviderError: the package's operators run on another kind of device.
    """
    manifest = package.manifest.recorded
    recorded = (
        "source",
        "precision",
        "quality",
        "dialect",
        "channels_block",
        "integers",
        "static",
        "defaults",
        "versions",
    )
    facts = {key: manifest[key] for key in recorded if key in manifest}
    return {
        "package": str(package.given),
        "class": package.model_index.get("_class_name"),
        **facts,
        "components": {
            name: _component(package, name) | ({} if device is None else _placement(package, name, device))
            for name in package.components
        },
    }


def as_text(description: Mapping[str, Any]) -> str:
    """The description as text.

    Raises:
        PackageError: a fact of the manifest is missing or of another type; names its key.
    """
    facts = JsonObject.of(description, f"{Path(description['package']) / MANIFEST}: ")
    lines = [f"{_one_line(facts['package'])}  {_one_line(str(facts['class']))}"]
    if "precision" in facts:
        lines += [f"{name}: {_one_line(value)}" for name, value in _facts(facts).items() if value]
    head = ["component", "MB", "parameters", "GMAC", "parity dB", "max error"]
    components = facts.objects("components")
    lines += ["", *columns([head, *(_row(*item) for item in components.items())], right=True)]
    for name, component in components.items():
        lines += [
            "",
            spelled(name),
            *columns([row for way in ("inputs", "outputs") for row in _tensor_rows(component, way)]),
        ]
        for key, label in (("kept_in_fp32", "kept in fp32"), ("fp32_inside", "in fp32 inside")):
            reason = component.optional(key, str)
            if reason is not None:
                lines.append(f"  {label}: {_one_line(reason)}")
        for key, label in (("said", "declared operators"), ("operators", "operators")):
            counts = component.optional_object(key)
            if counts:
                lines += _operators(label, counts)
        placement = component.optional_object("placement")
        if placement is not None:
            lines += _placement_lines(placement)
    return "\n".join(lines)


def _tensor_rows(component: JsonObject, way: str) -> list[list[str]]:
    return [
        [
            f"  {way[:-1]}",
            spelled(tensor.required("name", str)),
            spelled(tensor.required("dtype", str)),
            f"[{', '.join(spelled(str(axis)) for axis in tensor.required('shape', list))}]",
        ]
        for tensor in component.optional_list(way) or ()
    ]


def _operators(label: str, counts: JsonObject) -> list[str]:
    numbers = {operator: counts.required(operator, int) for operator in counts}
    ordered = sorted(numbers.items(), key=lambda item: -item[1])
    listed = f"{label}: " + ", ".join(f"{spelled(operator)} {count}" for operator, count in ordered)
    return textwrap.wrap(listed, _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _placement_lines(placement: JsonObject) -> list[str]:
    nodes, elsewhere = (placement.optional_object(key) for key in ("nodes", "elsewhere"))
    lines = _operators("nodes", nodes) if nodes else []
    if elsewhere:
        lines += _operators(f"not on {spelled(placement.required('requested', str))}", elsewhere)
    return lines


def _facts(facts: JsonObject) -> dict[str, str | None]:
    quality = facts.optional_object("quality")
    static, integers = facts.optional_object("static"), facts.optional_object("integers")
    versions, defaults = facts.optional_object("versions"), facts.optional_object("defaults")
    return {
        **_source(facts.optional_object("source")),
        "precision": facts.optional("precision", str),
        "quality": None if quality is None else _quality(quality.optional_object("pictures")),
        "semantic score": None if quality is None else _score(quality.objects("semantic")),
        "dialect": facts.optional("dialect", str),
        "channels in blocks of": _text(facts.optional("channels_block", int)),
        "integers": None if integers is None else _integers(integers),
        "shapes": "dynamic" if static is None else _listed(static),
        "defaults": None if defaults is None else _stated(read_defaults(defaults).as_json()),
        "versions": None if versions is None else _listed(versions),
    }


def _source(source: JsonObject | None) -> dict[str, str | None]:
    """The checkpoint, and what was applied to it."""
    if source is None:
        return {}
    vae, loras = source.optional_object("vae"), source.optional_list("loras") or ()
    return {
        "source": source.optional("name", str),
        "revision": source.optional("revision", str),
        "variant": source.optional("variant", str),
        "configuration": source.optional("configuration", str),
        "vae": None if vae is None else vae.optional("name", str),
        "loras": ", ".join(f"{lora.required('name', str)} at {lora.number('weight'):g}" for lora in loras),
        "learned words": ", ".join(source.texts("embeddings")) if "embeddings" in source else None,
        "clip skip": _text(source.optional("clip_skip", int)),
        "without": ", ".join(source.texts("without")) if "without" in source else None,
    }


def _row(name: str, facts: JsonObject) -> list[str]:
    parity = facts.optional_object("parity") or JsonObject({}, "")
    return [
        spelled(name),
        f"{facts['bytes'] / 1e6:,.1f}",
        _number(facts.optional("parameters", int), "{:,}"),
        _number(facts.optional_number("macs"), "{:,.2f}", 1e-9),
        _number(_figure(parity, "db"), "{:.1f}"),
        _number(_figure(parity, "max_abs_error"), "{:.1e}"),
    ]


def _quality(images: JsonObject | None) -> str | None:
    """Difference between the images of a lower precision and of the reference."""
    if images is None:
        return None
    figures = [_figure(images, key) for key in ("psnr_db", "psnr_db_worst", "ssim")]
    return (
        f"PSNR {figures[0]} dB (worst {figures[1]}), SSIM {figures[2]} over {images.required('pictures', int)} images, "
        f"{images.optional('undecided', int) or 0} undecided, against {images.required('against', str)}"
    )


def _figure(facts: JsonObject, key: str) -> float | None:
    """A measured number, infinity and NaN too."""
    value: float | None = facts.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise facts.error(key, "a number")
    return value


def _one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _listed(facts: JsonObject) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items() if isinstance(value, int | float | str))


def _stated(defaults: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in defaults.items())


def _integers(ranges: JsonObject) -> str:
    """Ranges of the integers that are multiplied, "activations 0..255, weights -64..64"."""
    return ", ".join(f"{kind} {'..'.join(map(str, ranges.whole_numbers(kind, count=2)))}" for kind in ranges)


def _score(sets: Mapping[str, JsonObject]) -> str:
    """Share of images in which a classifier recognises the prompt."""
    return ", ".join(
        f"{name.replace('_', ' ')} {facts.number('right'):.1%} of {facts.required('pictures', int)}"
        for name, facts in sets.items()
    )


def _component(package: Package, name: str) -> dict[str, Any]:
    record = package.manifest.component(name)
    facts = (package.manifest.recorded.get("components") or {}).get(name, {})
    if record.inputs is None or record.outputs is None:
        graph = Graph(package.graph(name), open_device("cpu"), name)
        facts = {**facts, "inputs": _tensors(graph.inputs.values()), "outputs": _tensors(graph.outputs.values())}
    return {**facts, "bytes": package.bytes_of(name)}


def _placement(package: Package, name: str, device: Device) -> dict[str, Any]:
    """The provider requested, provider -> number of nodes, and operators on other providers."""
    placement = placement_of(*graphs_in(load_graph(package, recording(device), name)))
    facts = {"requested": placement.requested, "nodes": placement.counts, "elsewhere": placement.elsewhere}
    return {"placement": facts}


def _tensors(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    return [{"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape)} for t in tensors]


def _number(value: float | None, form: str, scale: float = 1) -> str:
    return _UNKNOWN if value is None else form.format(value * scale if scale != 1 else value)

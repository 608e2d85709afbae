"""The manifest of a package, `triptych.json`, format 1: typed and checked when the package is opened.

Keys that are not listed here are accepted: they are for people (`triptych inspect`), or of a later version.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PackageError
from ..ort.session import Tensor
from .defaults import NONE_STATED, Defaults, read_defaults
from .json_file import JsonObject, exists, read_json, shown

MANIFEST = "triptych.json"
FORMAT = 1
_AXES = ("batch", "height", "width")
_MOST = 1 << 62  # bytes of a file, multiply-accumulates of a graph
_LARGEST_AXIS = 1 << 31
_LONGEST_TEMPLATE = 4096  # characters
_DTYPES = {np.dtype(code).name for code in "?bhilqBHILQefd"}
_PLAIN = re.compile(r"[\w.-]+", re.ASCII)
_UPWARDS = ("", ".", "..")


@dataclass(frozen=True)
class FileRecord:
    """Size and digest of a file.

    Attributes:
        bytes: its size.
        sha256: 64 hexadecimal digits.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class StaticShape:
    """The only shape that the graphs of a package accept: rows of the denoiser, height and width in pixels."""

    batch: int
    height: int
    width: int


@dataclass(frozen=True)
class Integers:
    """Ranges (lowest, highest) of the 8-bit integers that int8 graphs multiply."""

    activations: tuple[int, int]
    weights: tuple[int, int]


@dataclass(frozen=True)
class ComponentRecord:
    """One graph.

    Attributes:
        files: path relative to the package -> record, of the graph and its external weights.
        inputs, outputs: name -> tensor; None where they are not recorded.
        optimised: ONNX Runtime has optimised the graph at export, and runs it as it is.
        operators: operator -> its occurrences in the graph, "Conv"; contrib operators as "com.microsoft::NhwcConv".
        parts: names of further graphs of the component, see `families.parts`.
        macs: multiply-accumulates of one call with inputs of `default_shape`.
        default_shape: input -> its shape for one image of the checkpoint's own size.
        latent_rgb: of a VAE decoder, the red, green and blue of its output in -1..1 that a latent stands for: a factor
            for each channel of its input, and a constant.
    """

    files: Mapping[str, FileRecord] = field(default_factory=dict)
    inputs: Mapping[str, Tensor] | None = None
    outputs: Mapping[str, Tensor] | None = None
    optimised: bool = False
    operators: Mapping[str, int] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    macs: int | None = None
    default_shape: Mapping[str, tuple[int, ...]] | None = None
    latent_rgb: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Template:
    """Text around each prompt: a chat template, as the checkpoint's tokenizer writes it for one message of a user."""

    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Manifest:
    """Facts about a package. Without arguments, the manifest of a package by another exporter, which has none.

    Attributes:
        recorded: the JSON object itself, to show; {} where there is no manifest.
        source: name of the checkpoint: a folder, a file or an id of the hub.
        precision: fp32, fp16, int8, w8 or w4.
        dialect: the operator set, as `triptych export --dialect` names it.
        channels_block: channels in a block of the CPU's convolutions; None where they are not blocked.
        integers: None where nothing is quantized, and in int8 packages of the first versions.
        static: None where shapes are dynamic.
        components: name -> record.
        files: path relative to the package -> record, of all files that belong to no component.
        defaults: values for arguments that a call leaves out; empty where none are stated.
        templates: folder of a tokenizer -> the text around its prompts.
    """

    recorded: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    precision: str | None = None
    dialect: str | None = None
    channels_block: int | None = None
    integers: Integers | None = None
    static: StaticShape | None = None
    components: Mapping[str, ComponentRecord] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    defaults: Defaults = NONE_STATED
    templates: Mapping[str, Template] = field(default_factory=dict)

    @property
    def absent(self) -> bool:
        """Whether the package has no manifest."""
        return not self.recorded

    def component(self, name: str) -> ComponentRecord:
        """The record of a component, an empty one where nothing is recorded of it."""
        return self.components.get(name, ComponentRecord())

    def template(self, tokenizer: str) -> Template:
        """The text around the prompts of a tokenizer, empty where nothing is recorded."""
        return self.templates.get(tokenizer, Template())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the package in a folder.

    Raises:
        PackageError: it is of another format, or a value is missing or of another type; names the file and the key.
    """
    path = folder / MANIFEST
    if not exists(path):
        return Manifest()
    recorded = read_json(path)
    if recorded.get("format") != FORMAT or isinstance(recorded["format"], bool):
        raise PackageError(f"{path} has format {shown(recorded.get('format'))}; this version reads format {FORMAT}")
    facts = JsonObject(recorded, f"{path}: ")
    integers, static, source = (facts.optional_object(key) for key in ("integers", "static", "source"))
    defaults = facts.optional_object("defaults")
    return Manifest(
        recorded=recorded,
        source=None if source is None else source.optional("name", str),
        precision=facts.optional("precision", str),
        dialect=facts.optional("dialect", str),
        channels_block=facts.optional_whole("channels_block", 1, _LARGEST_AXIS),
        integers=None if integers is None else _integers(integers),
        static=None if static is None else StaticShape(*(static.whole(key, 1, _LARGEST_AXIS) for key in _AXES)),
        components={name: _component(each) for name, each in _components(facts).items()},
        files=_files(facts),
        defaults=NONE_STATED if defaults is None else read_defaults(defaults),
        templates={name: _template(each) for name, each in facts.objects("templates").items()},
    )


def _template(facts: JsonObject) -> Template:
    for key in ("before", "after"):
        if len(facts.required(key, str)) > _LONGEST_TEMPLATE or not _is_unicode(facts[key]):
            raise facts.error(key, f"a text of up to {_LONGEST_TEMPLATE} characters")
    return Template(facts["before"], facts["after"])


def _is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogate, which JSON can spell."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _integers(facts: JsonObject) -> Integers:
    lowest, highest = facts.whole_numbers("activations", count=2)
    least, most = facts.whole_numbers("weights", count=2)
    return Integers((lowest, highest), (least, most))


def _components(facts: JsonObject) -> dict[str, JsonObject]:
    components = facts.objects("components")
    for name in components:
        if not _PLAIN.fullmatch(name) or name in _UPWARDS:
            raise PackageError(f"{facts.place}components has {shown(name)}; a component is named by letters and digits")
    return components


def _component(facts: JsonObject) -> ComponentRecord:
    shapes, operators = facts.optional_object("default_shape"), facts.optional_object("operators")
    return ComponentRecord(
        files=_files(facts),
        inputs=_tensors(facts, "inputs"),
        outputs=_tensors(facts, "outputs"),
        optimised=facts.optional("optimised", bool) or False,
        operators={} if operators is None else {name: operators.whole(name, 0, _MOST) for name in operators},
        parts=_parts(facts),
        macs=facts.optional_whole("macs", 0, _MOST),
        default_shape=None if shapes is None else {name: shapes.whole_numbers(name, least=0) for name in shapes},
        latent_rgb=_latent_rgb(facts.optional_object("latent_rgb")),
    )


def _latent_rgb(colours: JsonObject | None) -> tuple[tuple[float, ...], ...] | None:
    if colours is None:
        return None
    count = len(colours.required("red", list))
    return tuple(colours.numbers(name, count) for name in ("red", "green", "blue"))


def _parts(facts: JsonObject) -> tuple[str, ...]:
    listed = facts.optional("parts", list) or []
    if not all(isinstance(name, str) and _PLAIN.fullmatch(name) for name in listed):
        raise facts.error("parts", "a list of names")
    return tuple(listed)


def _files(facts: JsonObject) -> dict[str, FileRecord]:
    files = facts.objects("files")
    for name in files:
        if not name.isprintable() or "\\" in name or any(part in _UPWARDS for part in name.split("/")):
            raise PackageError(f"{facts.place}files has {shown(name)}; a file's path is relative, inside the package")
    return {
        name: FileRecord(each.whole("bytes", 0, _MOST), each.required("sha256", str)) for name, each in files.items()
    }


def _tensors(facts: JsonObject, key: str) -> dict[str, Tensor] | None:
    listed = facts.optional_list(key)
    return None if listed is None else {tensor.name: tensor for tensor in map(_tensor, listed)}


def _tensor(facts: JsonObject) -> Tensor:
    shape = facts.required("shape", list)
    if not all(isinstance(axis, str) or (type(axis) is int and 0 <= axis <= _LARGEST_AXIS) for axis in shape):
        raise facts.error("shape", "a list of sizes and names of axes")
    if facts.required("dtype", str) not in _DTYPES:
        raise facts.error("dtype", "a dtype of numpy")
    dtype = np.dtype(facts["dtype"])
    return Tensor(facts.required("name", str), dtype, tuple(shape))

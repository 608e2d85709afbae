"""Graphs of a package in memory: loaded, kept and freed by policy."""

import threading
from collections.abc import Sequence
from dataclasses import replace

from ..errors import ArgumentError, PackageError, ProviderError, nearest, shown
from ..families.parts import PARTS, AnyGraph, DividedGraph
from ..ort.blocking import channels_block
from ..ort.cuda import Traits
from ..ort.device import Device
from ..ort.providers import PROVIDERS
from ..ort.saturation import PAIR_LIMIT, saturates
from ..ort.session import Graph
from ..ort.weight_types import has_halves
from .geometry import latent_channels
from .manifest import MANIFEST, Integers
from .package import Package, family_of
from .signatures import DECODER as DECODER
from .signatures import PREVIEW_DECODER as PREVIEW_DECODER
from .signatures import Signature, check_interface, check_recorded, interface_of, signature_of

POLICIES = ("fast", "low")
"""fast: all graphs from the start, kept. low: one at a time, freed when the next is needed; weights mapped."""

DIALECTS = ("cpu", "cuda")
"""Operator sets that run on the device of that name alone."""

_EARLY_INTEGERS = Integers(activations=(0, 255), weights=(-127, 127))
"""Ranges of int8 packages whose manifest does not state them."""

_EXTENDED = 2  # onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED

# Weights that ONNX Runtime packs, or (above that level) brings into another layout, are copies in memory: of the U-Net
# of SD 1.x 2.5 GB. Left as they are, they are pages of the package's files that the system can take back any time.
_PACKING = {"session.disable_prepacking": 1}
_LAYOUT = {"graph_optimization_level": _EXTENDED}
# The CPU computes float16 in float32, for which an optimised graph has all weights widened, once. One that is left as
# it is widens each before its use, if the order is that of priorities.
_HALVES = {"graph_optimization_level": 0, "execution_order": 1}


class Components:
    """The graphs of a package by name, each in a session of its own.

    Args:
        package: the folder.
        device: where the graphs run.
        names: components that an image needs.
        memory: one of POLICIES. With `low`, threads that use different graphs at once make each other load them again.

    Attributes:
        loaded: name -> graph in memory.
        closed: nothing is in memory, nor will be.

    Raises:
        ArgumentError: an unknown policy.
        PackageError, ProviderError: a graph is missing or cannot be loaded, see `Graph`, or is not that of its
            component.
    """

    def __init__(self, package: Package, device: Device, names: Sequence[str], memory: str = "fast") -> None:
        if memory not in POLICIES:
            raise ArgumentError(f"unknown memory policy {shown(memory)}; {nearest(memory, POLICIES)}")
        self.memory = memory
        self.loaded: dict[str, AnyGraph] = {}
        self.closed = False
        self._signatures: dict[str, Signature] = {}
        self._package, self._device, self._lock = package, device, threading.Lock()
        _check_manifest(package)
        for name in names:
            package.graph(name)  # a missing component is the reason, whatever else is wrong
        if memory == "fast":
            for name in names:
                self[name]

    def __getitem__(self, name: str) -> AnyGraph:
        with self._lock:
            self.check_open()
            if name not in self.loaded:
                self._make_room(name)
                self.loaded[name] = self._load(name)
            return self.loaded[name]

    def check_open(self) -> None:
        """Raise an error after `close`.

        Raises:
            ArgumentError: names the package.
        """
        if self.closed:
            raise ArgumentError(
                f"the pipeline of {self._package.given} is closed; load the package again with TextToImage.load"
            )

    def close(self) -> None:
        """Free all graphs, and on CUDA wait until the device's thread has freed them."""
        with self._lock:
            self.closed = True
            self.loaded.clear()
        self._device.call(lambda: None)  # after what frees the sessions, see `Owned`

    def signature(self, name: str) -> Signature:
        """Inputs and outputs of a graph, which is loaded for them, once, only where no manifest lists them."""
        if name not in self._signatures:
            recorded = signature_of(self._package, name)
            self._signatures[name] = recorded or Signature(name, self[name].inputs, self[name].outputs)
        return self._signatures[name]

    def _load(self, name: str) -> AnyGraph:
        if self.memory == "fast":
            # A decoder's working memory is as large as the denoiser's, and is needed once per image
            keeps = name not in (DECODER, PREVIEW_DECODER)
            return load_graph(self._package, self._device, name, keep_memory=keeps)
        return load_graph(self._package, _mapping(self._package, self._device, name), name, keep_memory=False)

    def _make_room(self, name: str) -> None:
        """Free all other graphs with policy `low`, but the preview decoder: it is tiny, and needed between steps."""
        if self.memory == "low" and name != PREVIEW_DECODER:
            for other in self.loaded.keys() - {PREVIEW_DECODER}:
                del self.loaded[other]


def _mapping(package: Package, device: Device, name: str) -> Device:
    """The device, on a CPU with session options that leave the component's weights in their file."""
    if not device.on_cpu:
        return device
    layout = {} if package.is_optimised(name) else _LAYOUT  # a graph optimised at export stays as it is
    if package.manifest.precision == "fp16":
        layout = _HALVES
    return replace(device, session_options={**_PACKING, **layout, **device.session_options})


def load_graph(package: Package, device: Device, name: str, *, keep_memory: bool = True) -> AnyGraph:
    """Sessions for the named component; `keep_memory` as in `Graph`.

    Raises:
        ProviderError: its operators run on another kind of device.
        PackageError: see `Graph`; or its inputs and outputs are not those of the component, or not those that the
            manifest records.
    """
    check_device(package, device)
    family, path = family_of(package), package.graph(name)
    own = Graph(
        path,
        device,
        name,
        keep_memory=keep_memory,
        optimised=package.is_optimised(name),
        traits=_traits(package, name),
        aliases=family.aliases,
    )
    graph = _with_parts(package, own) if package.manifest.component(name).parts else own
    signature, recorded = Signature(name, graph.inputs, graph.outputs), signature_of(package, name)
    _check_signature(package, signature, str(path))
    if recorded is not None:
        check_recorded(recorded, signature, str(path))
    return graph


def _with_parts(package: Package, body: Graph) -> DividedGraph:
    """A denoiser whose manifest lists parts.

    Raises:
        PackageError: the parts are not those that this version knows.
    """
    folder, listed = package.graph(body.name).parent, package.manifest.component(body.name).parts
    if set(listed) != set(PARTS):
        raise PackageError(f"{folder} has the parts {', '.join(listed)}; this version runs {' and '.join(PARTS)}")
    traits = replace(_traits(package, body.name), capture=False)
    text, time = (Graph(folder / f"{part}.onnx", body.device, body.name, traits=traits) for part in PARTS)
    return DividedGraph(body, text, time)


def _traits(package: Package, name: str) -> Traits:
    manifest, operators = package.manifest, package.manifest.component(name).operators
    return Traits(
        capture=manifest.static is not None and name == family_of(package).denoiser,
        # What an fp16 package keeps in float32 needs its range, not its precision, which is float16's in TF32
        exact=manifest.precision != "fp16" and not has_halves(package.graph(name)),
        channels_last="com.microsoft::NhwcConv" in operators and "Conv" not in operators,
        whole=manifest.dialect == "cuda",
    )


def _check_manifest(package: Package) -> None:
    """Refuse a package whose manifest describes other components than those of its family."""
    for name in package.components:
        recorded = signature_of(package, name)
        if recorded is not None:
            _check_signature(package, recorded, f"{package.path / MANIFEST}: components.{name}")


def _check_signature(package: Package, signature: Signature, place: str) -> None:
    channels = latent_channels(package.config(DECODER))
    interface = interface_of(family_of(package), signature.name, signature.outputs, channels)
    if interface is not None:
        check_interface(signature, interface, place)


def check_device(package: Package, device: Device) -> None:
    """Refuse a package that the device has no kernels for, or whose integers overflow in the kernels of this processor.

    Raises:
        ProviderError: names the device, or the kind of CPU, that the package was exported for.
    """
    _check_dialect(package, device)
    _check_integers(package, device)


def _check_dialect(package: Package, device: Device) -> None:
    dialect, block = package.manifest.dialect, package.manifest.channels_block
    if dialect in DIALECTS and device.provider != PROVIDERS[dialect]:
        raise ProviderError(
            f"{package.path} was exported with the operators of {dialect}, and device {device.name!r} runs on "
            f"{device.provider}; load it with device={dialect}, or export it with --dialect portable"
        )
    if block is not None and block != channels_block():
        raise ProviderError(
            f"{package.path} was optimised for CPUs whose convolutions take channels in blocks of {block}, and this "
            f"one's take {channels_block()}; export it on such a machine as this one, or with --dialect portable"
        )


def _check_integers(package: Package, device: Device) -> None:
    if package.manifest.precision != "int8" or device.memory.kind != "cpu":
        return
    integers = package.manifest.integers or _EARLY_INTEGERS
    activation, weight = (max(map(abs, bounds)) for bounds in (integers.activations, integers.weights))
    if 2 * activation * weight > PAIR_LIMIT and saturates():
        raise ProviderError(
            f"{package.path} has int8 weights up to {weight}, whose products this processor (no VNNI) adds in 16 bits, "
            f"where they saturate at {PAIR_LIMIT:,}: images would be wrong; export it again, on any machine: this "
            "version writes weights that every processor multiplies exactly"
        )

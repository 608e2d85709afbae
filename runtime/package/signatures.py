"""Inputs and outputs that the components of a family have, compared with those of graphs and of the manifest.

A graph that is another component's, or of another model, is refused when it is loaded; none is run to find out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import PackageError
from ..families.conditioning import GUIDANCE, POOLED, SAMPLE, SIZES, TEXT, TIMESTEP, MicroConditioning
from ..families.family import Family, TextEncoder
from ..ort.session import Tensor
from .json_file import spelled
from .package import Package, family_of

DECODER, ENCODER, PREVIEW_DECODER = "vae_decoder", "vae_encoder", "preview_decoder"

_COLOURS = 3
_WORDS = {"f": "floating point", "i": "whole"}


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a component by name, known without loading its graph."""

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Port:
    """An input or output that a component has.

    Attributes:
        shape: names of its axes, or their sizes where they are known; a graph may leave any axis open.
        kinds: of its numbers, as numpy names them: f and i.
        scalar: it may have no axis.
    """

    shape: tuple[int | str, ...]
    kinds: str = "f"
    scalar: bool = False

    def fits(self, tensor: Tensor) -> bool:
        """Whether a tensor of a graph is one."""
        if tensor.dtype.kind not in self.kinds:
            return False
        if self.scalar and not tensor.shape:
            return True
        pairs = zip(self.shape, tensor.shape, strict=False)
        return len(tensor.shape) == len(self.shape) and all(_agree(own, other) for own, other in pairs)

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.shape))}] of {' or '.join(_WORDS[kind] for kind in self.kinds)} numbers"


@dataclass(frozen=True)
class Interface:
    """Inputs and outputs that a component has.

    Attributes:
        inputs: all of them, by name.
        outputs: that are used, by name; a graph may have others.
        optional: inputs that some graphs have.
        only: what its only output is, where exporters name it differently.
    """

    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port] = field(default_factory=dict)
    optional: Mapping[str, Port] = field(default_factory=dict)
    only: Port | None = None


def signature_of(package: Package, component: str) -> Signature | None:
    """Inputs and outputs of a component from the manifest, named as here; None where they are not recorded."""
    record = package.manifest.component(component)
    if record.inputs is None or record.outputs is None:
        return None
    aliases = family_of(package).aliases
    return Signature(component, {aliases.get(name, name): each for name, each in record.inputs.items()}, record.outputs)


def interface_of(family: Family, component: str, outputs: Iterable[str], channels: int) -> Interface | None:
    """The inputs and outputs of a component; None for one that the family does not describe.

    Args:
        family: of the package.
        component: its name.
        outputs: names of its graph's outputs: they number the hidden states of a text encoder, and show whether a
            VAE encoder gives latents or a distribution of latents.
        channels: of the latents.
    """
    latents = Port(("n", channels, "height", "width"))
    images = Port(("n", _COLOURS, "height", "width"))
    described = {encoder.name: encoder for encoder in family.encoders}
    if component in described:
        return _text_encoder(described[component], outputs)
    if component == family.denoiser:
        return _denoiser(family, latents)
    if component in (DECODER, PREVIEW_DECODER):
        return Interface({"latent_sample": latents}, {"sample": images})
    if component == ENCODER:
        parameters = Port(("n", 2 * channels, "height", "width"))
        return Interface({"sample": images}, only=parameters if "latent_parameters" in outputs else latents)
    return None


def _text_encoder(encoder: TextEncoder, outputs: Iterable[str]) -> Interface:
    given = {encoder.hidden(outputs): Port(("n", "tokens", "width"))}
    if encoder.pooled:
        given[POOLED] = Port(("n", "width"))
    return Interface({"input_ids": Port(("n", "tokens"), "i")}, given)


def _denoiser(family: Family, latents: Port) -> Interface:
    inputs = {
        SAMPLE: Port(("n", "channels", "height", "width")),
        TIMESTEP: Port(("n",), "fi", scalar=True),
        TEXT: Port(("n", "tokens", "width")),
    }
    if any(encoder.pooled for encoder in family.encoders):
        inputs[POOLED] = Port(("n", "width"))
    if family.micro_conditioning:
        inputs[SIZES] = Port(("n", MicroConditioning.width(family.micro_conditioning)))
    return Interface(inputs, only=latents, optional={GUIDANCE: Port(("n", "width"))})


def check_interface(signature: Signature, interface: Interface, place: str) -> None:
    """Refuse a component whose inputs and outputs are not those of its kind.

    Args:
        signature: of its graph, or as the manifest records it.
        interface: what they have to be.
        place: the graph, or the key of the manifest, for the error.

    Raises:
        PackageError: names the first input or output that is missing, or not known, or of another form.
    """
    inputs = {**interface.inputs, **interface.optional}
    for name in signature.inputs:
        if name not in inputs:
            raise _error(signature, place, f"has an input {spelled(name)}; allowed: {', '.join(inputs)}")
    _check_ports(signature, "input", interface.inputs, place)
    _check_ports(signature, "input", {name: inputs[name] for name in signature.inputs}, place)
    _check_ports(signature, "output", interface.outputs, place)
    if interface.only is not None:
        if len(signature.outputs) != 1:
            raise _error(signature, place, f"has the outputs {_listed(signature.outputs)}; allowed: one")
        _check_ports(signature, "output", dict.fromkeys(signature.outputs, interface.only), place)


def _check_ports(signature: Signature, way: str, needed: Mapping[str, Port], place: str) -> None:
    given = signature.inputs if way == "input" else signature.outputs
    for name, port in needed.items():
        if name not in given:
            raise _error(signature, place, f"has no {way} {name} {port}; its {way}s: {_listed(given)}")
        if not port.fits(given[name]):
            raise _error(signature, place, f"has the {way} {_said(name, given[name])}; needed: {port}")


def check_recorded(recorded: Signature, graph: Signature, place: str) -> None:
    """Refuse a graph whose inputs and outputs are not those that the manifest records.

    Args:
        recorded: by the manifest.
        graph: by the graph itself, whose output shapes ONNX Runtime may know better.
        place: of the graph, for the error.

    Raises:
        PackageError: names the first input or output that differs.
    """
    for way, listed, given in (
        ("inputs", recorded.inputs, graph.inputs),
        ("outputs", recorded.outputs, graph.outputs),
    ):
        same = listed.keys() == given.keys() and all(
            tensor.dtype == given[name].dtype
            and len(tensor.shape) == len(given[name].shape)
            and all(map(_agree, tensor.shape, given[name].shape))
            for name, tensor in listed.items()
        )
        if not same:
            raise _error(graph, place, f"has the {way} {_listed(given)}; the manifest says {_listed(listed)}")


def _agree(one: int | str, other: int | str) -> bool:
    return isinstance(one, str) or isinstance(other, str) or one == other


def _error(signature: Signature, place: str, text: str) -> PackageError:
    return PackageError(f"{place} is not the {signature.name} of this package: it {text}")


def _listed(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(_said(name, tensor) for name, tensor in tensors.items()) or "none"


def _said(name: str, tensor: Tensor) -> str:
    return f"{spelled(name)} [{', '.join(spelled(str(axis)) for axis in tensor.shape)}] {tensor.dtype}"

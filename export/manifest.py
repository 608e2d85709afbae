"""The manifest of a package, format 1: its source, its graphs, their verification, and the digest of every file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from triptych.runtime.ort.blocking import channels_block
from triptych.runtime.ort.library import ort
from triptych.runtime.package.manifest import FORMAT

from .checkpoint import Checkpoint, template_of
from .components import LatentRgb
from .files import FileRecord, describe_files
from .options import Options
from .quantization.affine import INTEGERS
from .verification.parity import Parity

_TOOLS = ("triptych", "torch", "onnx", "diffusers", "transformers")


@dataclass(frozen=True)
class GraphRecord:
    """A graph as it was written.

    Attributes:
        inputs: name, dtype and shape of each, see `graph.describe`.
        outputs: name, dtype and shape of each.
        parameters: number of parameters.
        default_shape: input -> its shape for one image of the checkpoint's own size.
        macs: multiply-accumulates at that size.
        kept_in_fp32: the reason why a graph of an fp16 package is in float32; None where it is not.
        fp32_inside: the part of a graph in float16 that is in float32; None where nothing is.
        kept_in_float: layers of an int8 component that are not quantized; None where there is no calibration.
        opset: version of the standard operators.
        declared: operator -> number that the fused modules declare.
        parts: names of the component's further graphs; None where it is one graph.
        latent_rgb: colours of latents, of the VAE decoder.
    """

    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]
    parameters: int
    default_shape: Mapping[str, Sequence[int]]
    macs: int
    kept_in_fp32: str | None
    fp32_inside: str | None
    kept_in_float: Sequence[str] | None
    opset: int
    declared: Mapping[str, int]
    parts: Sequence[str] | None
    latent_rgb: LatentRgb | None

    @property
    def notes(self) -> list[str]:
        """Lines on the parts of an fp16 package that are in float32."""
        kept, inside = self.kept_in_fp32, self.fp32_inside
        return [*([f"kept in fp32, because {kept}"] if kept else ()), *([f"in fp32 is {inside}"] if inside else ())]


@dataclass(frozen=True)
class ComponentRecord:
    """A component of a package, verified.

    Attributes:
        graph: record of the graph.
        operators: operator -> its occurrences in the file.
        optimised: whether ONNX Runtime has optimised the file.
        parity: of the file with PyTorch.
        files: of the component, relative to the package.
    """

    graph: GraphRecord
    operators: Mapping[str, int]
    optimised: bool
    parity: Parity
    files: Mapping[str, FileRecord]

    def as_json(self) -> dict[str, Any]:
        """The component's entry in the manifest; `said` holds the declared operators."""
        graph = asdict(self.graph)
        declared = graph.pop("declared")
        return {
            **{key: value for key, value in graph.items() if value is not None},
            "operators": self.operators,
            "said": declared,
            "optimised": self.optimised,
            "parity": asdict(self.parity),
            "files": self.files,
        }


def manifest(
    checkpoint: Checkpoint, options: Options, components: Mapping[str, ComponentRecord], folder: Path
) -> dict[str, Any]:
    """The manifest of the package in `folder`, all other files of which are written."""
    described = {file for component in components.values() for file in component.files}
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    others = [file for file in files if file.relative_to(folder).as_posix() not in described]
    templates = {
        encoder.tokenizer: asdict(template_of(checkpoint, encoder, folder / encoder.tokenizer))
        for encoder in checkpoint.family.encoders
        if encoder.thinking is not None
    }
    return {
        "format": FORMAT,
        "family": checkpoint.family.name,
        "source": checkpoint.source(),
        "precision": options.precision.name,
        "dialect": options.dialect.name,
        "channels_block": channels_block() if options.dialect.optimised else None,
        "integers": INTEGERS if options.precision.calibrated else None,
        "static": None if options.static is None else asdict(options.static),
        # ONNX Runtime's name as an installed distribution depends on its build
        "versions": {tool: version(tool) for tool in _TOOLS} | {"onnxruntime": ort.__version__},
        "components": {name: component.as_json() for name, component in components.items()},
        "files": describe_files(others, folder),
        **({"templates": templates} if templates else {}),
    }

"""Checkpoint -> package: exported and verified beside its destination, and only then moved there."""

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch

from triptych.runtime.errors import ArgumentError, SourceError
from triptych.runtime.ort.blocking import channels_block
from triptych.runtime.package.package import FORMAT, MANIFEST

from .checkpoint import (
    Checkpoint,
    open_checkpoint,
    with_clip_skip,
    with_embeddings,
    with_loras,
    with_preview_decoder,
    with_vae,
    write_tokenizer,
)
from .components import Component, components_of, own_size, static_sizes
from .components.macs import count_macs
from .dialects import Dialect, check_said, default_dialect, dialect_named, said_by
from .files import describe_files, write_json
from .graph import count_operators, describe, opset_of, optimise, save, to_onnx
from .precision import FP32_FLOOR_DB, Precision, precision_named
from .publish import publish
from .quantization.affine import INTEGERS
from .quantization.calibration import NOTHING, Calibration, Run, calibrate
from .quantization.plan import Plan, quantize, speakable
from .quiet import quiet
from .verification.image_quality import IMAGES_FLOOR_DB, SSIM_FLOOR, check_quality, measure_quality, record
from .verification.overflow import LIMIT, watched
from .verification.parity import ask, verify
from .verification.widening import widened

Report = Callable[[str], None]
Facts = dict[str, Any]

_TOOLS = ("triptych", "torch", "onnx", "diffusers", "transformers")
_GUIDED = 2  # rows of the U-Net for one picture with guidance
_NOT_EXPORTED = ("feature_extractor", "image_encoder", "safety_checker")


def export(
    source: str | Path,
    package: str | Path,
    *,
    precision: str = "fp32",
    dialect: str | None = None,
    static: tuple[int, int, int] | None = None,
    force: bool = False,
    revision: str | None = None,
    variant: str | None = None,
    config: str | Path | None = None,
    vae: str | Path | None = None,
    loras: Sequence[tuple[str | Path, float]] = (),
    preview_decoder: str | Path | None = None,
    embeddings: Sequence[str | Path] = (),
    clip_skip: int = 0,
    calibration: Run | None = None,
    allow_low_quality: bool = False,
    report: Report = lambda line: None,
) -> Path:
    """Write the checkpoint as a package of verified ONNX graphs, and return its folder.

    One component is in memory at a time. Nothing is at `package` before every graph has passed.

    Args:
        source: a diffusers folder, a .safetensors file in the layout of the original release, or a hub id.
        package: the folder to write.
        precision: fp32, fp16 (inputs, outputs and weights; needs no GPU), int8 (most layers of U-Net and decoder,
            see `quantization.calibration`), w8 or w4 (weights alone, see `quantization.weights`).
        dialect: portable (standard ONNX operators only), cpu (those that ONNX Runtime has fused kernels for on CPUs,
            optimised once, here) or cuda (those of its CUDA library, in fixed shapes); None is that of this machine.
        static: batch of the U-Net (2 is one picture with guidance), height and width in pixels, for graphs of fixed
            shapes, the other graphs then having batch 1; None leaves batch, height and width open, or fixes them to one
            picture of the checkpoint's own size with guidance where the dialect has fixed shapes only.
        force: replace a package that is there once the new one is whole.
        revision: branch, tag or commit of a hub id.
        variant: which weights of a folder or hub id are read, such as fp16; plain ones where a component has no such.
        config: what describes a single file: a diffusers folder, or a name in `configurations`; None finds out.
        vae: a diffusers folder, .safetensors file or hub id of an autoencoder in place of the checkpoint's own.
        loras: .safetensors files, folders or hub ids of LoRAs to fuse into the weights, each with its weight; they add
            up.
        preview_decoder: a diffusers folder or hub id of an `AutoencoderTiny` for the same latents, for previews.
        embeddings: learned words (textual inversion) to add, each a .safetensors file or "FILE=TOKEN".
        clip_skip: how many of the text encoder's last layers to leave out, as diffusers counts them.
        calibration: what the checkpoint draws to find out the ranges of its layers, in int8 only; None is `Run()`.
        allow_low_quality: in int8, publish a package whose images are below the floor, see `quantization.quality`.
        report: called with a line of text as each thing is done.

    Raises:
        ArgumentError: a precision or dialect that is none, or that do not go together; a calibration or clip_skip that
            cannot be.
        SourceError: a checkpoint or an embedding that is missing, broken or not supported.
        VerificationError: a graph does not do what PyTorch does, or images in int8 are below their floor.
        TriptychError: the destination exists, is not writable, or its disk is full.
    """
    chosen = precision_named(precision)
    spoken = default_dialect(precision) if dialect is None else dialect_named(dialect)
    spoken.check_precision(precision)
    if calibration is not None and not chosen.calibrated:
        raise ArgumentError(f"a calibration is for precision int8, not {precision}")
    if allow_low_quality and not chosen.calibrated:
        raise ArgumentError(f"allow_low_quality is for precision int8, not {precision}")
    if chosen.quantized:
        spoken = speakable(spoken)
    checkpoint = open_checkpoint(source, revision, variant=variant, config=config)
    if vae is not None:
        checkpoint = with_vae(checkpoint, vae)
    if loras:
        checkpoint = with_loras(checkpoint, loras)
    if preview_decoder is not None:
        checkpoint = with_preview_decoder(checkpoint, preview_decoder)
    if embeddings:
        checkpoint = with_embeddings(checkpoint, embeddings)
    if clip_skip:
        checkpoint = with_clip_skip(checkpoint, clip_skip)
    if static is None and spoken.fixed:
        static = (_GUIDED, *own_size(checkpoint))
    needed = checkpoint.weights_bytes() * chosen.dtype.itemsize // 4
    with publish(Path(package), force=force, needed_bytes=needed) as folder:
        facts: dict[str, Facts] = {}
        calibrated = NOTHING
        if chosen.calibrated:
            calibrated = _calibrate(checkpoint, spoken, static, calibration or Run(), report)
        for name, load in components_of(checkpoint).items():
            start = time.perf_counter()
            with quiet():
                plan = calibrated.plans.get(name)
                facts[name] = _export_component(load, checkpoint, folder / name, chosen, spoken, static, plan)
            report(_summary(name, facts[name], time.perf_counter() - start))
            if "kept_in_fp32" in facts[name]:
                report(f"{name}: kept in fp32, because {facts[name]['kept_in_fp32']}")
        _write_others(checkpoint, folder)
        write_json(folder / MANIFEST, _manifest(checkpoint, folder, chosen, spoken, static, facts))
        if calibrated.pictures:
            quality = measure_quality(folder, calibrated)
            report(
                f"images: {quality['psnr_db']} dB from PyTorch's (floor {IMAGES_FLOOR_DB:g}), the worst "
                f"{quality['psnr_db_worst']} dB, its SSIM {quality['ssim_worst']} (floor {SSIM_FLOOR:g})"
            )
            if not allow_low_quality:
                check_quality(quality)
            record(folder, "pictures", quality)
    report(f"{package}: {sum(file.stat().st_size for file in Path(package).rglob('*') if file.is_file()) / 1e9:.2f} GB")
    return Path(package)


def _calibrate(
    checkpoint: Checkpoint, dialect: Dialect, static: tuple[int, int, int] | None, run: Run, report: Report
) -> Calibration:
    start = time.perf_counter()
    with quiet():
        calibration = calibrate(checkpoint, dialect, static, run)
    _free()
    report(f"calibration: {len(calibration.pictures)} pictures, {time.perf_counter() - start:.0f} s")
    return calibration


def _export_component(
    load: Callable[[], Component],
    checkpoint: Checkpoint,
    folder: Path,
    precision: Precision,
    dialect: Dialect,
    static: tuple[int, int, int] | None,
    plan: Plan | None,
) -> Facts:
    """Export and verify one component; when this returns, neither its module nor its session is in memory."""
    folder.mkdir()
    component = load()
    if precision.dtype == torch.float32:
        component.module.float()
    sizes = None if static is None else static_sizes(checkpoint, component, static)
    write_json(folder / "config.json", component.config)
    facts: Facts = {
        "inputs": [],
        "outputs": [],
        "parameters": sum(parameter.numel() for parameter in component.module.parameters()),
        "default_shape": {name: list(shape) for name, shape in component.shapes(component.default).items()},
    }
    with widened(component.module):
        facts["macs"] = count_macs(component)
        with watched(component.module) as largest:
            questions = ask(component, sizes, () if plan is None else plan.samples)
    _free()
    name, dtype, kept = component.name, precision.dtype, component.keeps_fp32
    if largest.overflows:
        kept = f"values reach {largest.value:,.0f}, and float16 ends at {LIMIT:,.0f}"
    if dtype == torch.float16 and kept is not None:
        dtype, facts["kept_in_fp32"] = torch.float32, kept
    component = replace(component, module=dialect.rewrite(component.module))
    if plan is not None:
        quantize(component.module, plan, dialect.name)
        facts["kept_in_float"] = sorted(plan.kept)
    if precision.weights is not None:
        precision.weights.apply(component.module, dialect.name)
    component.module.to(dtype)
    said = said_by(component, dtype)
    model = to_onnx(component, dtype, sizes)
    files = save(model, folder)
    for side, values in (("inputs", model.graph.inputs), ("outputs", model.graph.outputs)):
        facts[side] = [describe(value) for value in values]
    facts["opset"] = opset_of(model)
    del component, model
    _free()
    if dialect.optimised:
        files = optimise(folder)
    facts |= {"operators": count_operators(files[0]), "said": said, "optimised": dialect.optimised}
    check_said(name, said, facts["operators"])
    floor_db = precision.floor_db if plan is not None or not precision.calibrated else FP32_FLOOR_DB
    as_it_is = dialect.optimised or dtype == torch.float16
    parity = verify(name, files[0], questions, floor_db, optimise=not as_it_is)
    _free()
    facts["parity"] = {
        "db": parity.db,
        "max_abs_error": parity.max_abs_error,
        "floor_db": parity.floor_db,
        "cases": list(parity.cases),
    }
    facts["files"] = describe_files(files, folder.parent)
    return facts


def _free() -> None:
    """Give freed memory back to the system, so that PyTorch's and ONNX Runtime's shares do not add up."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # only the GNU C library keeps freed memory and has this
        ctypes.CDLL(None).malloc_trim(0)


def _write_others(checkpoint: Checkpoint, folder: Path) -> None:
    """Everything that is no graph: model_index.json, the scheduler's configuration, the tokenizer."""
    index = {key: [None, None] if key in _NOT_EXPORTED else value for key, value in checkpoint.model_index.items()}
    index = {key: value for key, value in index.items() if key != "_name_or_path"}
    write_json(folder / "model_index.json", index | {"requires_safety_checker": False})
    (folder / "scheduler").mkdir()
    scheduler = checkpoint.path / "scheduler" / "scheduler_config.json"
    if not scheduler.is_file():
        raise SourceError(f"{checkpoint.name} is not whole: it has no scheduler/scheduler_config.json")
    (folder / "scheduler" / "scheduler_config.json").write_bytes(scheduler.read_bytes())
    for encoder in checkpoint.family.encoders:
        write_tokenizer(checkpoint, encoder.name, folder / encoder.tokenizer)


def _manifest(
    checkpoint: Checkpoint,
    folder: Path,
    precision: Precision,
    dialect: Dialect,
    static: tuple[int, int, int] | None,
    components: dict[str, Facts],
) -> Facts:
    listed = {file for facts in components.values() for file in facts["files"]}
    others = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {
        "format": FORMAT,
        "family": checkpoint.family.name,
        "source": checkpoint.source(),
        "precision": precision.name,
        "dialect": dialect.name,
        "channels_block": channels_block() if dialect.optimised else None,
        "integers": INTEGERS if precision.calibrated else None,
        "static": None if static is None else dict(zip(("batch", "height", "width"), static, strict=True)),
        # ONNX Runtime's name as an installed distribution depends on its build
        "versions": {tool: version(tool) for tool in _TOOLS} | {"onnxruntime": ort.__version__},
        "components": components,
        "files": describe_files([file for file in others if str(file.relative_to(folder)) not in listed], folder),
    }


def _summary(name: str, facts: Facts, seconds: float) -> str:
    parity = facts["parity"]
    return (
        f"{name}: {facts['parameters'] / 1e6:,.1f} M parameters, {facts['macs'] / 1e9:,.1f} GMAC, "
        f"{parity['db']:.1f} dB from PyTorch (floor {parity['floor_db']:g}), "
        f"max error {parity['max_abs_error']:.1e}, {seconds:.0f} s"
    )
